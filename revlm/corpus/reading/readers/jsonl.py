"""Reads JSON lines, one text per line, compressed or not."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from revlm.corpus.reading.readers.charsets import guess_of, mark_of
from revlm.corpus.reading.readers.opened import Bytes, opened_bytes
from revlm.corpus.reading.readers.raw import RawText, Reading, Unusable, why
from revlm.corpus.reading.readers.rows import REPAIR, text_of_row
from revlm.corpus.reading.readers.text import not_utf8
from revlm.limits import Limits

_CHUNK_BYTES = 1 << 20
_BLANK_LINES = re.compile(rb"[ \t\r\n\f\v]*\n")
# The strings of a line and, outside them, its brackets and commas; an unclosed string takes the rest of the line.
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)|[\[{]|[\]}]|,', re.DOTALL)
# A line with more values than this takes more memory than its limit in bytes suggests.
_MAX_VALUES = 1 << 20


def read_jsonl(path: Path, reading: Reading) -> Iterator[RawText | Unusable]:
    """Yields the text of each line that is not blank; its title is the column `title` where that is a string."""
    with opened_bytes(path, reading) as source:
        yield from texts_of_lines(path, source, reading)


def texts_of_lines(path: PurePath, source: Bytes, reading: Reading) -> Iterator[RawText | Unusable]:
    """Yields what `read_jsonl` yields of an open file."""
    before, limits = 0, reading.limits
    for number, line, position in _lines(path, source, limits.max_line_bytes):
        place, read_bytes, before = f"line {number}", position - before, position
        if line is None:
            reason = f"is longer than {limits.max_line_bytes:,} bytes"
            yield Unusable(place, reason, "pass a higher --max-line-bytes", read_bytes)
        elif line.strip():
            row = parsed(line, place, reading, read_bytes)
            yield row if isinstance(row, Unusable) else text_of_row(row, place, reading, read_bytes)
        else:
            before -= read_bytes


def _lines(path: PurePath, source: Bytes, limit: int) -> Iterator[tuple[int, bytes | None, int]]:
    """Yields the number of each line from 1, its bytes, and the file position after it.

    The bytes of a line longer than `limit` are None and never held; blank lines may be omitted.
    """
    number, size, given = 1, 0, 0
    parts: list[bytes] = []

    def position_after(start: int) -> int:
        return source.position if source.is_compressed else given + start

    while chunk := source.read(_CHUNK_BYTES):
        start = 0
        if not given:
            if mark_of(chunk) or b"\0" in chunk[:4]:  # UTF-16 or UTF-32: JSON begins with ASCII
                raise not_utf8(path, chunk, f"byte 0x{chunk[0]:02x} at byte offset 0")
            start = len(codecs.BOM_UTF8) if chunk.startswith(codecs.BOM_UTF8) else 0
        while start < len(chunk):
            if not size and (blank := _BLANK_LINES.match(chunk, start)):
                number += chunk.count(b"\n", start, blank.end())
                start = blank.end()
                continue
            end = chunk.find(b"\n", start)
            stop = end if end >= 0 else len(chunk)
            size += stop - start
            if size <= limit:
                parts.append(chunk[start:stop])
            else:
                parts.clear()
            start = stop + 1
            if end < 0:
                break
            line = b"".join(parts) if size <= limit else None
            number, size = number + 1, 0
            parts.clear()
            yield number - 1, line, position_after(start)
        given += len(chunk)
    if size:
        yield number, b"".join(parts) if size <= limit else None, source.position


def parsed(line: bytes, place: str, reading: Reading, read_bytes: int) -> Any | Unusable:
    """Returns the JSON value in a line; `Unusable` where there is none, or it has too many or too deep values."""
    try:
        if too_much := _too_much(line, reading.limits):
            return Unusable(place, *too_much, read_bytes)
        # No number is used, and long ones are slow to parse, or refused, as integers.
        return json.loads(line.decode("utf-8"), parse_int=float)
    except UnicodeDecodeError as error:
        guess = guess_of(line)
        reason = f"is not UTF-8: byte 0x{line[error.start]:02x} at its byte {error.start}; {guess.clause}"
        return Unusable(place, reason, guess.remedy, read_bytes)
    except RecursionError:
        return Unusable(place, "is not JSON that can be read (its values are nested too deeply)", REPAIR, read_bytes)
    except json.JSONDecodeError as error:
        fault = f"{why(ValueError(error.msg))} at its character {error.pos}"
        return Unusable(place, f"is not JSON ({fault})", REPAIR, read_bytes)


def _too_much(line: bytes, limits: Limits) -> tuple[str, str] | None:
    """Returns a reason and a remedy where a line has too many or too deeply nested values, without parsing it."""
    if line.count(b",") <= _MAX_VALUES and line.count(b"[") + line.count(b"{") <= limits.max_nesting:
        return None  # most lines need no further scan
    values = depth = deepest = 0
    for match in _STRUCTURE.finditer(line):
        sign = line[match.start()]
        if sign in b"[{":
            depth, values = depth + 1, values + 1
            deepest = max(deepest, depth)
        elif sign in b"]}":
            depth -= 1
        else:
            values += sign == ord(",")
        if deepest > limits.max_nesting:
            reason = f"holds JSON values nested more than {limits.max_nesting:,} deep"
            return reason, "pass a higher --max-nesting"
        if values > _MAX_VALUES:
            return f"holds more than {_MAX_VALUES:,} values", "remove the columns that are not text"
    return None
