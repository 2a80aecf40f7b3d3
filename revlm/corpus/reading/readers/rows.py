"""The text of a row of JSON lines, Parquet or a dataset on the hub."""

from collections.abc import Iterable, Iterator
from typing import Any

from revlm.corpus.reading.readers.charsets import guess_of
from revlm.corpus.reading.readers.raw import RawText, Reading, Unusable, no_text, shown, title_of

REPAIR = "repair the line"
NAME_THE_COLUMN = "name the text column with --text-column"
TITLE_COLUMN = "title"
_PIECE_CHARACTERS = 1 << 20
_LISTED = 8
_IN_WORDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def text_of_row(row: Any, place: str, reading: Reading, read_bytes: int) -> RawText | Unusable:
    """Returns the text in the text column of a row, named by its own name or by a dotted path into objects."""
    if not isinstance(row, dict):
        return Unusable(place, "is not a JSON object", REPAIR, read_bytes)
    column = reading.text_column
    found, text = value_at(row, column)
    if not found:
        return Unusable(place, no_column(column, columns_of(row)), NAME_THE_COLUMN, read_bytes)
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            guess = guess_of(text)
            reason = f"is not UTF-8 in {shown(column)}: byte 0x{text[error.start]:02x} at its byte {error.start}"
            return Unusable(place, f"{reason}; {guess.clause}", guess.remedy, read_bytes)
    if not isinstance(text, str):
        there = _IN_WORDS.get(type(text), f"a value of type {type(text).__name__}")
        return Unusable(place, f"has {there} in {shown(column)}, not a text", NAME_THE_COLUMN, read_bytes)
    if problem := no_text(text):
        return Unusable(place, problem, REPAIR, read_bytes)
    return RawText(in_pieces(text), read_bytes, place, title_of(row.get(TITLE_COLUMN)))


def value_at(row: dict[str, Any], column: str) -> tuple[bool, Any]:
    """Returns whether a column exists, and its value; a column whose own name has dots takes precedence."""
    if column in row:
        return True, row[column]
    first, _, rest = column.partition(".")
    inner = row.get(first)
    if not rest or not isinstance(inner, dict):
        return False, None
    return value_at(inner, rest)


def columns_of(row: dict[str, Any]) -> Iterator[str]:
    """Yields the names of the columns; for objects, the dotted paths of their fields."""
    for name, value in row.items():
        if isinstance(value, dict) and value:
            yield from (f"{name}.{inner}" for inner in value)
        else:
            yield name


def no_column(column: str, there: Iterable[str]) -> str:
    """Returns a clause that says that a column is missing, with the first names of those present."""
    names = [shown(name) for name, _ in zip(there, range(_LISTED), strict=False)]
    return f"has no column {shown(column)} (it has {', '.join(names) or 'none'})"


def in_pieces(text: str) -> Iterator[str]:
    """Yields a text in pieces small enough to copy; an empty text as one empty piece."""
    for start in range(0, len(text), _PIECE_CHARACTERS) or (0,):
        yield text[start : start + _PIECE_CHARACTERS]
