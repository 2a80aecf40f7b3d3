"""Errors that a user can act on: one sentence with the cause and the remedy, and an exit code for each class.

`explained` translates errors of the system: out of memory, a full disk, a limit of the process, a path that cannot be
used. Any other exception is a bug in revlm and ends with exit code 1.
"""

import errno
import os
import re
import sys
from collections.abc import Iterator


class RevlmError(Exception):
    """An error whose message names what is wrong, where, and what to do about it."""

    exit_code = 1


class UsageError(RevlmError):
    """Wrong use of a command, or an invalid recipe."""

    exit_code = 2


class DataError(RevlmError):
    """A corpus, a document or a token store that cannot be used."""

    exit_code = 3


class ResourceError(RevlmError):
    """More memory, or more of another resource, is needed than is available or allowed."""

    exit_code = 4


class NonFiniteError(RevlmError):
    """A loss, a gradient or a stream is not finite, or out of its range."""

    exit_code = 5


class StorageError(RevlmError):
    """A run folder or checkpoint that is missing, in use, broken or cannot be written."""

    exit_code = 6


class ReversalError(RevlmError):
    """The backward pass did not restore what the forward pass began with, so that its gradients are wrong."""

    exit_code = 7


class Interrupted(RevlmError):
    """Stopped by a signal after saving the work; the same command resumes it."""

    exit_code = 75


class RankError(RevlmError):
    """Another rank of the run has ended or does not respond; the run's state is that of its last checkpoint."""


class RemoteRankError(RevlmError):
    """Ends a rank because another one failed, with that rank's exit code; that rank prints the cause."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_LIMITS = {
    errno.EMFILE: "open files (`ulimit -n`)",
    errno.ENFILE: "open files of this machine",
    errno.EAGAIN: "processes and threads (`ulimit -u`)",
    errno.EFBIG: "the size of a file (`ulimit -f`)",
}
# How libraries written in Rust report an error of the system: they have no exception class for it.
_RUST_ERROR_NUMBER = re.compile(r"\bos error (\d+)\b|\bOs \{ code: (\d+)\b")


def exit_code_of(error: BaseException) -> int:
    """The exit code of a command that ends with this error."""
    known = error if isinstance(error, RevlmError) else explained(error)
    return RevlmError.exit_code if known is None else known.exit_code


def explained(error: BaseException) -> RevlmError | None:
    """The RevlmError that explains an error of the system; None if it is not one.

    The exception and its chain of causes are searched.
    """
    chain = list(_chain(error))
    for each in chain:
        if is_out_of_memory(each):
            return ResourceError(
                f"out of memory ({_first_line(each)}): give the command more memory, or less work at a time, such as a "
                "lower data.seq_len or model.d_model in training"
            )
    for each in chain:
        if isinstance(each, RuntimeError) and "can't start new thread" in str(each):
            return ResourceError(": ".join(shortage(errno.EAGAIN) or ()))
        number, place = _system_error(each)
        if short := shortage(number):
            kind = ResourceError if number in _LIMITS and number != errno.EFBIG else StorageError
            return kind(f"{short[0]}{f' at {place}' if place else ''}: {short[1]}")
        if number:
            at = f"{place} cannot be used" if place else "a file cannot be used"
            return StorageError(f"{at} ({os.strerror(number)}): give another path, or make it readable and writable")
    if isinstance(error, RecursionError):
        return DataError("an input file is nested too deeply: give one that revlm wrote, or a flatter one")
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return UsageError("a path contains a NUL: give one without it")
    return None


def shortage(number: int | None) -> tuple[str, str] | None:
    """What a system error says there is too little of, and the remedy; None where it says anything else."""
    if number in {errno.ENOSPC, errno.EDQUOT}:
        return "disk full", "free space there and run the same command again"
    if number == errno.ENOMEM:
        return "out of memory", "give the command more memory"
    if number in _LIMITS:
        return f"the limit of {_LIMITS[number]} is reached", "raise it and run the same command again"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; does not import torch, which has a class for this on CUDA but only a message on CPUs."""
    torch = sys.modules.get("torch")
    on_cuda = getattr(torch, "OutOfMemoryError", MemoryError)
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    in_loading = isinstance(error, ImportError) and ("failed to map" in str(error) or "cannot allocate" in str(error))
    of_system = _system_error(error)[0] == errno.ENOMEM
    return isinstance(error, MemoryError | on_cuda) or on_cpu or in_loading or of_system


def _system_error(error: BaseException) -> tuple[int | None, str | None]:
    """The number of a system error and the path that it concerns, where known."""
    if isinstance(error, OSError):
        name = error.filename
        return error.errno, None if name is None else os.fsdecode(name) if isinstance(name, bytes) else str(name)
    if isinstance(error, RevlmError) or (match := _RUST_ERROR_NUMBER.search(str(error))) is None:
        return None, None
    return int(match[1] or match[2]), None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "no message")
