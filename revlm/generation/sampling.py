"""Sampling tokens from logits: pure functions, and an independent random stream for each sample.

`next_tokens` applies them in this order: repetition penalty, temperature, top-k, top-p, min-p. Each filter applies to
the distribution that the previous ones leave. Ties between equally likely tokens go to the lower id.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from revlm.errors import UsageError


@dataclass(frozen=True)
class Sampling:
    """How tokens are sampled; by default from the full distribution at temperature 0.8.

    Attributes:
        temperature: divides the logits; 0: always the likeliest token.
        top_k: only the top_k likeliest tokens; 0: all.
        top_p: only the smallest set of likeliest tokens with at least this total probability; 1: all.
        min_p: only tokens at least min_p times as likely as the likeliest; 0: all.
        repetition_penalty: above 1, tokens of the text so far become less likely; 1: no penalty.

    Raises:
        UsageError: a value is out of range.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UsageError(f"temperature is {self.temperature}: give 0 (the likeliest token) or more")
        if self.top_k < 0:
            raise UsageError(f"top-k is {self.top_k}: give 0 (every token) or more")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p is {self.top_p}: give a probability above 0 and at most 1 (every token)")
        if not 0 <= self.min_p <= 1:
            raise UsageError(f"min-p is {self.min_p}: give a share from 0 (every token) to 1")
        if not 0 < self.repetition_penalty < math.inf:
            raise UsageError(
                f"repetition-penalty is {self.repetition_penalty}: give 1 (none) or more, or less to favour repetition"
            )


class SampleRng:
    """The random numbers of one sample, from the counter-based generator Philox (Salmon et al., 2011).

    They depend only on the seed and the sample's number, and each token uses one of them: other samples in the batch
    do not change a sample.
    """

    def __init__(self, seed: int, sample: int) -> None:
        self._stream = np.random.Philox(key=np.array([seed, sample], dtype=np.uint64))

    def uniform(self) -> float:
        """Returns the next number, in [0, 1)."""
        return float(self._stream.random_raw() >> 11) * 2.0**-53


def next_tokens(
    logits: Float[Tensor, "samples vocabulary"],
    seen: Bool[Tensor, "samples vocabulary"],
    sampling: Sampling,
    uniform: Float[Tensor, "samples"],
) -> Int[Tensor, "samples"]:
    """Returns the next token of each sample.

    `seen` marks the tokens in its text so far, `uniform` is its random number; in float64, the result is the same on
    every device.
    """
    if sampling.repetition_penalty != 1:
        logits = penalise_repetition(logits, seen, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return logits.argmax(-1)  # of several, the first
    logits = at_temperature(logits, sampling.temperature)
    if sampling.top_k:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p < 1:
        logits = keep_top_p(logits, sampling.top_p)
    if sampling.min_p:
        logits = keep_min_p(logits, sampling.min_p)
    return draw(logits, uniform)


def penalise_repetition(
    logits: Float[Tensor, "samples vocabulary"], seen: Bool[Tensor, "samples vocabulary"], penalty: float
) -> Float[Tensor, "samples vocabulary"]:
    """Returns the logits, with positive logits of seen tokens divided by the penalty and negative ones multiplied.

    Keskar et al., arXiv 1909.05858, section 4.1, divide every logit, which would raise a negative one.
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def at_temperature(
    logits: Float[Tensor, "samples vocabulary"], temperature: float
) -> Float[Tensor, "samples vocabulary"]:
    """Returns the logits divided by a temperature above 0, after shifting the largest to 0, so that none overflows."""
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(logits: Float[Tensor, "samples vocabulary"], k: int) -> Float[Tensor, "samples vocabulary"]:
    """Returns the k largest logits, and minus infinity for the others."""
    order = logits.argsort(dim=-1, descending=True, stable=True)[:, :k]
    return torch.full_like(logits, -torch.inf).scatter(1, order, logits.gather(1, order))


def keep_top_p(logits: Float[Tensor, "samples vocabulary"], p: float) -> Float[Tensor, "samples vocabulary"]:
    """Returns the logits of the nucleus, and minus infinity for the others.

    The nucleus is the smallest set of likeliest tokens with total probability p or more (Holtzman et al., arXiv
    1904.09751, section 3.1); it is never empty.
    """
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probability = ordered.softmax(-1)
    reached_before = probability.cumsum(-1) - probability
    return torch.empty_like(logits).scatter(1, order, ordered.masked_fill(reached_before >= p, -torch.inf))


def keep_min_p(logits: Float[Tensor, "samples vocabulary"], p: float) -> Float[Tensor, "samples vocabulary"]:
    """Returns the logits of tokens at least p times as likely as the likeliest, and minus infinity for the others.

    Nguyen et al., arXiv 2407.01082, section 3.
    """
    return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + math.log(p), -torch.inf)


def draw(logits: Float[Tensor, "samples vocabulary"], uniform: Float[Tensor, "samples"]) -> Int[Tensor, "samples"]:
    """Returns each sample's token by inverse transform sampling: the first whose cumulative share exceeds `uniform`."""
    reached = logits.softmax(-1).cumsum(-1)
    return torch.searchsorted(reached, uniform[:, None] * reached[:, -1:], right=True)[:, 0]


def log_probabilities(
    logits: Float[Tensor, "samples vocabulary"], tokens: Int[Tensor, "samples"]
) -> Float[Tensor, "samples"]:
    """Returns the natural log-probability that the model itself gives to each sample's token."""
    return logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
