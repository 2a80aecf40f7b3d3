"""Decides at the end of each encoded text what becomes of it: a document of the store, or nothing, and why."""

import hashlib
from base64 import b64decode, b64encode

import numpy as np
import numpy.typing as npt

from revlm.corpus.reading.events import Dropped, Ended
from revlm.corpus.reading.refusing import OnError, Skipped
from revlm.corpus.store.duplicates import Duplicate, Duplicates, sketch_of
from revlm.corpus.store.token_store import StoredDocument
from revlm.corpus.tokenizing.encoding import Encoded
from revlm.errors import DataError


class DocumentChecker:
    """Takes the pieces of one text after another; remembers the documents before, to find duplicates among them.

    A text that its tokens do not give back is an error, or dropped where `errors` is "skip". Duplicates are named.
    Documents longer than `row_tokens` take several rows.
    """

    def __init__(self, *, errors: OnError, row_tokens: int) -> None:
        self._errors, self._row_tokens = errors, row_tokens
        self._before = Duplicates()
        self._sha256 = hashlib.sha256()
        self._bytes = self._tokens = 0
        self._shingles: list[npt.NDArray[np.uint64]] = []
        self._differs_at: int | None = None

    def remember(self, document: StoredDocument) -> None:
        """Takes in a document that was checked before."""
        duplicate_of(document, self._before)

    def add(self, encoded: Encoded) -> None:
        """Takes a piece of the text in work."""
        text = encoded.piece.text.encode()
        if encoded.differs_at is not None and self._differs_at is None:
            self._differs_at = self._bytes + encoded.differs_at
        self._sha256.update(text)
        self._bytes += len(text)
        self._tokens += len(encoded.ids)
        self._shingles.append(encoded.shingles)

    def end(self, end: Ended | Dropped) -> StoredDocument | Skipped:
        """Returns what becomes of the text in work.

        Raises:
            DataError: the tokenizer does not give it back.
        """
        result = end.skipped if isinstance(end, Dropped) else self._check(end)
        self._sha256 = hashlib.sha256()
        self._bytes = self._tokens = 0
        self._shingles = []
        self._differs_at = None
        return result

    def _check(self, end: Ended) -> StoredDocument | Skipped:
        if self._differs_at is not None:
            place = f"its text differs from byte offset {self._differs_at} on"
            if self._errors == "strict":
                raise DataError(
                    f"the tokenizer does not give {end.source} back: {place}; "
                    "use another tokenizer, or --tokenizer bytes"
                )
            return Skipped(end.source, f"the tokenizer does not give it back: {place}")
        sketch = sketch_of(self._shingles)
        duplicate = self._before.find(end.source, self._sha256.hexdigest(), sketch)
        return StoredDocument(
            title=end.title,
            source=end.source,
            tokens=self._tokens,
            bytes=self._bytes,
            sha256=self._sha256.hexdigest(),
            parts=-(-self._tokens // self._row_tokens),
            cleaning=end.cleaning,
            duplicate=str(duplicate) if duplicate else None,
            sketch=None if sketch is None else b64encode(sketch).decode(),
        )


def duplicate_of(document: StoredDocument, before: Duplicates) -> Duplicate | None:
    """Returns which of the documents before it is the same or nearly so; where there is none, remembers it."""
    sketch = None if document.sketch is None else b64decode(document.sketch)
    return before.find(document.source, document.sha256, sketch)
