"""A text that is written on: what is given is taken in, what the model draws is appended, and its cache is kept."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from revlm.corpus import Tokenizer
from revlm.errors import NonFiniteError, UsageError
from revlm.generation.decoding import Decoder
from revlm.generation.sampling import SampleRng, Sampling, log_probabilities, next_tokens
from revlm.model import RevLM

Progress = Callable[[int, int], None]
"""Told how many tokens were taken in, and of how many."""


class Drawn(NamedTuple):
    """A token, and the natural logarithm of the probability that the model itself gave to it.

    That is before penalty, temperature and filters, over the whole vocabulary: training's loss is the mean of it, with
    the sign turned.
    """

    token: int
    log_probability: float


@dataclass
class Throughput:
    """Tokens, and the seconds that the model took for them."""

    tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float | None:
        """None where there was nothing to measure."""
        return self.tokens / self.seconds if self.tokens and self.seconds else None


class Writing:
    """One text, begun with the begin token, and from its first drawn token on in several samples.

    Tokens that stand for no text, such as the begin token, are never drawn. The model is meant to be in evaluation
    mode; see `RevLM.eval`.

    Attributes:
        prefill: what was taken in, the begin token included.
        decoding: what was drawn, all samples together.
        samples: how many there are.
    """

    def __init__(
        self, model: RevLM, tokenizer: Tokenizer, sampling: Sampling, seed: int = 0, samples: Sequence[int] = (0,)
    ) -> None:
        """Takes the numbers of the samples: one is the same text alone and among others, up to rounding.

        Raises:
            UsageError: the seed is out of range.
        """
        if not 0 <= seed < 2**64:
            raise UsageError(f"seed is {seed}: give a number from 0 to 2^64 - 1")
        self.samples, self.prefill, self.decoding = len(samples), Throughput(), Throughput()
        self._sampling = sampling
        self._decoder = Decoder(model)
        self._device = model.head_weight.device
        self._generators = [SampleRng(seed, sample) for sample in samples]
        self._silent = torch.from_numpy(tokenizer.byte_lengths == 0)
        self._seen = torch.zeros(len(samples), tokenizer.vocab_size, dtype=torch.bool)
        self._logits: Tensor | None = None  # after all that the decoder has taken in; one row until the first draw
        self._waiting = torch.tensor([tokenizer.begin_id])  # drawn or given, and not taken in yet
        self._is_forked = len(samples) == 1

    @torch.no_grad()
    def take(
        self,
        tokens: npt.ArrayLike,
        progress: Progress = lambda done, total: None,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> int:
        """Appends tokens that are given; none are fine. Several samples can only be given what precedes them all.

        Returns how many of them were appended: all, or where `is_enough`, which is asked between blocks, those of the
        blocks before.

        Raises:
            NonFiniteError: the logits are no longer finite.
        """
        assert self.samples == 1 or not self.decoding.tokens, "samples have become texts of their own"
        start = time.perf_counter()
        given = torch.as_tensor(tokens, dtype=torch.int64)
        everything = torch.cat([self._waiting, given])
        taken = 0
        if len(everything):
            total, before = len(everything), self._decoder.length
            logits = self._decoder.extend(everything.to(self._device), lambda done: progress(done, total), is_enough)
            self._logits = self._read(logits[None])
            taken = self._decoder.length - before
        appended = max(0, taken - len(self._waiting))
        self._seen[:, given[:appended]] = True
        self._waiting = everything[:0]
        self.prefill.tokens += taken
        self.prefill.seconds += time.perf_counter() - start
        return appended

    @torch.no_grad()
    def continue_tokens(
        self, max_tokens: int, is_ended: Callable[[int], bool] = lambda sample: False
    ) -> Iterator[list[Drawn | None]]:
        """Yields up to `max_tokens` times what each sample has drawn; None for one that has ended.

        `is_ended` is asked for each sample by its number, before each draw; where all have ended, nothing more comes.
        Leaving in between loses nothing: the text can be written on after the last token.

        Raises:
            NonFiniteError: the logits are no longer finite.
        """
        for _ in range(max_tokens):
            ended = [is_ended(sample) for sample in range(self.samples)]
            if all(ended):
                return
            start = time.perf_counter()
            drawn = self._drawn(ended)
            self.decoding.tokens += self.samples - sum(ended)
            self.decoding.seconds += time.perf_counter() - start
            yield drawn

    def _drawn(self, ended: Sequence[bool]) -> list[Drawn | None]:
        logits = self._next_logits()
        # One that has ended draws as well, without a random number, to keep its place in the batch.
        numbers = [
            0.0 if over else generator.uniform() for over, generator in zip(ended, self._generators, strict=True)
        ]
        allowed = logits.masked_fill(self._silent, -torch.inf)
        tokens = next_tokens(allowed, self._seen, self._sampling, torch.tensor(numbers, dtype=torch.float64))
        self._seen[torch.arange(self.samples), tokens] = True
        self._waiting = tokens
        own = log_probabilities(logits, tokens)
        each = zip(ended, tokens.tolist(), own.tolist(), strict=True)
        return [None if over else Drawn(token, log_probability) for over, token, log_probability in each]

    def _next_logits(self) -> Float[Tensor, "samples vocabulary"]:
        """The logits after everything, what waits included."""
        if self._logits is None:
            self.take([])
        assert self._logits is not None
        if len(self._waiting):
            self._logits = self._read(self._decoder.step(self._waiting.to(self._device)))
        elif not self._is_forked:
            self._decoder.fork(self.samples)
            self._logits = self._logits.expand(self.samples, -1)
            self._is_forked = True
        return self._logits

    def _read(self, logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, "rows vocabulary"]:
        """Returns logits in float64 on the CPU."""
        read = logits.cpu().double()
        if not read.isfinite().all():
            raise NonFiniteError(
                f"the model's logits are not finite after {self._decoder.length:,} tokens: "
                "take an earlier checkpoint with --step"
            )
        return read
