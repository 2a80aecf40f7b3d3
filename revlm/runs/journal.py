"""The journal of a run, metrics.jsonl: one JSON object a line, one line a record, in the order they happened.

A number that is not finite is written as null: JSON has no word for it, and a reader sees a gap, not a value.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from revlm.errors import StorageError
from revlm.storage import Folder, append_whole, replace_file, storage_errors, sync_folder


class Journal:
    """Appends records to a journal; a last line torn by a kill is cut off when it is opened."""

    def __init__(self, path: Path) -> None:
        """Opens the journal at `path`, or starts it; raises StorageError where it cannot be written."""
        self.path = path
        with storage_errors(f"opening the journal {path}"):
            self._descriptor = self._open()
            try:
                self.repaired_bytes = _repair(self._descriptor)
                """bytes of a torn last line that were cut off"""
                sync_folder(path.parent)
            except BaseException:
                self.close()
                raise

    def append(self, record: Mapping[str, Any]) -> None:
        """Writes one record as one line, that a later kill of the process cannot undo."""
        line = json.dumps(_plain(record), ensure_ascii=False, allow_nan=False) + "\n"
        with storage_errors(f"writing the journal {self.path}"):
            append_whole(self._descriptor, line.encode())

    def sync(self) -> None:
        """Returns when every record is on the disk; a checkpoint that counts on them calls this first."""
        with storage_errors(f"writing the journal {self.path}"):
            os.fsync(self._descriptor)

    def truncate_after(self, step: int) -> int:
        """Drops the records of later steps, so that a resumed run writes no step twice; returns how many."""
        records = list(read(self.path))
        kept = [record for record in records if record.get("step", 0) <= step]
        if len(kept) < len(records):
            content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
            with storage_errors(f"rewriting the journal {self.path}"):
                replace_file(self.path, content.encode())
                self.close()
                self._descriptor = self._open()
        return len(records) - len(kept)

    def close(self) -> None:
        """Ends writing; the records stay."""
        os.close(self._descriptor)

    def require_there(self) -> None:
        """Raises StorageError where the file that records are appended to is no longer the one of that name."""
        with storage_errors(f"looking for the journal {self.path}"), Folder(self.path.parent) as folder:
            if not folder.holds(self.path.name, self._descriptor):
                raise StorageError(
                    f"the journal {self.path} was removed or replaced while the run wrote to it: put it back from a "
                    "copy, or run the same command again to go on without what it held"
                )

    def _open(self) -> int:
        with Folder(self.path.parent) as folder:
            return folder.open(self.path.name, os.O_RDWR | os.O_APPEND | os.O_CREAT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a journal, oldest first; none where there is no journal yet.

    A last line without its end is being written, or was torn: it is left out. A broken line before that
    raises StorageError with its number.
    """
    if not path.exists():
        return
    with storage_errors(f"reading the journal {path}"), path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            record = _parse(line)
            if record is None:
                raise StorageError(f"{path}:{number} is not a JSON object: remove the line or restore the file")
            yield record


def _repair(descriptor: int) -> int:
    """Cuts a torn end off a journal, up to the last whole record; returns how many bytes that were."""
    whole_bytes, last = 0, b""
    with os.fdopen(os.dup(descriptor), "rb") as lines:
        for line in lines:
            whole_bytes += len(line)
            last = line
    if not whole_bytes or (last.endswith(b"\n") and _parse(last) is not None):
        return 0
    os.ftruncate(descriptor, whole_bytes - len(last))
    return len(last)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:  # a decoding error is one too
        return None
    return record if isinstance(record, dict) else None


def _plain(value: Any) -> Any:
    """The value in JSON's own types: mappings, lists, numbers; scalars of numpy and torch by their `item`."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return _plain(value.item()) if hasattr(value, "item") else str(value)
