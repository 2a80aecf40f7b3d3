"""The numbers of a recipe that determine the sizes of its tensors."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from revlm.launch import ALONE, Launch
from revlm.model import resolve_model
from revlm.model.kinds import KINDS
from revlm.model.parts.feed_forward import FeedForward
from revlm.model.parts.memory import FULL_BYTES, LayerSizes, Weights
from revlm.model.precision import resolve_precision
from revlm.model.shape import buckets_of_rounds, heads_at_a_time, tile_tokens
from revlm.ops.hashing import directions_of
from revlm.ops.linear_cross_entropy import TILE as LOSS_TILE
from revlm.recipe import LayerKind, Recipe
from revlm.recipe import Model as ModelRecipe

GRADIENT_BUFFER_BYTES = 25 * 2**20
"""Bytes of gradients that ranks sum at once, as many as in PyTorch's `DistributedDataParallel`."""


@dataclass(frozen=True)
class Sizes(LayerSizes):
    """The sizes of a run: those of its layers, and counts of elements and layers.

    `kinds` are the attention layers, in order; `examples_ahead` is the number of prefetched examples in the device's
    memory. `processes` is the number of ranks, at least that of the ranks that share an example. `muon_bytes` is the
    size of the numbers with which Muon orthogonalizes.
    """

    vocab_size: int
    kinds: tuple[LayerKind, ...]
    attention_weights: dict[LayerKind, Weights]
    feed_forward_weights: Weights
    other_weights: int
    muon: bool
    muon_bytes: int
    micro_batches: int
    processes: int
    sharded: bool
    examples_ahead: int
    reversible: bool

    @property
    def parameters(self) -> int:
        """The number of elements of all weights."""
        of_layers = sum(self.attention_weights[kind].total + self.feed_forward_weights.total for kind in self.kinds)
        return of_layers + self.other_weights

    @property
    def optimizer_elements(self) -> int:
        """Elements of this process's optimizer state: AdamW keeps two per weight, Muon one per weight of a matrix."""
        matrices = sum(
            weights.read_matrices + weights.write_matrices
            for kind in self.kinds
            for weights in (self.attention_weights[kind], self.feed_forward_weights)
        )
        moments = 2 * self.parameters - (matrices if self.muon else 0)
        return -(-moments // self.processes) if self.sharded else moments

    @property
    def largest_matrix(self) -> int:
        """The number of elements of a layer's largest matrix."""
        return self.d_model * max(self.d_ff, 3 * self.d_model)

    @property
    def rotations(self) -> int:
        """The number of elements of the random directions and key moments of all hash layers, over all heads."""
        return sum(KINDS[kind].hashes for kind in self.kinds) * self.d_model * (self.directions + self.head_dim)

    @property
    def loss_tile(self) -> int:
        """The number of tokens whose logits are in memory at once."""
        return min(LOSS_TILE, self.tokens)


def sizes_of(recipe: Recipe, vocab_size: int, device_kind: str, launch: Launch = ALONE) -> Sizes:
    """Returns the sizes of a run on "cpu" or "cuda", for examples of the full `data.seq_len`.

    They are the sizes of one process, which has its share of a step's examples and of an example's tokens.
    """
    ranks = recipe.train.sequence_parallel
    processes = max(launch.world_size, ranks)
    model = resolve_model(recipe.model, recipe.data.seq_len)
    kinds = tuple(model.layers[layer % len(model.layers)] for layer in range(model.n_layers))
    heads = 1 if model.tie_embeddings else 2
    return Sizes(
        tokens=-(-recipe.data.seq_len // ranks),
        all_tokens=recipe.data.seq_len,
        sequence_ranks=ranks,
        d_model=model.d_model,
        d_ff=model.d_ff,
        n_heads=model.n_heads,
        heads_at_a_time=heads_at_a_time(
            model.n_heads, model.d_model // model.n_heads, recipe.data.seq_len, ranks, device_kind
        ),
        n_rounds=model.n_rounds,
        directions=directions_of(buckets_of_rounds(model)),
        window=model.window,
        block=model.attention_block,
        tile=tile_tokens(model, recipe.train.tile, device_kind),
        vocab_size=vocab_size,
        kinds=kinds,
        attention_weights={kind: _attention_weights(model, kind) for kind in set(kinds)},
        feed_forward_weights=_feed_forward_weights(model),
        other_weights=heads * vocab_size * model.d_model + model.d_model,
        muon=recipe.optimizer.name == "muon",
        muon_bytes=_product_bytes("auto", device_kind),
        product_bytes=_product_bytes(recipe.train.precision, device_kind),
        micro_batches=-(-recipe.train.gradient_accumulation_steps // (processes // ranks)),
        processes=processes,
        sharded=recipe.optimizer.sharded,
        examples_ahead=recipe.data.workers if device_kind == "cpu" else 0,
        reversible=model.reversible,
        dropout=model.dropout > 0,
        successor_values=model.successor_values,
        predecessor_keys=model.predecessor_keys,
        device_kind=device_kind,
    )


def _product_bytes(precision: str, device_kind: str) -> int:
    return 2 if resolve_precision(precision, device_kind) == "bf16" else FULL_BYTES


def _attention_weights(model: ModelRecipe, kind: LayerKind) -> Weights:
    with torch.device("meta"):  # builds the layer's shapes without memory
        sublayer = KINDS[kind].layer(model, 0)
    assert sublayer.read is not None
    return Weights(
        _elements(sublayer.parameters()),
        _elements(_matrices(sublayer.read)),
        _elements(_matrices(sublayer.write)),
    )


def _feed_forward_weights(model: ModelRecipe) -> Weights:
    with torch.device("meta"):
        write = FeedForward(model.d_model, model.d_ff, model.dropout)
    return Weights(_elements(write.parameters()), 0, _elements(_matrices(write)))


def _matrices(module: nn.Module) -> Iterable[nn.Parameter]:
    return (parameter for parameter in module.parameters() if parameter.dim() == 2)


def _elements(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
