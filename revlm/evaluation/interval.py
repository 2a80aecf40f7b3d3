"""The confidence interval of a mean over documents."""

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
    from scipy.special import stdtrit  # takes a quarter of a second, for help and for reports without an evaluation too

    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    half = quantile * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half
