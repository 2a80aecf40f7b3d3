"""Reads files of one JSON object a line, a text each; compressed ones as well."""

import codecs
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from revlm.corpus.readers.raw import RawText, Unusable, UnusableFileError, no_text, why

_REPAIR = "repair the line"


def read_jsonl(path: Path, text_column: str) -> Iterator[RawText | Unusable]:
    """Yields the text of each line that is not blank; the title is its column `title`, where that is a string."""
    before = 0
    with path.open("rb") as file:
        lines = enumerate(_decompressed(file, path), 1)
        while True:
            try:
                number, line = next(lines, (0, b""))
            except (OSError, EOFError, ValueError) as error:
                reason = f"is damaged or cut off after {before:,} bytes ({why(error)})"
                raise UnusableFileError(path, reason, "fetch or compress it again") from error
            if number == 0:
                break
            position = file.tell()
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                yield _text(line, f"line {number}", text_column, read_bytes=position - before)
                before = position


def _text(line: bytes, place: str, column: str, read_bytes: int) -> RawText | Unusable:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8: byte 0x{line[error.start]:02x} at its byte {error.start}"
        return Unusable(place, reason, _REPAIR, read_bytes)
    except (ValueError, RecursionError) as error:
        return Unusable(place, f"is not JSON ({why(error)})", _REPAIR, read_bytes)
    return text_of_row(row, place, column, read_bytes)


def text_of_row(row: Any, place: str, column: str, read_bytes: int) -> RawText | Unusable:
    """Returns the text in a column of a row, whatever the file it comes from."""
    if not isinstance(row, dict):
        return Unusable(place, "is not a JSON object", _REPAIR, read_bytes)
    if column not in row:
        there = ", ".join(map(repr, list(row)[:8])) or "none"
        reason = f"has no column {column!r} (it has {there})"
        return Unusable(place, reason, "name the text's with --text-column", read_bytes)
    text, title = row[column], row.get("title")
    if not isinstance(text, str):
        reason = f"has no text in {column!r} but {type(text).__name__}"
        return Unusable(place, reason, "name the text's --text-column", read_bytes)
    if problem := no_text(text):
        return Unusable(place, problem, _REPAIR, read_bytes)
    title = " ".join(title.split()) if isinstance(title, str) and not no_text(title) else ""
    return RawText((text,), read_bytes, place, title or None)


def _decompressed(file: IO[bytes], path: Path) -> IO[bytes]:
    """Returns the lines of a file by its ending; the file's own position goes on as they are read."""
    if path.suffix.lower() not in _CODECS:
        return file
    import pyarrow

    stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), _CODECS[path.suffix.lower()])
    return io.BufferedReader(stream)


_CODECS = {".gz": "gzip", ".zst": "zstd"}
