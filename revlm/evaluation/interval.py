"""Confidence intervals of means over documents."""

import math

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Returns Student's 95% interval of the mean of independent values; None for fewer than two.

    Exact for normal values. Few documents are the usual case, and there the quantile is what makes it wide.
    """
    if len(values) < 2:
        return None
    half = _quantile(len(values)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def pooled_interval(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float] | None:
    """Returns the 95% interval of `sums.sum() / counts.sum()`, a mean over the items of documents; None for one.

    Documents are drawn, not items: it is the linearized interval of a ratio (Cochran, Sampling Techniques, section
    6.3) with Student's quantile, and equals `mean_interval` of the documents' means where all have as many items.
    """
    if len(sums) < 2:
        return None
    mean = float(sums.sum() / counts.sum())
    deviation = (sums - mean * counts) / counts.mean()
    half = _quantile(len(sums)) * float(deviation.std(ddof=1)) / math.sqrt(len(sums))
    return mean - half, mean + half


def _quantile(documents: int) -> float:
    """Student's quantile for a mean over so many documents."""
    from scipy.special import stdtrit  # takes a quarter of a second, for help and for reports without an evaluation too

    return float(stdtrit(documents - 1, (1 + CONFIDENCE) / 2))
