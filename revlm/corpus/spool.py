"""The tokens of one text after another on the disk, and what became of each text: good after a kill at any moment.

Tokens reach the disk before the lines of the journal that count them. What lies behind the last line's tokens is of a
text that had not ended, and is cut off.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from revlm.corpus.reading.events import Place
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.store import StoredDocument
from revlm.storage import sync_file, sync_folder

# Texts that end are written down together, when this much has been read since the last time.
COMMIT_BYTES = 1 << 24
TOKENS, JOURNAL = "tokens", "journal.jsonl"

Tokens = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Outcome:
    """What a text became; `place` is the one after it, `read_bytes` its share of the corpus."""

    place: Place
    read_bytes: int
    result: StoredDocument | Skipped


class Spool:
    """Two files of a folder, tokens of type `dtype` and the journal, opened after the last text that is on the disk.

    Attributes:
        after: the place in the corpus at which the work goes on.
        read_bytes: of the corpus, up to there.
    """

    def __init__(self, folder: Path, dtype: np.dtype[np.unsignedinteger]) -> None:
        self._dtype = dtype
        self._tokens, self._journal = folder / TOKENS, folder / JOURNAL
        self._tokens.touch()
        self._journal.touch()
        sync_folder(folder)
        self.after, self.read_bytes = Place(), 0
        self._ended_at = 0  # the byte of the tokens at which the last text ended
        journal_bytes, token_bytes = 0, self._tokens.stat().st_size
        for outcome in self.outcomes():
            end = self._ended_at + dtype.itemsize * _tokens_of(outcome)
            if end > token_bytes:
                break
            self._take(outcome, end)
            journal_bytes += len(_line(outcome))
        with self._journal.open("r+b") as journal:
            journal.truncate(journal_bytes)
        self._out: BinaryIO = self._tokens.open("r+b", buffering=1 << 20)
        self._waiting: list[Outcome] = []
        self._committed = self.read_bytes
        self.forget()

    @property
    def token_bytes(self) -> int:
        """The bytes of the tokens of all texts that have ended."""
        return self._ended_at

    def write(self, tokens: Tokens) -> None:
        """Appends tokens to those of the text in work."""
        self._out.write(tokens.tobytes())

    def forget(self) -> None:
        """Drops the tokens of the text in work."""
        self._out.seek(self._ended_at)
        self._out.truncate()

    def end(self, outcome: Outcome) -> None:
        """Ends the text in work; where it is no document its tokens are dropped."""
        if isinstance(outcome.result, Skipped):
            self.forget()
        self._take(outcome, self._out.tell())
        self._waiting.append(outcome)
        if self.read_bytes - self._committed >= COMMIT_BYTES:
            self.commit()

    def commit(self) -> None:
        """Returns when all texts that have ended are on the disk."""
        self._out.flush()
        sync_file(self._tokens)
        with self._journal.open("ab") as journal:
            journal.write(b"".join(map(_line, self._waiting)))
        sync_file(self._journal)
        self._waiting.clear()
        self._committed = self.read_bytes

    def outcomes(self) -> Iterator[Outcome]:
        """Yields what became of each text that is on the disk, in order."""
        with self._journal.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return  # torn by a kill
                yield _outcome(json.loads(line))

    def documents(self, row_tokens: int) -> Iterator[tuple[StoredDocument, Iterator[Tokens]]]:
        """Yields the documents on the disk, each with its tokens in parts of at most `row_tokens`, to be used before
        the next."""
        start = 0
        with self._tokens.open("rb") as file:
            for outcome in self.outcomes():
                if isinstance(outcome.result, StoredDocument):
                    file.seek(start)
                    yield outcome.result, _parts(file, self._dtype, outcome.result.tokens, row_tokens)
                    start += self._dtype.itemsize * outcome.result.tokens

    def skipped(self) -> Iterator[Skipped]:
        """Yields what gave no document, as far as it is on the disk."""
        return (each.result for each in self.outcomes() if isinstance(each.result, Skipped))

    def close(self) -> None:
        """Ends the work; texts that have ended since the last `commit` are lost."""
        self._out.close()

    def _take(self, outcome: Outcome, ended_at: int) -> None:
        self._ended_at = ended_at
        self.after = outcome.place
        self.read_bytes += outcome.read_bytes


def _tokens_of(outcome: Outcome) -> int:
    return outcome.result.tokens if isinstance(outcome.result, StoredDocument) else 0


def _parts(file: BinaryIO, dtype: np.dtype[np.unsignedinteger], tokens: int, row_tokens: int) -> Iterator[Tokens]:
    for start in range(0, tokens, row_tokens):
        yield np.fromfile(file, dtype, min(row_tokens, tokens - start))


def _line(outcome: Outcome) -> bytes:
    kind = "document" if isinstance(outcome.result, StoredDocument) else "skipped"
    result = outcome.result.as_dict() if isinstance(outcome.result, StoredDocument) else vars(outcome.result)
    values = {"place": outcome.place, "read_bytes": outcome.read_bytes, kind: result}
    return (json.dumps(values, ensure_ascii=False) + "\n").encode()


def _outcome(values: dict[str, Any]) -> Outcome:
    result = StoredDocument.from_dict(values["document"]) if "document" in values else Skipped(**values["skipped"])
    return Outcome(Place(*values["place"]), values["read_bytes"], result)
