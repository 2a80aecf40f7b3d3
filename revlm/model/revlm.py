"""RevLM: a language model of whole documents on a reversible stack."""

from collections.abc import Callable
from itertools import takewhile

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from revlm.errors import UsageError
from revlm.model.kinds import KINDS
from revlm.model.kinds.full import FullAttention
from revlm.model.kinds.lsh import HashAttention
from revlm.model.parts.context import Context, LayerStatistics, read_statistics
from revlm.model.parts.dropout import seed_of
from revlm.model.parts.feed_forward import FeedForward
from revlm.model.parts.norm import RMSNorm
from revlm.model.parts.rotations import RotationsAhead
from revlm.model.parts.sublayer import Sublayer, Write
from revlm.model.parts.whitening import averaged, isotropic_moments, whitened
from revlm.model.reversible import ReversibleStack
from revlm.model.sequence import SINGLE, SequenceGroup
from revlm.model.shape import buckets_of_rounds, tile_tokens, with_rounds
from revlm.ops.fixed_point import FixedPoint
from revlm.ops.hashing import directions_of, draw_rotations, rounds_alike
from revlm.ops.linear_cross_entropy import linear_cross_entropy
from revlm.recipe import MAX_ROUNDS, NUMBERS_OF_BUCKETS
from revlm.recipe import Model as ModelRecipe

_EMBEDDING_STD = 0.02
# The initial size of the whole stack's increments relative to the embedding: 30 steps on a novel end 0.2 nats per token
# lower than with a gain of 1.
_INITIAL_WRITTEN_GAIN = 0.01
_MAX_ATTENTION_SCALE = 10


