"""Writes the journal of a run, metrics.jsonl: one record per line, in the order of events.

`revlm.records` has the schema of a record and reads the journal. A number that is not finite is written as null:
JSON cannot represent it, and a reader sees a gap instead of a value.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from revlm.errors import StorageError
from revlm.records import Step, Validation, offset_after, whole_bytes
from revlm.records.reading import record_of
from revlm.storage import Closing, Folder, append_whole, storage_errors, sync_folder


class Journal(Closing):
    """Appends records to a journal; opening it truncates a last line that a kill left incomplete."""

    def __init__(self, path: Path) -> None:
        """Opens the journal at `path`, or creates it; raises StorageError if it cannot be written."""
        self.path = path
        with storage_errors(f"opening the journal {path}"):
            with Folder(path.parent) as folder:
                self._descriptor = folder.open(path.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            size = os.fstat(self._descriptor).st_size
            self.repaired_bytes = size - whole_bytes(path)
            """bytes of an incomplete last line that were truncated"""
            if self.repaired_bytes:
                os.ftruncate(self._descriptor, size - self.repaired_bytes)
            sync_folder(path.parent)

    def append(self, record: Mapping[str, Any]) -> Step | Validation:
        """Writes one record as one line, which a later kill of the process cannot undo; returns the record written."""
        plain = _plain(record)
        written = record_of(plain)
        line = json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"
        with storage_errors(f"writing the journal {self.path}"):
            append_whole(self._descriptor, line.encode())
        return written

    def sync(self) -> None:
        """Returns once every record is on disk; saving a checkpoint calls this first, because it relies on them."""
        with storage_errors(f"writing the journal {self.path}"):
            os.fsync(self._descriptor)

    def truncate_after(self, step: int) -> None:
        """Drops the records of later steps, so that a resumed run logs no step twice."""
        kept_bytes = offset_after(self.path, step) if step > 0 else 0
        with storage_errors(f"writing the journal {self.path}"):
            os.ftruncate(self._descriptor, kept_bytes)

    def close(self) -> None:
        """Closes the file; the records stay."""
        os.close(self._descriptor)

    def require_not_replaced(self) -> None:
        """Raises StorageError if the open file is no longer the one at the journal's path."""
        with storage_errors(f"checking the journal {self.path}"), Folder(self.path.parent) as folder:
            if not folder.holds(self.path.name, self._descriptor):
                raise StorageError(
                    f"the journal {self.path} was removed or replaced while the run wrote to it: restore it from "
                    "a copy, or run the same command again to resume without its records"
                )


def _plain(value: Any) -> Any:
    """The value as JSON types: mappings, lists, numbers; scalars of numpy and torch through their `item`."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return _plain(value.item()) if hasattr(value, "item") else str(value)
