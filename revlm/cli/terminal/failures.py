"""What a user reads when a command fails, and the exit code that a script sees."""

from typing import NamedTuple

import typer

from revlm.errors import RemoteRankError, RevlmError, UsageError, explained

UNEXPECTED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
READER_GONE = 141  # 128 + SIGPIPE


class Failure(NamedTuple):
    """One sentence for standard error, empty where there is nothing to say, and an exit code."""

    sentence: str
    exit_code: int


def failure_of(error: BaseException) -> Failure:
    """The sentence and exit code for whatever ended a command."""
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
            f"the output's encoding ({error.encoding}) has no {error.object[error.start]!a}: set "
            "PYTHONIOENCODING=utf-8 and run the same command again",
            UsageError.exit_code,
        )
    if isinstance(error, typer.TyperException):
        return Failure(_usage_sentence(error), UsageError.exit_code)
    if (known := explained(error)) is not None:
        return Failure(str(known), known.exit_code)
    said = next(iter(str(error).strip().splitlines()), "no message")
    return Failure(
        f"unexpected {type(error).__name__} ({said}): run again with --debug for the traceback "
        "and report it with what `revlm environment` says",
        UNEXPECTED,
    )


def _usage_sentence(error: typer.TyperException) -> str:
    """The parser's message, and whose --help shows the right use."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "revlm"
    return f"{error.format_message().strip().rstrip('.')} (see `{command} --help`)"
