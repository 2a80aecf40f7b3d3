"""Filters everything that goes to standard output and standard error.

During a command, `guarded_streams` wraps both streams, so that `print`, warnings, tracebacks and libraries all pass
through it:

- Control characters are replaced by U+FFFD. File names, titles, recipe keys, server headers and exception messages are
  not trusted: an escape sequence in them could rewrite the screen or the clipboard.
- A message that cannot be printed is dropped: a closed terminal, a full disk or a closed pipe never ends the work.
- A result that cannot be printed is an error: BrokenPipeError for a closed pipe, else StorageError.

`Terminal` styles its output with escape sequences of its own; the text in it is filtered as well.
"""

import codecs
import io
import json
import logging
import os
import re
import select
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from revlm.errors import StorageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

# C0 except for newline and tab, DEL, C1, lone surrogates, and bidirectional overrides, which can make a name look like
# another one.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with every control character replaced by U+FFFD; newlines and tabs stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def print_json(value: Any, indent: int | None = None) -> None:
    """Prints a value as JSON on standard output, with control characters escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    print(_CONTROL.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text))


def print_content(content: str | bytes) -> None:
    """Prints text of a model or a document at once: unchanged to a file or a pipe, filtered on a terminal."""
    stream = sys.stdout
    if isinstance(content, str):
        content = content.encode(stream.encoding, "strict" if stream.encoding != "utf-8" else "replace")
    if isinstance(stream, _Stream) and not stream.isatty():
        stream.styled.write(content)
    else:
        stream.flush()
        stream.buffer.write(content)
        stream.flush()


def print_message(text: str) -> None:
    """Prints a message on standard error."""
    print(text, file=sys.stderr, flush=True)


def print_outcome(text: str) -> None:
    """Prints the result of finished work; failing to print it is not an error, since the work is done."""
    with suppress(BrokenPipeError, StorageError):
        print(text, flush=True)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Wraps standard output and standard error for the block, as the module's docstring describes."""
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__, warnings.formatwarning
    sys.stdout = sys.__stdout__ = _guarded(sys.stdout, must_arrive=True)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _guarded(sys.stderr, must_arrive=False)  # type: ignore[misc]
    warnings.formatwarning = _one_line
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # silences its messages about its font cache
    try:
        yield
    finally:
        with suppress(OSError, StorageError):  # a closed pipe was reported already
            sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__, warnings.formatwarning = before  # type: ignore[misc]


class _Outlet(io.BufferedIOBase):
    """Filters bytes on their way to a standard stream; `deliver` writes bytes that are already filtered."""

    def __init__(self, target: BinaryIO, encoding: str, must_arrive: bool) -> None:
        self._target, self._encoding, self._must_arrive = target, encoding, must_arrive
        self._characters = codecs.getincrementaldecoder(encoding)(errors="replace")

    def write(self, content: "Buffer") -> int:
        text = printable(self._characters.decode(bytes(content)))
        self.deliver(text.encode(self._encoding, errors="replace"))
        return len(memoryview(content).cast("B"))

    def deliver(self, content: bytes) -> None:
        left = memoryview(content)
        try:
            while left:
                written = self._target.write(left)
                if written is None:  # another program made the terminal non-blocking, and its buffer is full
                    select.select([], [self._target], [])
                left = left[written or 0 :]
        except BrokenPipeError:
            if self._must_arrive:
                raise
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            if self._must_arrive:
                why = getattr(error, "strerror", None) or str(error)
                raise StorageError(
                    f"standard output cannot be written ({why}): free space there or redirect it elsewhere, and run "
                    "the same command again"
                ) from error

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return self._target.isatty()
        return False

    def fileno(self) -> int:
        return self._target.fileno()


class _Stream(io.TextIOWrapper):
    """A guarded text stream; `styled` accepts text that contains the writer's own escape sequences."""

    def __init__(self, outlet: _Outlet, encoding: str, errors: str, line_buffering: bool) -> None:
        buffer: Any = outlet
        super().__init__(buffer, encoding=encoding, errors=errors, newline="\n", line_buffering=line_buffering)
        self.styled = _Styled(self, outlet)


class _Styled(io.TextIOBase):
    def __init__(self, stream: _Stream, outlet: _Outlet) -> None:
        self._stream, self._outlet = stream, outlet

    def write(self, content: str | bytes) -> int:
        self._stream.flush()  # keeps the order of what was printed before
        encoded = (
            content.encode(self._stream.encoding, self._stream.errors or "strict")
            if isinstance(content, str)
            else content
        )
        self._outlet.deliver(encoded)
        return len(content)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


def styled(stream: TextIO) -> TextIO:
    """The stream for a console that filters text itself and adds escape sequences."""
    return getattr(stream, "styled", stream)


def _guarded(stream: TextIO | None, must_arrive: bool) -> _Stream:
    if stream is None:  # a shell's `>&-`
        nowhere = open(os.devnull, "wb", buffering=0)  # noqa: SIM115 (open for as long as the stream)
        outlet, encoding, errors = _Outlet(nowhere, "utf-8", must_arrive), "utf-8", "replace"
    else:
        with suppress(OSError, ValueError):
            stream.flush()
        buffer: Any = stream.buffer
        encoding = codecs.lookup(stream.encoding).name
        outlet = _Outlet(getattr(buffer, "raw", buffer), encoding, must_arrive)
        # UTF-8 cannot encode lone surrogates, which stand for bytes of a file name that are not UTF-8.
        errors = "replace" if encoding == "utf-8" else stream.errors or "strict"
    return _Stream(outlet, encoding, errors, line_buffering=not must_arrive or outlet.isatty())


def _open_closed_descriptors() -> None:
    """Opens /dev/null for descriptors that a shell's `>&-` closed: else the next opened file would get the output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one


def _one_line(message: Warning | str, *_: object, **__: object) -> str:
    """Formats a library's warning as one line, without its source."""
    return f"revlm: warning: {' '.join(str(message).split())}\n"
