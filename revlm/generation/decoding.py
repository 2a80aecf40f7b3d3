"""Decodes with a cache: a token costs the same after a thousand tokens and after a million."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import UsageError
from revlm.model import RevLM
from revlm.model.decoding import CachedStack

_PRECISIONS = ("fp32", "bf16")
# Tokens of a long prompt that are worked on at a time.
_BLOCK = 16_384


class Decoder:
    """A sequence that is taken in once, and then one or several samples that continue it.

    What is kept takes `2 * d_model` numbers a token in each lsh and full layer (room for an eighth more is kept free);
    a local layer keeps those of its window. In float32 that is 8 * d_model bytes, in bf16 half of it. An lsh layer has
    4 * n_heads * n_rounds * n_buckets * window bytes of rings besides, for each sample. Samples share the rest of the
    sequence they begin with.
    """

    def __init__(self, model: RevLM, *, precision: str = "fp32", block: int = _BLOCK) -> None:
        """Starts with no token; `precision` is that of the matrix products, as in train.precision.

        With fp32 it is the model's own, also where that is float64. `block` is the number of tokens of a prompt that
        are taken in at a time: it decides memory and speed, not the result.

        Raises:
            UsageError: the model is in training mode, or there is no such precision or block.
        """
        if model.training:
            raise UsageError("a model in training mode drops activations at random: call its eval() before decoding")
        if precision not in _PRECISIONS:
            raise UsageError(f"precision is {precision!r}: give one of {', '.join(_PRECISIONS)}")
        if block < 1:
            raise UsageError(f"block is {block}: give a number of tokens from 1 up")
        self._model, self._block = model, block
        self._stack = CachedStack(model, torch.bfloat16 if precision == "bf16" else model.embedding.weight.dtype)

    @property
    def length(self) -> int:
        """The tokens taken in, of each sample."""
        return self._stack.length

    @property
    def cache_bytes(self) -> int:
        """The memory of what is kept."""
        return self._stack.bytes

    def latest_buckets(self) -> dict[int, Int[Tensor, "heads samples rounds"]]:
        """Returns the buckets of the latest token of each sample, by the number of the hash layer."""
        return self._stack.latest_buckets()

    @torch.no_grad()
    def extend(
        self,
        tokens: Int[Tensor, "tokens"],
        progress: Callable[[int], None] | None = None,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> Float[Tensor, "vocabulary"]:
        """Takes in a run of tokens; returns the logits after the last one.

        `progress` is called after each block, with the number of tokens of this run that are taken in. `is_enough` is
        asked before each block but the first, and leaves out the rest: `length` tells how many were taken in.

        Raises:
            UsageError: there is no token, or there are several samples.
        """
        if len(tokens) == 0:
            raise UsageError("a run of no tokens has no last one: give one token at least")
        if self._stack.samples > 1:
            raise UsageError(
                f"a run of tokens for {self._stack.samples} samples: they go on one token at a time, by step"
            )
        self._stack.reserve(len(tokens))
        hidden = None
        for start in range(0, len(tokens), self._block):
            if hidden is not None and is_enough():
                break
            block = tokens[start : start + self._block]
            hidden = self._stack.step(block) if len(block) == 1 else self._stack.extend(block)
            if progress is not None:
                progress(start + len(block))
        assert hidden is not None
        return self._model.logits(hidden[-1:])[0]

    def fork(self, samples: int) -> None:
        """Lets so many samples continue the sequence from here on.

        Raises:
            UsageError: there are several samples already, or the number is below 1.
        """
        if samples < 1:
            raise UsageError(f"{samples} samples: give 1 or more")
        if self._stack.samples > 1:
            raise UsageError(
                f"there are {self._stack.samples} samples already: only one sequence can be continued by more"
            )
        if samples > 1:
            self._stack.fork(samples)

    @torch.no_grad()
    def step(self, tokens: Int[Tensor, "samples"]) -> Float[Tensor, "samples vocabulary"]:
        """Takes in the next token of each sample; returns the logits after them.

        Raises:
            UsageError: there are not as many tokens as samples.
        """
        if len(tokens) != self._stack.samples:
            raise UsageError(f"{len(tokens)} tokens for {self._stack.samples} samples: give one for each")
        return self._model.logits(self._stack.step(tokens))
