"""The device of a run, and how much memory it has: on the CPU within the limit of the process's control group."""

from pathlib import Path
from typing import TYPE_CHECKING

from revlm.errors import UsageError

if TYPE_CHECKING:
    import torch

_MEMBERSHIP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def choose_device(word: str, name: str = "train.device") -> "torch.device":
    """Returns the device that auto (CUDA where there is one), cpu, cuda or cuda:N stands for.

    Raises:
        UsageError: there is no such device; `name` is where the word was given.
    """
    import torch

    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if word not in ("cpu", "cuda") and not (word.startswith("cuda:") and word[5:].isdigit()):
        raise UsageError(f"{name} is {word!r}: give auto, cpu, cuda or cuda:N")
    if word.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"{name} is {word} and PyTorch finds no CUDA device: set it to auto or cpu")
    return torch.device(word)


def memory_limit_bytes(device: "torch.device | str" = "cpu") -> int:
    """The bytes that this process can have: the GPU's, or the least of physical memory and its limits."""
    if str(device).startswith("cuda"):
        import torch

        return torch.cuda.get_device_properties(device).total_memory
    import psutil

    return min([psutil.virtual_memory().total, *control_group_limits()])


def control_group_limits(membership: Path = _MEMBERSHIP, mount: Path = _MOUNT) -> list[int]:
    """The memory limits in bytes of the process's control group and of the groups around it, if any.

    Reads versions 1 and 2 (cgroups(7)). A group that a container does not show is skipped: the groups that it
    does show begin at the container's own.
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
