"""Reads HTML and XHTML files, one text each."""

from collections.abc import Iterator
from pathlib import Path

from revlm.corpus.reading.readers.declared import EncodingError, decoded
from revlm.corpus.reading.readers.markup import Markup, MarkupError
from revlm.corpus.reading.readers.opened import opened_bytes
from revlm.corpus.reading.readers.raw import RawText, Reading, UnusableFileError, no_text, title_of
from revlm.corpus.reading.readers.rows import in_pieces


def read_html(path: Path, reading: Reading) -> Iterator[RawText]:
    """Yields the text of a page; its title is the one in its head."""
    limit = reading.limits.max_line_bytes
    with opened_bytes(path, reading) as source:
        raw = b"".join(iter(lambda: source.read(1 << 20), b"")) if source.size <= limit else None
    if raw is None:
        raise UnusableFileError(path, f"is longer than {limit:,} bytes", "pass a higher --max-line-bytes")
    try:
        text = decoded(raw)
        if reason := no_text(text):
            raise UnusableFileError(path, reason, "repair it")
        markup = Markup(text, reading)
    except EncodingError as error:
        raise UnusableFileError(path, str(error), error.remedy) from error
    except MarkupError as error:
        raise UnusableFileError(path, f"cannot be read: {error}", error.remedy) from error
    yield RawText(in_pieces(f"{markup.text}\n"), len(raw), title=title_of(markup.title))
