"""A growing text: given tokens and sampled tokens are appended to it, and the decoding cache is kept."""

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

CountTokens = Callable[[int, int], None]
"""Called with the number of tokens processed, and the total."""


class SampledToken(NamedTuple):
    """A sampled token, and the natural log-probability that the model itself gave to it.

    That is over the whole vocabulary, before penalty, temperature and filters: the training loss is its negated mean.
    """

    token: int
    log_probability: float


@dataclass
class Throughput:
    """Tokens, and the seconds that the model took to process them."""

    tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float | None:
        """None if nothing was measured."""
        return self.tokens / self.seconds if self.tokens and self.seconds else None


class TextGenerator:
    """One text, which starts with the begin token and splits into several samples at its first sampled token.

    Tokens without text, such as the begin token, are never sampled. The model should be in evaluation mode; see
    `RevLM.eval`.

    Attributes:
        prefill: the tokens given, including the begin token.
        decoding: the tokens sampled, over all samples.
        samples: the number of samples.
    """

    def __init__(
        self, model: RevLM, tokenizer: Tokenizer, sampling: Sampling, seed: int = 0, samples: Sequence[int] = (0,)
    ) -> None:
        """`samples` are the samples' numbers: the text of a sample depends on its number, not on the other samples.

        Raises:
            UsageError: the seed is out of range.
        """
        if not 0 <= seed < 2**64:
            raise UsageError(f"seed is {seed}: give a number from 0 to 2^64 - 1")
        self.samples, self.prefill, self.decoding = len(samples), Throughput(), Throughput()
        self._sampling = sampling
        self._decoder = Decoder(model)
        self._device = model.head_weight.device
        self._random = [SampleRng(seed, sample) for sample in samples]
        self._silent = torch.from_numpy(tokenizer.byte_lengths == 0)
        self._seen = torch.zeros(len(samples), tokenizer.vocab_size, dtype=torch.bool)
        self._logits: Tensor | None = (
            None  # after all tokens that the decoder has; one row until the first sampled token
        )
        self._pending = torch.tensor([tokenizer.begin_id])  # sampled or given, but not decoded yet
        self._is_forked = len(samples) == 1

    @torch.no_grad()
    def append(
        self,
        tokens: npt.ArrayLike,
        progress: CountTokens = lambda done, total: None,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> int:
        """Appends given tokens, possibly none; with several samples, only before the first token is sampled.

        Returns how many were appended. `is_enough` is called between blocks; once it returns true, the remaining blocks
        are not appended.

        Raises:
            NonFiniteError: the logits are no longer finite.
        """
        assert self.samples == 1 or not self.decoding.tokens, "the samples have already diverged"
        start = time.perf_counter()
        given = torch.as_tensor(tokens, dtype=torch.int64)
        everything = torch.cat([self._pending, given])
        processed = 0
        if len(everything):
            total, before = len(everything), self._decoder.length
            logits = self._decoder.extend(everything.to(self._device), lambda done: progress(done, total), is_enough)
            self._logits = self._read(logits[None])
            processed = self._decoder.length - before
        appended = max(0, processed - len(self._pending))
        self._seen[:, given[:appended]] = True
        self._pending = everything[:0]
        self.prefill.tokens += processed
        self.prefill.seconds += time.perf_counter() - start
        return appended

    @torch.no_grad()
    def continue_tokens(
        self, max_tokens: int, is_ended: Callable[[int], bool] = lambda sample: False
    ) -> Iterator[list[SampledToken | None]]:
        """Samples up to `max_tokens` tokens; yields each sample's next token, None for a sample that has ended.

        `is_ended` is called with the index of each sample before each token; once all have ended, the iterator ends.
        It can be left at any time: the text can be continued after the last token.

        Raises:
            NonFiniteError: the logits are no longer finite.
        """
        for _ in range(max_tokens):
            ended = [is_ended(sample) for sample in range(self.samples)]
            if all(ended):
                return
            start = time.perf_counter()
            drawn = self._sample(ended)
            self.decoding.tokens += self.samples - sum(ended)
            self.decoding.seconds += time.perf_counter() - start
            yield drawn

    def _sample(self, ended: Sequence[bool]) -> list[SampledToken | None]:
        logits = self._next_logits()
        # A sample that has ended keeps its row in the batch, but uses no random number.
        numbers = [0.0 if over else rng.uniform() for over, rng in zip(ended, self._random, strict=True)]
        allowed = logits.masked_fill(self._silent, -torch.inf)
        tokens = next_tokens(allowed, self._seen, self._sampling, torch.tensor(numbers, dtype=torch.float64))
        self._seen[torch.arange(self.samples), tokens] = True
        self._pending = tokens
        own = log_probabilities(logits, tokens)
        each = zip(ended, tokens.tolist(), own.tolist(), strict=True)
        return [None if over else SampledToken(token, log_probability) for over, token, log_probability in each]

    def _next_logits(self) -> Float[Tensor, "samples vocabulary"]:
        """The logits after all tokens, including pending ones."""
        if self._logits is None:
            self.append([])
        assert self._logits is not None
        if len(self._pending):
            self._logits = self._read(self._decoder.step(self._pending.to(self._device)))
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
