"""Measures the machine's rates of large matrix products and large copies."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch

from bench.precisions import DTYPES

# Three float32 matrices of this size exceed a core's caches, and their product takes long.
_MATRIX = 2048
_COPY_BYTES = 2**28
_TRIES = 5


class Rates(NamedTuple):
    """FLOPs per second of matrix products by precision, and bytes per second read and written by a copy."""

    product_flops: dict[str, float]
    copy_bytes: float


def measure_rates(precisions: Sequence[str], *, matrix: int = _MATRIX, copy_bytes: int = _COPY_BYTES) -> Rates:
    """Returns the best of several tries, since other load can only slow them down."""
    products = {}
    for precision in precisions:
        left, right, out = (torch.randn(matrix, matrix).to(DTYPES[precision]) for _ in range(3))
        products[precision] = 2 * matrix**3 / min(timed(partial(torch.mm, left, right, out=out), _TRIES))
    source = torch.ones(copy_bytes // 4)
    target = torch.empty_like(source)
    return Rates(products, 2 * copy_bytes / min(timed(partial(target.copy_, source), _TRIES)))


def timed(work: Callable[[], object], repeats: int, wait: Callable[[], object] = lambda: None) -> list[float]:
    """Returns the seconds of each repetition, after one warm-up; `wait` waits for queued work."""
    work()
    seconds = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        work()
        wait()
        seconds.append(time.perf_counter() - start)
    return seconds
