"""Confidence intervals of means over documents."""

import math

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Returns Student's 95% interval of the mean of independent values; None for fewer than two.

    It is exact for normally distributed values. There are usually few documents, for which the quantile is large.
    """
    if len(values) < 2:
        return None
    half = _quantile(len(values)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def pooled_interval(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float] | None:
    """Returns the 95% interval of `sums.sum() / counts.sum()`, a mean over the items of documents; None for one.

    The documents are the sample, not the items: this is the linearized interval of a ratio (Cochran, Sampling
    Techniques, section 6.3) with Student's quantile. It equals `mean_interval` of the documents' means if all documents
    have the same number of items.
    """
    if len(sums) < 2:
        return None
    mean = float(sums.sum() / counts.sum())
    deviation = (sums - mean * counts) / counts.mean()
    half = _quantile(len(sums)) * float(deviation.std(ddof=1)) / math.sqrt(len(sums))
    return mean - half, mean + half


def _quantile(documents: int) -> float:
    """Student's quantile for a mean over this number of documents."""
    from scipy.special import stdtrit  # takes 0.25 s, which `--help` would take too

    return float(stdtrit(documents - 1, (1 + CONFIDENCE) / 2))
