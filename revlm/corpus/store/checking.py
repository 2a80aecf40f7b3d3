"""Decides at the end of each encoded text whether it becomes a document of the store, or why not."""

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
    """Checks one text after another, piece by piece; remembers earlier documents to find duplicates.

    A text that its tokens do not reproduce is an error, or skipped where `errors` is "skip". Duplicates are marked.
    A document longer than `row_tokens` takes several rows.
    """

    def __init__(self, *, errors: OnError, row_tokens: int) -> None:
        self._errors, self._row_tokens = errors, row_tokens
        self._before = Duplicates()
        self._sha256 = hashlib.sha256()
        self._bytes = self._tokens = 0
        self._shingles: list[npt.NDArray[np.uint64]] = []
        self._differs_at: int | None = None

    def remember(self, document: StoredDocument) -> None:
        """Adds a document that an earlier run accepted."""
        duplicate_of(document, self._before)

    def add(self, encoded: Encoded) -> None:
        """Adds a piece of the current text."""
        text = encoded.piece.text
        text = text.encode() if isinstance(text, str) else text
        if encoded.differs_at is not None and self._differs_at is None:
            self._differs_at = self._bytes + encoded.differs_at
        self._sha256.update(text)
        self._bytes += len(text)
        self._tokens += len(encoded.ids)
        self._shingles.append(encoded.shingles)

    def end(self, end: Ended | Dropped) -> StoredDocument | Skipped:
        """Returns the document that the current text becomes, or why it is skipped.

        Raises:
            DataError: the tokenizer does not reproduce it.
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
                    f"the tokenizer does not reproduce {end.source}: {place}; "
                    "use another tokenizer, or --tokenizer bytes"
                )
            return Skipped(end.source, f"the tokenizer does not reproduce it: {place}")
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
    """Returns the earlier document that this one duplicates, exactly or nearly; where there is none, remembers it."""
    sketch = None if document.sketch is None else b64decode(document.sketch)
    return before.find(document.source, document.sha256, sketch)
