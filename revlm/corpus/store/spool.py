"""Spools tokens and the outcome of each text to disk; the spool is valid after a kill at any moment.

Tokens are synced before the journal lines that count them. Tokens after those of the last line belong to an unfinished
text and are truncated. Each line ends in a digest of the tokenizer, of all lines up to it and of their tokens, so the
work resumes before any change on the disk.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter

from revlm.corpus.reading.events import ReadPosition
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.store.rows import StoredTokens
from revlm.corpus.store.token_store import StoredDocument
from revlm.corpus.tokenizing.tokenizer import Tokenizer
from revlm.errors import StorageError
from revlm.storage import sync_file, sync_folder

# Finished texts are committed together once this much of the corpus has been read since the last commit.
COMMIT_BYTES = 1 << 24
TOKENS, JOURNAL = "tokens", "journal.jsonl"


_Count = Annotated[int, Field(ge=0, lt=1 << 62)]
_DIGEST_CHARACTERS = 64
_TOKEN_CHUNK = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """The outcome of a text; `position` is the one after it, `read_bytes` its share of the corpus."""

    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid")

    position: ReadPosition
    read_bytes: _Count
    result: StoredDocument | Skipped


_OUTCOME = TypeAdapter(Outcome)


class Spool:
    """The token file and the journal in a folder, opened after the last text that is intact there.

    Attributes:
        after: the position in the corpus from which the work resumes.
        read_bytes: the bytes of the corpus before it.
        is_damaged: whether finished texts changed on the disk and must be read again.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self._dtype = tokenizer.token_dtype
        self._tokens, self._journal = folder / TOKENS, folder / JOURNAL
        self._tokens.touch()
        self._journal.touch()
        sync_folder(folder)
        self.after, self.read_bytes = ReadPosition(), 0
        self._ended_at = 0  # the offset in the token file where the last text ended
        self._first_digest = self._digest = hashlib.sha256(tokenizer.fingerprint.encode()).hexdigest()
        journal_bytes = 0
        for outcome, line in self._whole_lines():
            self._advance(outcome, self._ended_at + self._dtype.itemsize * _tokens_of(outcome))
            self._digest, journal_bytes = _digest_in(line), journal_bytes + len(line)
        with self._journal.open("r+b") as journal:
            journal.seek(journal_bytes)
            self.is_damaged = b"\n" in journal.read()  # a kill leaves at most a part of a line after the last
            journal.truncate(journal_bytes)
        self._out: BinaryIO = self._tokens.open("r+b", buffering=1 << 20)
        self._tokens_digest = hashlib.sha256()  # of the current text
        self._waiting: list[bytes] = []
        self._committed = self.read_bytes
        self.discard()

    @property
    def token_bytes(self) -> int:
        """The bytes of the tokens of all finished texts."""
        return self._ended_at

    def write(self, tokens: StoredTokens) -> None:
        """Appends tokens of the current text."""
        content = tokens.tobytes()
        self._out.write(content)
        self._tokens_digest.update(content)

    def discard(self) -> None:
        """Discards the tokens of the current text."""
        self._out.seek(self._ended_at)
        self._out.truncate()
        self._tokens_digest = hashlib.sha256()

    def end(self, outcome: Outcome) -> None:
        """Ends the current text; its tokens are discarded where it is not a document."""
        if isinstance(outcome.result, Skipped):
            self.discard()
        self._advance(outcome, self._out.tell())
        line = _line(outcome, self._digest, self._tokens_digest.digest())
        self._digest, self._tokens_digest = _digest_in(line), hashlib.sha256()
        self._waiting.append(line)
        if self.read_bytes - self._committed >= COMMIT_BYTES:
            self.commit()

    def commit(self) -> None:
        """Syncs all finished texts to the disk."""
        self._out.flush()
        sync_file(self._tokens)
        with self._journal.open("ab") as journal:
            journal.write(b"".join(self._waiting))
        sync_file(self._journal)
        self._waiting.clear()
        self._committed = self.read_bytes

    def outcomes(self) -> Iterator[Outcome]:
        """Yields the outcome of each text on the disk, in order."""
        with self._journal.open("rb") as lines:
            yield from map(self._outcome, lines)

    def documents(self, row_tokens: int) -> Iterator[tuple[StoredDocument, Iterator[StoredTokens]]]:
        """Yields the documents on the disk, each with its tokens in parts of at most `row_tokens`; use the parts before
        requesting the next document.

        Raises:
            StorageError: the tokens or the journal changed on the disk since they were written.
        """
        start, digest = 0, self._first_digest
        with self._tokens.open("rb") as file, self._journal.open("rb") as lines:
            for line in lines:
                outcome, tokens_digest = self._outcome(line), hashlib.sha256()
                if isinstance(outcome.result, StoredDocument):
                    file.seek(start)
                    parts = _parts(file, self._dtype, outcome.result.tokens, row_tokens, tokens_digest)
                    yield outcome.result, parts
                    start += self._dtype.itemsize * outcome.result.tokens
                    deque(parts, maxlen=0)  # unread parts count in the digest, too
                if line != _line(outcome, digest, tokens_digest.digest()):
                    raise self._changed()
                digest = _digest_in(line)

    def skipped(self) -> Iterator[Skipped]:
        """Yields the skipped files and texts on the disk."""
        return (each.result for each in self.outcomes() if isinstance(each.result, Skipped))

    def close(self) -> None:
        """Closes the spool; texts that ended after the last `commit` are lost."""
        self._out.close()

    def _outcome(self, line: bytes) -> Outcome:
        try:
            return _outcome(line)
        except ValueError as error:
            raise self._changed() from error

    def _changed(self) -> StorageError:
        return StorageError(
            f"{self._tokens} or {self._journal.name} beside it changed while in use, so the disk may be failing: "
            "run the same command again, with another folder"
        )

    def _whole_lines(self) -> Iterator[tuple[Outcome, bytes]]:
        """Yields each outcome with its line, up to the first line that is truncated or changed, or whose tokens
        are."""
        digest = self._first_digest
        with self._tokens.open("rb") as tokens, self._journal.open("rb") as lines:
            for line in lines:
                try:
                    outcome = _outcome(line)
                except ValueError:
                    return
                tokens_digest, left = hashlib.sha256(), self._dtype.itemsize * _tokens_of(outcome)
                while left and (chunk := tokens.read(min(left, _TOKEN_CHUNK))):
                    tokens_digest.update(chunk)
                    left -= len(chunk)
                if left or line != _line(outcome, digest, tokens_digest.digest()):
                    return
                digest = _digest_in(line)
                yield outcome, line

    def _advance(self, outcome: Outcome, ended_at: int) -> None:
        self._ended_at = ended_at
        self.after = outcome.position
        self.read_bytes += outcome.read_bytes


