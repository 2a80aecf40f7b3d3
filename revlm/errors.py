"""Errors that a user can act on: one sentence with the cause and the remedy, and the exit code that goes with it.

Everything else that escapes is a defect of revlm and ends with exit code 1, but for memory that runs out.
"""

import errno
import sys


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


class ElsewhereError(RevlmError):
    """Ends a process of a run on several where another one failed, which says why, with the exit code of that one."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def exit_code_of(error: BaseException) -> int:
    """The exit code that an error ends a command with, where memory ran out that of a ResourceError."""
    if isinstance(error, RevlmError):
        return error.exit_code
    return ResourceError.exit_code if is_out_of_memory(error) else RevlmError.exit_code


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch, which has a class for CUDA's and only a sentence for the CPU's, is not loaded."""
    torch = sys.modules.get("torch")
    on_cuda = getattr(torch, "OutOfMemoryError", MemoryError)
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    of_system = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return isinstance(error, MemoryError | on_cuda) or on_cpu or of_system
