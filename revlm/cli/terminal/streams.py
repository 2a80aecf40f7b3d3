"""The one way out to standard output and standard error: whatever prints, it passes here.

For the time of a command `guarded_streams` puts itself before both streams, so that `print`, warnings, tracebacks and
libraries have no way around it:

- Control characters become the replacement sign. File names, titles, recipe keys, headers of a server and texts of
  exceptions come from outside, and an escape sequence in them could rewrite the screen or the clipboard.
- A message that cannot be printed is dropped: a closed terminal, a full disk or a reader that left never ends the work.
- A result that cannot be printed is an error: BrokenPipeError where its reader left, else StorageError.

`Terminal` styles its output by escape sequences of its own; the texts in it are filtered all the same.
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

# C0 but newline and tab, DEL, C1, halves of surrogate pairs, and overrides of the direction of writing, by which a
# name reads otherwise than it is.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with the replacement sign for every control character; newlines and tabs stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def print_json(value: Any, indent: int | None = None) -> None:
    """Prints a value as JSON on standard output, control characters escaped as JSON has them."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    print(_CONTROL.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text))


def print_content(content: str | bytes) -> None:
    """Prints a text of a model or a document at once: into a file or a pipe as it is, on a terminal filtered."""
    stream = sys.stdout
    if isinstance(content, str):
        content = content.encode(stream.encoding, "strict" if stream.encoding != "utf-8" else "replace")
    if isinstance(stream, _Stream) and not stream.isatty():
        stream.styled.write(content)
    else:
        stream.flush()
        stream.buffer.write(content)
        stream.flush()


def print_outcome(text: str) -> None:
    """Prints what finished work leaves behind; that it cannot be printed does not undo the work."""
    with suppress(BrokenPipeError, StorageError):
        print(text, flush=True)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Lets everything that is printed during the block pass the filter and the rules for failures."""
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__, warnings.formatwarning
    sys.stdout = sys.__stdout__ = _guarded(sys.stdout, must_arrive=True)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _guarded(sys.stderr, must_arrive=False)  # type: ignore[misc]
    warnings.formatwarning = _one_line
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it speaks of its cache, which nobody needs
    try:
        yield
    finally:
        with suppress(OSError, StorageError):  # a reader that left was an error already
            sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__, warnings.formatwarning = before  # type: ignore[misc]


class _Outlet(io.BufferedIOBase):
    """Bytes on their way to a standard stream, filtered; `deliver` is for those that are filtered already."""

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
                if written is None:  # another program has made the terminal non-blocking, and it is busy
                    select.select([], [self._target], [])
                left = left[written or 0 :]
        except BrokenPipeError:
            if self._must_arrive:
                raise
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            if self._must_arrive:
                why = getattr(error, "strerror", None) or str(error)
                raise StorageError(
                    f"standard output cannot be written ({why}): free space there or send it elsewhere, and run the "
                    "same command again"
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
    """A guarded text stream; `styled` takes text whose escape sequences are the writer's own."""

    def __init__(self, outlet: _Outlet, encoding: str, errors: str, line_buffering: bool) -> None:
        buffer: Any = outlet
        super().__init__(buffer, encoding=encoding, errors=errors, newline="\n", line_buffering=line_buffering)
        self.styled = _Styled(self, outlet)


class _Styled(io.TextIOBase):
    def __init__(self, stream: _Stream, outlet: _Outlet) -> None:
        self._stream, self._outlet = stream, outlet

    def write(self, content: str | bytes) -> int:
        self._stream.flush()  # what was printed before comes before
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
    """Where a console writes that styles text by escape sequences, having filtered what it styles."""
    return getattr(stream, "styled", stream)


def _guarded(stream: TextIO | None, must_arrive: bool) -> _Stream:
    if stream is None:  # a shell's `>&-`
        nowhere = open(os.devnull, "wb", buffering=0)  # noqa: SIM115 (as long as there is something to print)
        outlet, encoding, errors = _Outlet(nowhere, "utf-8", must_arrive), "utf-8", "replace"
    else:
        with suppress(OSError, ValueError):
            stream.flush()
        buffer: Any = stream.buffer
        encoding = codecs.lookup(stream.encoding).name
        outlet = _Outlet(getattr(buffer, "raw", buffer), encoding, must_arrive)
        # UTF-8 has no halves of surrogate pairs, which stand for bytes of a file name that is no UTF-8.
        errors = "replace" if encoding == "utf-8" else stream.errors or "strict"
    return _Stream(outlet, encoding, errors, line_buffering=not must_arrive or outlet.isatty())


def _open_closed_descriptors() -> None:
    """Opens what a shell's `>&-` closed onto nothing: else the next file that is opened gets what is printed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one


def _one_line(message: Warning | str, *_: object, **__: object) -> str:
    """A warning of a library as one line, without its source."""
    return f"revlm: warning: {' '.join(str(message).split())}\n"
