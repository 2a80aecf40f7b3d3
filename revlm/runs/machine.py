"""The device of a run and its memory; on the CPU, within the limit of the process's control group."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from revlm.errors import UsageError

if TYPE_CHECKING:
    import torch

_MEMBERSHIP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


class MemoryLimit(NamedTuple):
    """The bytes available to a run. `owner` says what sets the limit, as the beginning of "this machine has 8 GB"."""

    size_bytes: int
    owner: str


def choose_device(word: str, name: str = "train.device") -> "torch.device":
    """Returns the device that `word` means: auto (CUDA if available), cpu, cuda or cuda:N.

    Raises:
        UsageError: there is no such device; `name` is the key or option that gave the word.
    """
    import torch

    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if word not in ("cpu", "cuda") and not (word.startswith("cuda:") and word[5:].isdigit()):
        raise UsageError(f"{name} is {word!r}: give auto, cpu, cuda or cuda:N")
    if word.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"{name} is {word} and PyTorch finds no CUDA device: set it to auto or cpu")
    return torch.device(word)


def memory_limit(device: "torch.device | str" = "cpu") -> MemoryLimit:
    """The memory available to this process: the GPU's, or the least of physical memory and control groups' limits."""
    if str(device).startswith("cuda"):
        import torch

        return MemoryLimit(torch.cuda.get_device_properties(device).total_memory, "this GPU has")
    import psutil

    machine = psutil.virtual_memory().total
    allowed = min(control_group_limits(_MEMBERSHIP, _MOUNT), default=machine)
    if allowed < machine:
        return MemoryLimit(allowed, "the control group of this process allows")
    return MemoryLimit(machine, "this machine has")


def memory_limit_bytes(device: "torch.device | str" = "cpu") -> int:
    """The bytes of `memory_limit`."""
    return memory_limit(device).size_bytes


def control_group_limits(membership: Path, mount: Path) -> list[int]:
    """The memory limits in bytes of the process's control group and of the groups around it, if any.

    Reads versions 1 and 2 (cgroups(7)). A group that is not visible in a container is skipped: the visible ones
    start at the container's own.
    """
    if not membership.is_file():
        return []
    limits = []
    for line in membership.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            root, name = mount, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = mount / "memory", "memory.limit_in_bytes"
        else:
            continue
        inner = root / group.lstrip("/")
        for folder in (inner, *inner.parents):
            limits += _limit(folder / name)
            if folder == root:
                break
    return limits


def _limit(path: Path) -> list[int]:
    try:
        text = path.read_text().strip()
    except OSError:
        return []
    return [int(text)] if text.isdigit() else []  # `max` is no limit
