"""Settings of PyTorch's libraries, which read them from the environment when they are loaded or first used.

`revlm` and the benchmarks set them before they import PyTorch. Variables that the user has set stay.
"""

import sys
from collections.abc import MutableMapping


def set_library_defaults(environment: MutableMapping[str, str]) -> None:
    """Adds to an environment what it leaves to the libraries' own defaults."""
    _limit_thread_spinning(environment)
    _limit_kernel_caches(environment)
    _enable_expandable_segments(environment)


def _limit_thread_spinning(environment: MutableMapping[str, str]) -> None:
    """Limits how long PyTorch's threads spin while they wait for work.

    A spinning thread keeps its core from whatever else would run there: on a busy machine a step takes up to 20 times
    as long with libgomp's default of a millisecond or more.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & environment.keys():
        environment["GOMP_SPINCOUNT"] = "1000"


def _limit_kernel_caches(environment: MutableMapping[str, str]) -> None:
    """Limits how many kernels oneDNN keeps.

    oneDNN, which multiplies bf16 matrices on CPUs, builds a kernel for each shape and keeps 1,024 of them; PyTorch
    keeps 1,024 more. Where each example has a length of its own, that is 11 MB more after every step, up to a gigabyte.
    A step uses about twenty.
    """
    for capacity in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        environment.setdefault(capacity, "64")


def _enable_expandable_segments(environment: MutableMapping[str, str]) -> None:
    """Turns on expandable segments in PyTorch's CUDA allocator.

    Examples of varying lengths fragment segments of fixed size: no longer tensor fits into the gaps.
    """
    if sys.platform == "linux" and not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & environment.keys():
        environment["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
