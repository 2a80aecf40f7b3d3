"""The machine and the software versions of a run, for environment.json and bug reports."""

import os
import platform
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from revlm.launch import usable_cores
from revlm.runs.machine import memory_limit_bytes

if TYPE_CHECKING:
    import torch

_PACKAGES = (
    "torch",
    "triton",
    "numpy",
    "datasets",
    "pyarrow",
    "sentencepiece",
    "safetensors",
    "pydantic",
    "typer",
    "rich",
)


def describe_environment(device: "torch.device | str | None" = None) -> dict[str, Any]:
    """Versions, device, cores, threads and memory in bytes; `device` is the one in use, else CUDA or the CPU."""
    import psutil
    import torch

    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return {
        "revlm": _version("revlm"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "device": str(chosen),
        "device_name": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else _processor_name(),
        "device_memory_bytes": memory_limit_bytes(chosen),
        "cuda": torch.version.cuda,
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_limit_bytes": memory_limit_bytes("cpu"),
    }


@cache
def _version(package: str) -> str | None:
    """The version of an installed package: parsing its metadata takes milliseconds."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor_name() -> str:
    """The processor's model name where Linux reports it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
