"""Errors that a user can act on: one sentence with the cause and the remedy, and the exit code that goes with it.

Everything else that escapes is a defect of revlm and ends with exit code 1.
"""


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
