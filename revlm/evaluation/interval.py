"""The confidence interval of a mean over documents."""

import math
from functools import lru_cache

import numpy as np

from revlm.evaluation.scorer import Numbers

CONFIDENCE = 0.95
_GRID = 100_001


def mean_interval(values: Numbers) -> tuple[float, float] | None:
    """Returns Student's 95% interval of the mean of independent values; None for fewer than two.

    Exact for normal values. Few documents are the usual case, and there the quantile is what makes it wide.
    """
    if len(values) < 2:
        return None
    half = student_quantile(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


@lru_cache
def student_quantile(degrees: int) -> float:
    """Returns the t within which Student's variable lies with probability 0.95.

    With t = sqrt(degrees) tan(angle) its density is proportional to cos(angle)^(degrees - 1).
    """
    angle = np.linspace(0.0, math.pi / 2, _GRID)
    density = np.cos(angle) ** (degrees - 1)
    within = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(degrees) * math.tan(float(np.interp(CONFIDENCE, within / within[-1], angle)))
