"""A corpus as a stream of events: the pieces of one text after another, each text followed by what it was.

No text is held whole: whether it can be used is only known at its end.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from revlm.corpus.reading.cleaning import CleanedText, Cleaning, utf8_length
from revlm.corpus.reading.readers import RawText
from revlm.corpus.reading.refusing import Skipped


class ReadPosition(NamedTuple):
    """A position between two texts of a corpus: after the first `texts` of the file with the number `file`, from 0."""

    file: int = 0
    texts: int = 0


START = ReadPosition()


class Piece(NamedTuple):
    """A piece of a cleaned text; `title` is its document's, `read_bytes` its share of the corpus, for progress."""

    text: str
    title: str
    read_bytes: int


class Ended(NamedTuple):
    """The pieces since the last end are a document.

    `front` and `back` are what was taken from its ends, `warnings` where that may not be what the reader expects.
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
    """The pieces since the last end, if any, are no document, and why."""

    position: ReadPosition
    skipped: Skipped
    read_bytes: int


Event = Piece | Ended | Dropped


def text_events(
    found: RawText, position: ReadPosition, source: str, title: str, before_end: Callable[[], None] = lambda: None
) -> Iterator[Event]:
    """Yields a text, cleaned, and its end at `position`: dropped where it is empty or only white space.

    `title` is for a text that has none of its own. `before_end` may raise, so that the text does not end.
    """
    cleaned = CleanedText(found.pieces)
    title = found.title or cleaned.title or title
    share, has_text = found.read_bytes, False
    for piece in cleaned:
        has_text = has_text or not piece.isspace()
        yield Piece(piece, title, min(share, utf8_length(piece)))
        share -= min(share, utf8_length(piece))
    before_end()
    if has_text:
        cleaning, warnings = cleaned.cleaning, tuple(cleaned.warnings)
        yield Ended(position, title, source, cleaning, found.read_bytes, cleaned.front, cleaned.back, warnings)
    else:
        yield Dropped(position, Skipped(source, "empty or only white space"), found.read_bytes)


def recut(events: Iterable[Event], parts: Callable[[Iterable[str]], Iterator[str]]) -> Iterator[Event]:
    """Yields the events with each text in the pieces that `parts` makes of it."""
    remaining = iter(events)
    end: Event | None
    title, share = "", 0

    def pieces() -> Iterator[str]:
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
