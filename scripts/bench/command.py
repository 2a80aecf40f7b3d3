"""What the command lines of both benchmarks share."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from revlm.errors import RevlmError, UsageError

PRECISIONS = ("fp32", "bf16")


def run(function: Callable[..., Any]) -> None:
    """Runs a function as a command line; an error of a user's is one sentence and its exit code."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(function)
    try:
        app()
    except RevlmError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def words(text: str, known: Sequence[str], option: str) -> tuple[str, ...]:
    """Returns the words of a list with commas, each once.

    Raises:
        UsageError: naming the option and a word that is not known.
    """
    return tuple(dict.fromkeys(pattern(text, known, option)))


def pattern(text: str, known: Sequence[str], option: str) -> tuple[str, ...]:
    """Returns the words of a list with commas, as often as they stand there; raises what `words` raises."""
    chosen = tuple(text.split(","))
    for word in chosen:
        if word not in known:
            raise UsageError(f"{option} has {word!r}: choose from {','.join(known)}")
    return chosen


def numbers(text: str, option: str) -> tuple[int, ...]:
    """Returns the numbers of a list with commas.

    Raises:
        UsageError: naming the option and a word that is not a number from 1 up.
    """
    chosen = tuple(dict.fromkeys(text.split(",")))
    for word in chosen:
        if not word.isdecimal() or int(word) < 1:
            raise UsageError(f"{option} has {word!r}: give numbers from 1 up with commas between them")
    return tuple(int(word) for word in chosen)
