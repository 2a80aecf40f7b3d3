"""A corpus as a stream of events: the pieces of each text, followed by `Ended` or `Dropped`.

No text is held in memory whole, so whether it can be used is known only at its end.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from revlm.corpus.reading.cleaning import CleanedText, Cleaning, utf8_length
from revlm.corpus.reading.readers import RawBytes, RawText
from revlm.corpus.reading.refusing import Skipped


class ReadPosition(NamedTuple):
    """A position between two texts of a corpus: after the first `texts` of the file with the number `file`, from 0."""

    file: int = 0
    texts: int = 0


START = ReadPosition()


class Piece(NamedTuple):
    """A piece of a cleaned text, or of the bytes of a document that is no text.

    `title` is its document's, `read_bytes` its share of the corpus, for progress.
    """

    text: str | bytes
    title: str
    read_bytes: int


class Ended(NamedTuple):
    """The pieces since the last end are a document.

    `front` and `back` are the text removed at its ends, `warnings` the cuts that the user may not expect.
    """

    position: ReadPosition
    title: str
    source: str
    cleaning: Cleaning
    read_bytes: int
    front: str = ""
    back: str = ""
    warnings: tuple[str, ...] = ()


class Dropped(NamedTuple):
    """The pieces since the last end, if any, are not a document; `skipped` says why."""

    position: ReadPosition
    skipped: Skipped
    read_bytes: int


Event = Piece | Ended | Dropped


def text_events(
    found: RawText, position: ReadPosition, source: str, title: str, before_end: Callable[[], None] = lambda: None
) -> Iterator[Event]:
    """Yields the pieces of a text, cleaned, and its end at `position`: `Dropped` where it is empty or only white space.

    `title` serves a text that has none of its own. `before_end` may raise instead of letting the text end.
    """
    cleaned = CleanedText(found.pieces)
    title = found.title or cleaned.title or title
    counted, has_text = 0, False
    for piece in cleaned:
        has_text = has_text or not piece.isspace()
        share = min(found.read_so_far() - counted, utf8_length(piece))
        yield Piece(piece, title, share)
        counted += share
    before_end()
    if has_text:
        cleaning, warnings = cleaned.cleaning, tuple(cleaned.warnings)
        yield Ended(position, title, source, cleaning, found.share(), cleaned.front, cleaned.back, warnings)
    else:
        yield Dropped(position, Skipped(source, "empty or only white space"), found.share())


def bytes_events(
    found: RawBytes, position: ReadPosition, source: str, title: str, before_end: Callable[[], None]
) -> Iterator[Event]:
    """Yields the bytes of a document as they are, and its end, as `text_events`."""
    title, left, total = found.title or title, found.read_bytes, 0
    for piece in found.pieces:
        share = min(left, len(piece))
        yield Piece(piece, title, share)
        left, total = left - share, total + len(piece)
    before_end()
    if total:
        yield Ended(position, title, source, Cleaning(file_bytes=total), found.read_bytes)
    else:
        yield Dropped(position, Skipped(source, "empty"), found.read_bytes)


def recut(events: Iterable[Event], parts: Callable[[Iterable[str | bytes]], Iterator[str | bytes]]) -> Iterator[Event]:
    """Yields the same events with the pieces of each document replaced by those that `parts` returns for it."""
    remaining = iter(events)
    end: Event | None
    title, share = "", 0

    def pieces() -> Iterator[str | bytes]:
        nonlocal end, title, share
        for event in remaining:
            if not isinstance(event, Piece):
                end = event
                return
            title, share = event.title, share + event.read_bytes
            yield event.text

    while True:
        end = None
        for part in parts(pieces()):
            yield Piece(part, title, share)
            share = 0
        if end is None:
            return
        yield end