class RevLM(nn.Module):
    """A model of token sequences that may consist of several documents, which do not attend to each other.

    In training mode the hashes are drawn anew for each `step`, if given; otherwise those of evaluation are used, which
    depend on the seed alone and are saved with the weights. `tile` is the number of tokens that token-wise layers
    process at a time; `auto` chooses one for a CPU (see `tile_tokens`).

    Attributes:
        attention_scale: the factor of `scale_attention`, 1 in training.
        fixed: after a forward pass, the `FixedPoint` that tracks the range of its streams.
    """

    def __init__(self, recipe: ModelRecipe, *, vocab_size: int, seed: int, tile: int | str = "auto") -> None:
        super().__init__()
        if recipe.n_buckets == "auto":
            raise UsageError("model.n_buckets is auto: give a number, or resolve it with revlm.model.resolve_model")
        self.recipe, self.vocab_size, self.seed = recipe, vocab_size, seed
        self._built_with, self._finest = recipe, max(buckets_of_rounds(recipe))
        self.kinds = tuple(recipe.layers[layer % len(recipe.layers)] for layer in range(recipe.n_layers))
        # Its weights are drawn below, with those of the layers.
        embedding = torch.empty(vocab_size, recipe.d_model)
        self.embedding: nn.Embedding = nn.Embedding.from_pretrained(embedding, freeze=False)
        sublayers: list[Sublayer] = []
        for layer, kind in enumerate(self.kinds):
            sublayers.append(KINDS[kind].layer(recipe, layer))
            sublayers.append(Sublayer(write=FeedForward(recipe.d_model, recipe.d_ff, recipe.dropout)))
        self.stack = ReversibleStack(
            sublayers,
            fraction_bits=recipe.stream_fraction_bits,
            reversible=recipe.reversible,
            tile=tile_tokens(recipe, tile, "cpu"),
        )
        self.norm = RMSNorm(recipe.d_model, for_products=False)
        self.head = None if recipe.tie_embeddings else nn.Linear(recipe.d_model, vocab_size, bias=False)
        for layer in self.hash_layers:
            self.register_buffer(f"key_moments_{layer}", isotropic_moments(recipe.n_heads, self._head_dim))
            self.register_buffer(f"rotations_{layer}", self._drawn(layer, None))
        self.attention_scale = 1.0
        self.fixed: FixedPoint | None = None
        self._statistics: dict[tuple[int, int], Tensor] = {}
        self._key_moments: dict[tuple[int, int, int], Tensor] = {}
        self._read_statistics: dict[int, LayerStatistics] | None = None
        if not embedding.is_meta:
            self._initialize()

    @property
    def hash_layers(self) -> tuple[int, ...]:
        """The indices of the hash layers."""
        return tuple(layer for layer, kind in enumerate(self.kinds) if KINDS[kind].hashes)

    @property
    def statistics(self) -> dict[int, LayerStatistics]:
        """After a forward pass with `with_statistics`, those of each hash layer by its number; read when asked for."""
        if self._read_statistics is None:
            self._read_statistics = read_statistics(self._statistics)
        return self._read_statistics

    @property
    def key_moments(self) -> Float[Tensor, "hash_layers heads head_dim head_dim"]:
        """After a forward pass with `with_statistics`, the second moments of keys; zero for heads of other ranks."""
        n_heads, head_dim = self.recipe.n_heads, self._head_dim
        moments = torch.zeros(len(self.hash_layers), n_heads, head_dim, head_dim, device=self.embedding.weight.device)
        for (layer, first, distance), of_heads in self._key_moments.items():
            heads = slice(first, first + len(of_heads) * distance, distance)
            moments[self.hash_layers.index(layer), heads] = of_heads
        return moments

    @torch.no_grad()
    def whiten_hashes(self, key_moments: Float[Tensor, "hash_layers heads head_dim head_dim"]) -> None:
        """Adds second moments of keys to their moving averages, which whiten the finest rounds of evaluation."""
        for layer, latest in zip(self.hash_layers, key_moments, strict=True):
            moments, rotations = (self.get_buffer(f"{name}_{layer}") for name in ("key_moments", "rotations"))
            moments.copy_(averaged(moments, latest))
            rotations.copy_(self._of_evaluation(layer))

    def attention(self, layer: int) -> Sublayer:
        """Returns the attention sublayer of a layer."""
        sublayer = self.stack.sublayers[2 * layer]
        assert isinstance(sublayer, Sublayer)
        return sublayer

    def use_rounds(self, rounds: int | None = None, buckets: int | None = None) -> None:
        """Makes the hash layers use so many rounds, the finest of them with so many `buckets`; None changes nothing.

        A token far away is found if it shares a bucket in any round, so more rounds find more, and take longer: those
        that the model was built with, and further ones as fine as their finest, of pairs where its last one is. Buckets
        fill up in a document that is longer than those of training, and the tokens of a window come from nearer: more
        buckets find what is far, and take no longer. The rotations of a round depend only on (seed, layer, head, round,
        number of buckets): where these stay, the saved ones stay as they are.

        Raises:
            UsageError: there are no hash layers, or the rounds or buckets are out of range.
        """
        given = {name: number for name, number in (("rounds", rounds), ("buckets", buckets)) if number is not None}
        if given and not self.hash_layers:
            name, number = next(iter(given.items()))
            raise UsageError(f"{name} is {number}, but the model has no hash layers: leave it out")
        if rounds is not None and not 1 <= rounds <= MAX_ROUNDS:
            raise UsageError(f"rounds is {rounds}: give a number of rounds of hashing from 1 to {MAX_ROUNDS}")
        if buckets is not None and buckets not in NUMBERS_OF_BUCKETS:
            least, most = NUMBERS_OF_BUCKETS[0], NUMBERS_OF_BUCKETS[-1]
            raise UsageError(f"buckets is {buckets}: give a power of two from {least} to {most}")
        used = buckets_of_rounds(self.recipe)
        self._finest = buckets or self._finest
        self.recipe = with_rounds(self._built_with, rounds or self.recipe.n_rounds, self._finest)
        n_buckets = buckets_of_rounds(self.recipe)
        stays = takewhile(lambda numbers: numbers[0] == numbers[1], zip(used, n_buckets, strict=False))
        alike = directions_of([number for number, _ in stays])
        for layer in self.hash_layers:
            name, mix = f"rotations_{layer}", self.attention(layer).mix
            assert isinstance(mix, HashAttention)
            saved, drawn = self.get_buffer(name), self._of_evaluation(layer)
            setattr(self, name, torch.cat([saved[..., :alike], drawn[..., alike:].to(saved)], dim=-1))
            mix.hash_as(self.recipe)

    def scale_attention(self, factor: float) -> None:
        """Multiplies the attention logits of the layers that read a whole document by a factor; 1 is as in training.

        In a document longer than those of training, more tokens that are almost alike share the weight of the one that
        is meant. The logarithm of its tokens divided by that of a training example's makes up for it ("Scalable-Softmax
        is superior for attention", arXiv 2501.19399).

        Raises:
            UsageError: no layer reads a whole document, or the factor is out of range.
        """
        layers = [layer for layer, kind in enumerate(self.kinds) if KINDS[kind].reads_all]
        if not layers:
            raise UsageError(f"attention_scale is {factor:g}, but all layers of the model are local: leave it out")
        if not 0 < factor <= _MAX_ATTENTION_SCALE:
            raise UsageError(f"attention_scale is {factor:g}: give a factor above 0, up to {_MAX_ATTENTION_SCALE}")
        for layer in layers:
            mix = self.attention(layer).mix
            assert isinstance(mix, HashAttention | FullAttention)
            mix.temperature.factor = factor
        self.attention_scale = factor

    def forward(
        self,
        inputs: Int[Tensor, "tokens"],
        document_ids: Int[Tensor, "tokens"] | None = None,
        *,
        step: int | None = None,
        with_statistics: bool = False,
        sequence: SequenceGroup = SINGLE,
    ) -> Float[Tensor, "own_tokens d_model"]:
        """Returns the hidden state of each token: the norm of the two streams' sum.

        `document_ids` numbers the documents in contiguous runs (None: all tokens are one document); `step` is the
        training step that determines hashes and dropout. Where the ranks of a `sequence` share the example, each gives
        all of it, and gets the hidden states and statistics of its own tokens and heads.

        Raises:
            UsageError: the example has no tokens, or more documents than int32 bucket numbers can distinguish.
        """
        if inputs.numel() == 0:
            raise UsageError("inputs holds no token: give an example of at least one")
        if document_ids is None:
            document_ids = torch.zeros_like(inputs)
        drawn, self._statistics, self._read_statistics = step if self.training else None, {}, None
        self._key_moments = {}
        context = Context(
            document_ids=document_ids,
            rotations=self._rotations_of_pass(drawn),
            statistics=self._statistics if with_statistics else None,
            key_moments=self._key_moments if with_statistics else None,
            dropout_seed=self._dropout_seed(drawn),
        )
        n_buckets = max(buckets_of_rounds(self.recipe))
        if context.n_document_numbers * n_buckets >= 2**31:
            raise UsageError(
                f"an example of {context.n_document_numbers:,} documents is more than {n_buckets} buckets "
                "can distinguish: lower data.seq_len or model.n_buckets"
            )
        own = inputs[sequence.own(len(inputs))]
        # The gradient of the streams is the norm's own, which nothing else holds.
        streams, self.fixed = self.stack(self.embedding(own.long()), context, sequence, may_overwrite=True)
        return self.norm(streams)

    def loss(self, hidden: Float[Tensor, "tokens d_model"], targets: Int[Tensor, "tokens"]) -> Float[Tensor, ""]:
        """Returns the sum of the targets' cross-entropies in nats."""
        return linear_cross_entropy(hidden, self.head_weight, targets)

    def logits(self, hidden: Float[Tensor, "tokens d_model"]) -> Float[Tensor, "tokens vocabulary"]:
        """Returns the logits of tokens; `loss` avoids them for many."""
        return nn.functional.linear(hidden, self.head_weight)

    @property
    def head_weight(self) -> Float[Tensor, "vocabulary d_model"]:
        """The weight of the output head; the embedding's where they are tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    def _dropout_seed(self, step: int | None) -> int | None:
        """Returns the seed of a pass; without a step it is drawn from PyTorch's generator."""
        if not self.training or self.recipe.dropout == 0:
            return None
        return int(torch.randint(2**62, ())) if step is None else seed_of(self.seed, step)

    def _rotations_of_pass(self, step: int | None) -> Callable[[int], Tensor]:
        """Returns what gives a pass the rotations of a layer; on a CPU they are drawn each time, so none are kept."""
        if step is None:
            return lambda layer: self.get_buffer(f"rotations_{layer}")
        device = self.embedding.weight.device
        if device.type == "cpu":
            return lambda layer: self._drawn(layer, step)
        return RotationsAhead(lambda layer: self._drawn(layer, step), self.hash_layers, device)

    def _drawn(self, layer: int, step: int | None) -> Float[Tensor, "heads head_dim directions"]:
        """Returns random directions for the hashes of a training step, or for those of evaluation to be whitened."""
        n_buckets = buckets_of_rounds(self.recipe)
        return draw_rotations(self.seed, step, layer, self.recipe.n_heads, self._head_dim, n_buckets)

    def _of_evaluation(self, layer: int) -> Float[Tensor, "heads head_dim directions"]:
        """Returns the directions for the hashes of evaluation, on the CPU; those of the finest rounds are whitened."""
        directions, moments = self._drawn(layer, None), self.get_buffer(f"key_moments_{layer}").cpu()
        for run in rounds_alike(buckets_of_rounds(self.recipe)):
            if run.n_buckets == self._finest:
                directions[..., run.directions] = whitened(directions[..., run.directions], moments)
        return directions

    @property
    def _head_dim(self) -> int:
        return self.recipe.d_model // self.recipe.n_heads

    def _initialize(self) -> None:
        """Draws the weights from the seed alone; maps that write into a stream start smaller in a deeper model.

        The initial hidden states are then close to the embeddings, and the head learns bigram statistics before the
        layers contribute (in the spirit of ReZero, Bachlechner et al., arXiv 2003.04887).
        """
        generator = torch.Generator().manual_seed(self.seed)
        written_gain = _INITIAL_WRITTEN_GAIN * (2 * self.recipe.n_layers) ** -0.5
        writers = {writer for each in self.modules() if isinstance(each, Write) for writer in each.writers()}
        for module in self.modules():
            if module in (self.embedding, self.head):
                std = _EMBEDDING_STD
            elif isinstance(module, nn.Linear):
                std = module.in_features**-0.5 * (written_gain if module in writers else 1.0)
            else:
                continue
            nn.init.normal_(module.weight, std=std, generator=generator)
