"""`revlm generate --interactive`: the user and the model take turns writing a text."""

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from revlm.cli.terminal.prompt import Prompt, decode
from revlm.cli.terminal.streams import print_content
from revlm.errors import DataError, UsageError

if TYPE_CHECKING:
    from revlm.corpus import Tokenizer
    from revlm.generation import TextGenerator

_HOW = (
    "The model continues each line where it ends; an empty line lets it write more; a \\ at the end of a line adds a "
    "line break.\nCtrl-C ends a continuation, Ctrl-D ends the text."
)
_PROMPT = "> "


def write_in_turns(
    generator: "TextGenerator", tokenizer: "Tokenizer", beginning: Prompt | None, stop: Sequence[str], max_tokens: int
) -> None:
    """Continues `beginning`, if given, and then each line of standard input, with one cache.

    A line is appended as it is, without its line end: a new word needs a space before it. Everything that the model
    sampled stays in the text, including a stop text that was not shown. Ctrl-C during a long line drops the tokens that
    are not processed yet.

    Raises:
        DataError: a line that does not come from a terminal is not UTF-8.
        UsageError: standard input is closed.
    """
    lines = Lines()
    if lines.are_typed:
        typer.echo(_HOW, err=True)
    if beginning is not None:
        from revlm.cli.terminal.progress import PrefillProgress

        with PrefillProgress() as progress:
            generator.append(beginning.tokens(tokenizer), progress.show)
        if beginning.is_printed:
            print_content(beginning.text)
        with RecordedInterrupt() as interrupt:
            _continue(generator, tokenizer, stop, max_tokens, interrupt)
    while (line := lines.next()) is not None:
        try:
            tokens = tokenizer.encode(line)
        except DataError as error:
            if not lines.are_typed:
                raise
            typer.echo(f"ignored this line: {error}", err=True)
            continue
        with RecordedInterrupt() as interrupt:
            appended = generator.append(tokens, is_enough=lambda: interrupt.came)
            if appended < len(tokens):
                typer.echo(
                    f"Ctrl-C: the first {appended:,} of this line's {len(tokens):,} tokens were appended, the rest was "
                    "dropped",
                    err=True,
                )
            _continue(generator, tokenizer, stop, max_tokens, interrupt)


def _continue(
    generator: "TextGenerator",
    tokenizer: "Tokenizer",
    stop: Sequence[str],
    max_tokens: int,
    interrupt: "RecordedInterrupt",
) -> None:
    from revlm.generation import Sample, draw_samples

    sample = Sample(tokenizer, stop)
    draw_samples(generator, [sample], max_tokens, print_content, lambda: interrupt.came)
    typer.echo()


class RecordedInterrupt:
    """While entered, records Ctrl-C in `came` instead of interrupting, so that nothing is left half done."""

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> Self:
        self._before: Any = signal.signal(signal.SIGINT, self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.came = True


class Lines:
    """The lines of standard input; in a terminal, with a prompt and line editing.

    Attributes:
        are_typed: whether standard input is a terminal.
    """

    def __init__(self) -> None:
        """Raises UsageError if standard input is closed."""
        if sys.stdin is None:  # a shell's `<&-`
            raise UsageError("standard input is closed: --interactive reads lines from it, so leave it open")
        self.are_typed = sys.stdin.isatty()
        self._number = 0
        if self.are_typed:
            with suppress(ImportError):  # some builds of Python lack it: the terminal then does the editing
                import readline  # noqa: F401

    def next(self) -> str | None:
        """Returns the next line without its line end, joined with the next ones after a backslash; None at the end.

        Raises:
            DataError: a line that is not typed is not UTF-8.
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
        """Returns a typed line; Ctrl-C discards it and asks again."""
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
            return input(_PROMPT)
        typer.echo(_PROMPT, nl=False, err=True)  # `input` would print the prompt on standard output, amid the text
        return input()
