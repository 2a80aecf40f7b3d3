"""Incremental decoding with caches, on the same weights and the same fixed-point grid as training."""

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from revlm.errors import UsageError
from revlm.model.kinds import KINDS
from revlm.model.parts.cache import Cache
from revlm.model.parts.heads import Rotary
from revlm.model.parts.sublayer import Sublayer
from revlm.model.revlm import RevLM
from revlm.ops.fixed_point import FixedPoint


class CachedStack:
    """The stack of a model with a cache per attention layer; takes one token or several consecutive tokens at a time.

    `products` is the dtype of its matrix products, as under autocast; where it is not the model's own dtype, the
    matrices are cast and copied once. There are no gradients. A stream that nears the range of the grid raises
    NonFiniteError; an increment that is not finite makes all later hidden states NaN. A model that has other rounds of
    hashing than at the start (`RevLM.use_rounds`) raises UsageError.
    """

    def __init__(self, model: RevLM, products: torch.dtype) -> None:
        self._model, self._products = model, products
        self._dtype, self._device = model.embedding.weight.dtype, model.embedding.weight.device
        sublayers = model.stack.sublayers
        if products != self._dtype:
            sublayers = _with_matrices_in(products, sublayers)
        self._sublayers = [layer for layer in sublayers if isinstance(layer, Sublayer)]
        self._head_dim = model.recipe.d_model // model.recipe.n_heads
        self.caches = {2 * layer: self._cache(layer) for layer in range(model.recipe.n_layers)}
        self._fixed = FixedPoint(model.stack.fraction_bits, self._device)
        self._n_buckets = model.recipe.n_buckets
        self.length, self.samples = 0, 1

    @property
    def bytes(self) -> int:
        """The size of the caches in bytes."""
        return sum(cache.bytes for cache in self.caches.values())

    def latest_buckets(self) -> dict[int, Int[Tensor, "heads samples rounds"]]:
        """Returns the buckets of each sample's latest token, by hash layer."""
        latest = {turn // 2: cache.latest_bucket for turn, cache in self.caches.items()}
        return {layer: bucket for layer, bucket in latest.items() if bucket is not None}

    def reserve(self, tokens: int) -> None:
        """Allocates cache memory for `tokens` more tokens at once."""
        for cache in self.caches.values():
            cache.reserve(tokens)

    @torch.no_grad()
    def extend(self, inputs: Int[Tensor, "tokens"]) -> Float[Tensor, "tokens d_model"]:
        """Prefills the next tokens of the single sequence with the operations of training; returns their hidden states.

        Raises:
            UsageError: `inputs` is empty.
        """
        if len(inputs) == 0:
            raise UsageError("inputs holds no token: give at least one")
        rotary = self._rotary(len(inputs))
        tile = self._model.stack.tile
        spans = [slice(start, min(start + tile, len(inputs))) for start in range(0, len(inputs), tile)]

        def mixed(cache: Cache, source: Int[Tensor, "tokens d_model"]) -> Tensor:
            for span in spans:
                cache.read(self._to_float(source[span]), rotary.of_span(span))
            return cache.mix()

        hidden = self._through(inputs, spans, mixed)
        self.length += len(inputs)
        return hidden

    @torch.no_grad()
    def step(self, inputs: Int[Tensor, "samples"]) -> Float[Tensor, "samples d_model"]:
        """Decodes the next token of each sample; returns their hidden states."""
        rotary = self._rotary(1)
        hidden = self._through(
            inputs, [slice(0, self.samples)], lambda cache, source: cache.step(self._to_float(source), rotary)
        )
        self.length += 1
        return hidden

    @torch.no_grad()
    def fork(self, samples: int) -> None:
        """Forks the single sequence into `samples` samples."""
        for cache in self.caches.values():
            cache.fork(samples)
        self.samples = samples

    def _through(
        self, inputs: Int[Tensor, "tokens"], spans: list[slice], mixed: Callable[[Cache, Tensor], Tensor]
    ) -> Float[Tensor, "tokens d_model"]:
        """Returns the hidden states of new tokens; token-wise parts are computed span by span."""
        if self._model.recipe.n_buckets != self._n_buckets:
            raise UsageError(
                "the model hashes in other rounds than when this sequence began: start a new sequence (a new cache)"
            )
        fixed = self._fixed
        embedding = self._model.embedding(inputs.long())
        first = torch.zeros_like(embedding, dtype=torch.int32)
        fixed.add_(first, embedding)
        streams = [first, first.clone()]
        kind = self._device.type
        in_half = self._products != self._dtype
        with torch.autocast(kind, dtype=self._products if in_half else None, enabled=in_half, cache_enabled=False):
            for turn, sublayer in enumerate(self._sublayers):
                source, target = streams[1 - turn % 2], streams[turn % 2]
                read = mixed(self.caches[turn], source) if turn in self.caches else None
                for span in spans:
                    x = self._to_float(source[span]) if read is None else read[:, span]
                    fixed.add_(target[span], sublayer.write(x))
        fixed.check_range()
        out = fixed.to_float(streams[0], self._dtype).add_(fixed.to_float(streams[1], self._dtype))
        return self._model.norm(out.add_(fixed.poison().to(out.dtype)))

    def _to_float(self, stream: Int[Tensor, "tokens d_model"]) -> Float[Tensor, "tokens d_model"]:
        return self._fixed.to_float(stream, self._dtype)

    def _rotary(self, tokens: int) -> Rotary:
        position = torch.arange(self.length, self.length + tokens, device=self._device)
        return Rotary.of(position, self._head_dim, torch.promote_types(self._dtype, torch.float32))

    def _cache(self, layer: int) -> Cache:
        kind = KINDS[self._model.kinds[layer]]
        rotations = self._model.get_buffer(f"rotations_{layer}") if kind.hashes else None
        return kind.cache(self._sublayers[2 * layer], rotations, self._products)


def _with_matrices_in(dtype: torch.dtype, sublayers: nn.ModuleList) -> nn.ModuleList:
    """Returns sublayers whose linear maps hold their weights in `dtype`, as autocast would cast them for each use.

    They are the given ones if these do already.
    """
    if all(module.weight.dtype == dtype for module in sublayers.modules() if isinstance(module, nn.Linear)):
        return sublayers
    copied = copy.deepcopy(sublayers)
    for module in copied.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)
    return copied
