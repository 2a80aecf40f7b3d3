"""Errors that a user can act on: one sentence with the cause and the remedy, and the exit code that goes with it.

`explained` is the boundary for what the machine refuses: memory, a full disk, a limit of the process, a path that
cannot be used. Everything else that escapes is a defect of revlm and ends with exit code 1.
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
    """Wrong use of a command, or a recipe that does not hold together."""

    exit_code = 2


class DataError(RevlmError):
    """A corpus, a document or a token store that cannot be used."""

    exit_code = 3


class ResourceError(RevlmError):
    """More memory or another resource would be needed than there is or than is allowed."""

    exit_code = 4


class NonFiniteError(RevlmError):
    """A loss, a gradient or a stream is no longer a finite number within its range."""

    exit_code = 5


class StorageError(RevlmError):
    """A run folder or checkpoint that is missing, in use, broken or cannot be written."""

    exit_code = 6


class Interrupted(RevlmError):
    """Stopped by a signal after a good checkpoint; the same command again goes on."""

    exit_code = 75


class RankError(RevlmError):
    """Another process of a run on several has ended, or does not answer; its state is that of its last checkpoint."""


class RemoteRankError(RevlmError):
    """Ends a process of a run on several where another one failed, which says why, with the exit code of that one."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_LIMITS = {
    errno.EMFILE: "open files (`ulimit -n`)",
    errno.ENFILE: "open files of this machine",
    errno.EAGAIN: "processes and threads (`ulimit -u`)",
}
# What Rust's libraries say of an error of the system, which have no class for it.
_RUSTS_NUMBER = re.compile(r"\bos error (\d+)\b|\bOs \{ code: (\d+)\b")


def exit_code_of(error: BaseException) -> int:
    """The exit code that an error ends a command with."""
    known = error if isinstance(error, RevlmError) else explained(error)
    return RevlmError.exit_code if known is None else known.exit_code


def explained(error: BaseException) -> RevlmError | None:
    """The error that says what the machine refused; None where it is not the machine's doing.

    The exception itself counts, and those that it was raised from.
    """
    chain = list(_chain(error))
    for each in chain:
        if is_out_of_memory(each):
            return ResourceError(
                f"out of memory ({_first_line(each)}): allow the command more memory, or give it less at a time, as by "
                "a lower data.seq_len or model.d_model for training"
            )
    for each in chain:
        if isinstance(each, RuntimeError) and "can't start new thread" in str(each):
            return _beyond_a_limit(errno.EAGAIN)
        number, place = _system_error(each)
        if number in _LIMITS:
            return _beyond_a_limit(number)
        if number in {errno.ENOSPC, errno.EDQUOT}:
            at = f" at {place}" if place else ""
            return StorageError(f"disk full{at}: free space and run the same command again")
        if number == errno.EFBIG:
            at = f"{place} " if place else "a file "
            return StorageError(f"{at}would be larger than this process may write: raise the limit (`ulimit -f`)")
        if number:
            at = f"{place} cannot be used" if place else "a file cannot be used"
            return StorageError(f"{at} ({os.strerror(number)}): give another path, or make it readable and writable")
    if isinstance(error, RecursionError):
        return DataError("a file that was read is nested too deeply: give one that revlm wrote, or a flatter one")
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return UsageError("a path holds a NUL: give one without it")
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch, which has a class for CUDA's and only a sentence for the CPU's, is not loaded."""
    torch = sys.modules.get("torch")
    on_cuda = getattr(torch, "OutOfMemoryError", MemoryError)
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    in_loading = isinstance(error, ImportError) and ("failed to map" in str(error) or "cannot allocate" in str(error))
    of_system = _system_error(error)[0] == errno.ENOMEM
    return isinstance(error, MemoryError | on_cuda) or on_cpu or in_loading or of_system


def _beyond_a_limit(number: int) -> ResourceError:
    return ResourceError(f"the limit of {_LIMITS[number]} is reached: raise it and run the same command again")


def _system_error(error: BaseException) -> tuple[int | None, str | None]:
    """The number of the system's error and the path that it is about, where they are known."""
    if isinstance(error, OSError):
        name = error.filename
        return error.errno, None if name is None else os.fsdecode(name) if isinstance(name, bytes) else str(name)
    if isinstance(error, RevlmError) or (match := _RUSTS_NUMBER.search(str(error))) is None:
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
