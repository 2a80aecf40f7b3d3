"""Decoding with a cache: a token costs the same after a thousand tokens as after a million."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import UsageError
from revlm.model import RevLM
from revlm.model.decoding import CachedStack

_PRECISIONS = ("fp32", "bf16")
# Tokens of a long prompt that are prefilled at a time.
_BLOCK = 16_384


class Decoder:
    """A sequence that is prefilled once, and then one or several samples that continue it.

    The cache holds `2 * d_model` numbers per token in each lsh and full layer (plus an eighth of free room); a local
    layer keeps only those of its window. That is 8 * d_model bytes in float32, half of it in bf16. An lsh layer also
    has 4 * n_heads * window bytes of ring buffers for each bucket of each round and each sample. Samples share the rest
    of their common prefix.
    """

    def __init__(self, model: RevLM, *, precision: str = "fp32", block: int = _BLOCK) -> None:
        """Starts with an empty sequence; `precision` is that of the matrix products, as in train.precision.

        With fp32, products have the precision of the model's weights, float64 included. `block` is the number of prompt
        tokens that are prefilled at a time: it affects memory and speed, not the result.

        Raises:
            UsageError: the model is in training mode, or `precision` or `block` is invalid.
        """
        if model.training:
            raise UsageError("a model in training mode applies dropout: call its eval() before decoding")
        if precision not in _PRECISIONS:
            raise UsageError(f"precision is {precision!r}: give one of {', '.join(_PRECISIONS)}")
        if block < 1:
            raise UsageError(f"block is {block}: give a number of tokens, 1 or more")
        self._model, self._block = model, block
        self._stack = CachedStack(model, torch.bfloat16 if precision == "bf16" else model.embedding.weight.dtype)

    @property
    def length(self) -> int:
        """The length of the sequence of each sample, in tokens."""
        return self._stack.length

    @property
    def cache_bytes(self) -> int:
        """The bytes of the cache."""
        return self._stack.bytes

    def latest_buckets(self) -> dict[int, Int[Tensor, "heads samples rounds"]]:
        """Returns the buckets of each sample's latest token, by the number of the hash layer."""
        return self._stack.latest_buckets()

    @torch.no_grad()
    def extend(
        self,
        tokens: Int[Tensor, "tokens"],
        progress: Callable[[int], None] | None = None,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> Float[Tensor, "vocabulary"]:
        """Appends tokens to the sequence; returns the logits after the last one.

        After each block, `progress` is called with the number of these tokens processed so far, and then `is_enough`;
        once it returns true, the other blocks are skipped, and `length` tells how many tokens were appended.

        Raises:
            UsageError: there are no tokens, or there are several samples.
        """
        if len(tokens) == 0:
            raise UsageError("there are no tokens to append: give at least one")
        done, hidden = 0, None
        for hidden in self.extend_in_blocks(tokens):
            done += len(hidden)
            if progress is not None:
                progress(done)
            if is_enough():
                break
        assert hidden is not None
        return self._model.logits(hidden[-1:])[0]

    @torch.no_grad()
    def extend_in_blocks(self, tokens: Int[Tensor, "tokens"]) -> Iterator[Float[Tensor, "block d_model"]]:
        """Appends tokens to the sequence; yields the hidden states of each block once it is appended.

        Raises:
            UsageError: there are several samples.
        """
        if self._stack.samples > 1:
            raise UsageError(f"there are {self._stack.samples} samples: append to them one token at a time, with step")
        if len(tokens) > 1:
            self._stack.reserve(len(tokens))
        for block in tokens.split(self._block) if len(tokens) else ():
            yield self._stack.step(block) if len(block) == 1 else self._stack.extend(block)

    def fork(self, samples: int) -> None:
        """Continues the sequence as `samples` independent samples.

        Raises:
            UsageError: there are several samples already, or `samples` is below 1.
        """
        if samples < 1:
            raise UsageError(f"the number of samples is {samples}: give 1 or more")
        if self._stack.samples > 1:
            raise UsageError(f"there are {self._stack.samples} samples already: only a single sequence can be forked")
        if samples > 1:
            self._stack.fork(samples)

    @torch.no_grad()
    def step(self, tokens: Int[Tensor, "samples"]) -> Float[Tensor, "samples vocabulary"]:
        """Appends one token to each sample; returns the logits after them.

        Raises:
            UsageError: the numbers of tokens and samples differ.
        """
        if len(tokens) != self._stack.samples:
            raise UsageError(
                f"there are {len(tokens)} tokens for {self._stack.samples} samples: give one token for each sample"
            )
        return self._model.logits(self._stack.step(tokens))
