"""The stages of software pipelining of a kernel, chosen by measurement, once for a card and a version of the kernel.

Stages change when a kernel loads, not the order in which it adds, so a choice never changes a result. (The number of
warps may: it decides which thread adds what.) Choices lie in Triton's cache folder; without one, the kernel runs with
the stages that it states itself.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
import triton
from triton.runtime.errors import OutOfResources

from revlm.storage import replace_file

STAGES = (1, 2, 3, 4)
_UNMEASURED, _MEASURED = 3, 10  # runs of each choice
_is_tuning: ContextVar[bool] = ContextVar("is_tuning", default=False)

Measure = Callable[[Any], float]
"""Returns the seconds of a `Launch`; raises OutOfResources where the card lacks the shared memory or the registers."""


@contextmanager
def tuning() -> Iterator[None]:
    """Measures, inside the `with` block, each kernel whose stages are not chosen yet, at its first launch there."""
    token = _is_tuning.set(True)
    try:
        yield
    finally:
        _is_tuning.reset(token)


def tuned(launch: Any, measure: Measure | None = None) -> dict[str, int]:
    """Returns the options of a `Launch` with the chosen stages; its own outside of CUDA and where none are chosen."""
    device = next(each.device for each in launch.arguments.values() if isinstance(each, torch.Tensor))
    if measure is None and (device.type != "cuda" or triton.knobs.runtime.interpret):
        return launch.options
    file = _file(launch.kernel, device)
    chosen, key = _choices(file), _key(launch)
    if key not in chosen and _is_tuning.get():
        chosen[key] = _fastest(launch, measure or _seconds)
        _write(file, chosen)
    return {**launch.options, "num_stages": chosen[key]} if key in chosen else launch.options


def _key(launch: Any) -> str:
    """Returns the constants and the dtypes for which a kernel is compiled, but for its options."""
    constants = [f"{name}={value}" for name, value in launch.arguments.items() if name.isupper()]
    dtypes = [f"{name}:{each.dtype}" for name, each in launch.arguments.items() if isinstance(each, torch.Tensor)]
    return " ".join([*constants, *dtypes])


def _fastest(launch: Any, measure: Measure) -> int:
    """Returns the stages with the least time; those of the launch itself where no choice fits on the card."""
    seconds = {}
    for stages in STAGES:
        # On copies: a kernel may add to its results, or write them over its inputs.
        copies = {name: x.clone() if isinstance(x, torch.Tensor) else x for name, x in launch.arguments.items()}
        try:
            seconds[stages] = measure(
                launch._replace(arguments=copies, options={**launch.options, "num_stages": stages}, is_tuned=False)
            )
        except OutOfResources:
            continue
    return min(seconds, key=lambda stages: seconds[stages]) if seconds else int(launch.options["num_stages"])


def _seconds(launch: Any) -> float:
    for _ in range(_UNMEASURED):
        launch.run()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(_MEASURED):
        launch.run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / _MEASURED


@functools.cache
def _file(kernel: Any, device: torch.device) -> Path:
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    about = [card, torch.__version__, triton.__version__, kernel.cache_key, STAGES]
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    return Path(triton.knobs.cache.dir) / f"revlm-stages-{kernel.__name__.lstrip('_')}-{digest}.json"


@functools.cache
def _choices(file: Path) -> dict[str, int]:
    """Returns the choices in a file; none where there is no file, or its content is not what was written."""
    try:
        read = json.loads(file.read_bytes())
        return {key: stages for key, stages in read.items() if stages in STAGES}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write(file: Path, chosen: dict[str, int]) -> None:
    """Keeps the choices for later processes, where the folder can be written; the ranks of a run write one by one."""
    try:
        os.makedirs(file.parent, exist_ok=True)
        replace_file(file, json.dumps(chosen, indent=1).encode())
    except OSError:
        return  # they serve this process alone, as kernels do that Triton cannot keep
