"""`revlm generate --interactive`: the user and the model write a text in turns."""

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from revlm.cli.terminal.prompt import Prompt, decode
from revlm.cli.terminal.samples import Sample, draw_samples
from revlm.cli.terminal.streams import print_content
from revlm.errors import DataError, UsageError

if TYPE_CHECKING:
    from revlm.corpus import Tokenizer
    from revlm.generation import Writing

_HOW = (
    "Each line is continued where it ends; an empty one lets the model write on; a \\ at its end stands for a line "
    "break.\nCtrl-C ends a continuation, Ctrl-D the text."
)
_MARK = "> "


def write_in_turns(
    writing: "Writing", tokenizer: "Tokenizer", beginning: Prompt | None, stop: Sequence[str], max_tokens: int
) -> None:
    """Continues the beginning, where there is one, then line after line of standard input, with one cache.

    A line is appended as it is, without its end: a new word needs the space before it. What the model drew stays before
    the next line, a stop text that was not shown among it. Of a long line Ctrl-C leaves out what is not taken in yet.

    Raises:
        DataError: a line that does not come from a terminal is no UTF-8.
        UsageError: standard input is closed.
    """
    lines = Lines()
    if lines.are_typed:
        typer.echo(_HOW, err=True)
    if beginning is not None:
        from revlm.cli.terminal.prefill_progress import PrefillProgress

        with PrefillProgress() as progress:
            writing.take(tokenizer.encode(beginning.text), progress.show)
        if beginning.is_printed:
            print_content(beginning.text)
        with NotedInterrupt() as interrupt:
            _continue(writing, tokenizer, stop, max_tokens, interrupt)
    while (line := lines.next()) is not None:
        try:
            tokens = tokenizer.encode(line)
        except DataError as error:
            if not lines.are_typed:
                raise
            typer.echo(f"this line was left out: {error}", err=True)
            continue
        with NotedInterrupt() as interrupt:
            taken = writing.take(tokens, is_enough=lambda: interrupt.came)
            if taken < len(tokens):
                typer.echo(
                    f"Ctrl-C: of this line's {len(tokens):,} tokens the first {taken:,} were appended, the rest was "
                    "left out",
                    err=True,
                )
            _continue(writing, tokenizer, stop, max_tokens, interrupt)


def _continue(
    writing: "Writing", tokenizer: "Tokenizer", stop: Sequence[str], max_tokens: int, interrupt: "NotedInterrupt"
) -> None:
    sample = Sample(tokenizer, stop)
    draw_samples(writing, [sample], max_tokens, print_content, lambda: interrupt.came)
    typer.echo()


class NotedInterrupt:
    """While it is entered, Ctrl-C is only noted in `came`: nothing is left half done."""

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> Self:
        self._before: Any = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True


class Lines:
    """The lines of standard input; in a terminal they are asked for, and can be edited.

    Attributes:
        are_typed: whether standard input is a terminal.
    """

    def __init__(self) -> None:
        """Raises UsageError where standard input is closed."""
        if sys.stdin is None:  # a shell's `<&-`
            raise UsageError("standard input is closed: --interactive reads its lines there, so leave it open")
        self.are_typed = sys.stdin.isatty()
        self._number = 0
        if self.are_typed:
            with suppress(ImportError):  # some builds of Python have none: lines are then edited as terminals do it
                import readline  # noqa: F401

    def next(self) -> str | None:
        """Returns the next line without its end, together with those after it that a backslash joins; None at the end.

        Raises:
            DataError: a line that is not typed is no UTF-8.
        """
        line = self._line()
        while line is not None and line.endswith("\\"):
            line = line[:-1] + "\n" + (self._line() or "")
        return line

    def _line(self) -> str | None:
        if self.are_typed:
            return self._typed()
        self._number += 1
        content = sys.stdin.buffer.readline()
        line = decode(content, f"line {self._number} of standard input")
        return line.removesuffix("\n").removesuffix("\r") if content else None

    def _typed(self) -> str | None:
        """Returns a line that is typed; Ctrl-C begins it again."""
        while True:
            try:
                return self._asked()
            except EOFError:
                typer.echo(err=True)
                return None
            except KeyboardInterrupt:
                typer.echo(err=True)

    def _asked(self) -> str:
        if sys.stdout.isatty():
            return input(_MARK)
        typer.echo(_MARK, nl=False, err=True)  # `input` would ask on standard output, among the text
        return input()
