"""How the tests of the readers read, and how they try what cannot be read."""

from pathlib import Path
from typing import Any

import pytest

from revlm.corpus import Document, read_documents
from revlm.corpus.reading.corpus_files import find_corpus_files
from revlm.corpus.reading.documents import stream_documents
from revlm.corpus.reading.events import Ended
from revlm.corpus.reading.refusing import Skipped
from revlm.errors import DataError


def read(corpus: Path | str, **options: Any) -> tuple[list[Document], list[Skipped]]:
    skipped: list[Skipped] = []
    return list(read_documents(corpus, on_skip=skipped.append, **options)), skipped


def bytes_counted(corpus: Path) -> int:
    """The bytes of the files of a corpus that its documents are said to have been read from."""
    events = stream_documents(find_corpus_files(corpus))
    return sum(event.read_bytes for event in events if isinstance(event, Ended))


def refused_or_skipped(corpus: Path, message: str, texts: list[str], skipped: int = 1, **options: Any) -> None:
    """Strict: one sentence with the path; skip: the other texts are there, and the reason is listed."""
    with pytest.raises(DataError, match=message) as raised:
        read(corpus, **options)
    assert corpus.name in str(raised.value)
    assert "--errors skip" in str(raised.value)
    documents, listed = read(corpus, errors="skip", **options)
    assert [document.text for document in documents] == texts
    assert len(listed) == skipped
    assert all(each.path.startswith(corpus.name) for each in listed)
