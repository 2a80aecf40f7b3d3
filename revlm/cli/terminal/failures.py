"""The message and the exit code of a command that fails."""

from typing import NamedTuple

import typer

from revlm.errors import RemoteRankError, RevlmError, UsageError, explained

UNEXPECTED = 1
INTERRUPTED = 130  # 128 + SIGINT, the convention of shells
READER_GONE = 141  # 128 + SIGPIPE


class Failure(NamedTuple):
    """One sentence for standard error, empty if nothing is to be printed, and an exit code."""

    sentence: str
    exit_code: int


def failure_of(error: BaseException) -> Failure:
    """The sentence and the exit code for the exception that ended a command."""
    if isinstance(error, RemoteRankError):
        return Failure("", error.exit_code)
    if isinstance(error, RevlmError):
        return Failure(str(error), error.exit_code)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Failure("interrupted", INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        return Failure("", READER_GONE)
    if isinstance(error, UnicodeEncodeError) and error.encoding != "utf-8":
        return Failure(
            f"the output's encoding ({error.encoding}) cannot encode {error.object[error.start]!a}: set "
            "PYTHONIOENCODING=utf-8 and run the same command again",
            UsageError.exit_code,
        )
    if isinstance(error, typer.TyperException):
        return Failure(_usage_sentence(error), UsageError.exit_code)
    if (known := explained(error)) is not None:
        return Failure(str(known), known.exit_code)
    message = next(iter(str(error).strip().splitlines()), "no message")
    return Failure(
        f"unexpected {type(error).__name__} ({message}): run again with --debug for the traceback "
        "and report it with the output of `revlm environment`",
        UNEXPECTED,
    )


def _usage_sentence(error: typer.TyperException) -> str:
    """The parser's message, and the command whose --help explains the usage."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "revlm"
    return f"{error.format_message().strip().rstrip('.')} (see `{command} --help`)"
