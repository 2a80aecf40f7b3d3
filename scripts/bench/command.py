"""Parts common to the benchmarks' command lines."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from revlm.errors import RevlmError, UsageError
from revlm.libraries import set_library_defaults


def run(function: Callable[..., Any]) -> None:
    """Runs a function as a command line; a RevlmError is printed as one sentence and sets the exit code.

    The script starts again if PyTorch's libraries were loaded without the settings of the command `revlm`.
    """
    environment = dict(os.environ)
    set_library_defaults(environment)
    if environment != os.environ:
        os.execve(sys.executable, sys.orig_argv, environment)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(function)
    try:
        app()
    except RevlmError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def words(text: str, known: Sequence[str], option: str) -> tuple[str, ...]:
    """Returns the words of a comma-separated list, each once.

    Raises:
        UsageError: a word is unknown; the message names it and the option.
    """
    return tuple(dict.fromkeys(pattern(text, known, option)))


def pattern(text: str, known: Sequence[str], option: str) -> tuple[str, ...]:
    """Returns the words of a comma-separated list, including repetitions; raises as `words`."""
    chosen = tuple(text.split(","))
    for word in chosen:
        if word not in known:
            raise UsageError(f"{option} has {word!r}: choose from {','.join(known)}")
    return chosen


def numbers(text: str, option: str) -> tuple[int, ...]:
    """Returns the numbers of a comma-separated list.

    Raises:
        UsageError: a word is not a number from 1 up; the message names it and the option.
    """
    chosen = tuple(dict.fromkeys(text.split(",")))
    for word in chosen:
        if not word.isdecimal() or int(word) < 1:
            raise UsageError(f"{option} has {word!r}: give comma-separated numbers from 1 up")
    return tuple(int(word) for word in chosen)