def _tokens_of(outcome: Outcome) -> int:
    return outcome.result.tokens if isinstance(outcome.result, StoredDocument) else 0


def _parts(
    file: BinaryIO, dtype: np.dtype[np.unsignedinteger], tokens: int, row_tokens: int, digest: "hashlib._Hash"
) -> Iterator[StoredTokens]:
    for start in range(0, tokens, row_tokens):
        part = np.fromfile(file, dtype, min(row_tokens, tokens - start))
        digest.update(part.tobytes())
        yield part


def _line(outcome: Outcome, digest_before: str, tokens_digest: bytes) -> bytes:
    """Returns a journal line: the outcome, a space, and the digest up to it."""
    content = _OUTCOME.dump_json(outcome)
    digest = hashlib.sha256(digest_before.encode() + tokens_digest + content).hexdigest()
    return content + b" " + digest.encode() + b"\n"


def _digest_in(line: bytes) -> str:
    return line[-1 - _DIGEST_CHARACTERS : -1].decode("latin-1")


def _outcome(line: bytes) -> Outcome:
    """Returns the outcome in a line; raises ValueError where there is none."""
    return _OUTCOME.validate_json(line[: -2 - _DIGEST_CHARACTERS])


def has_document(line: bytes) -> bool:
    """Returns whether a journal line records a document."""
    try:
        return isinstance(_outcome(line).result, StoredDocument)
    except ValueError:
        return False
