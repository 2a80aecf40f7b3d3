"""Standard input as a corpus: saved to a temporary file, since a corpus is read twice."""

import hashlib
import json
import os
import select
import tempfile
from pathlib import Path

from revlm.corpus.reading.readers import Reading
from revlm.errors import DataError

STANDARD_INPUT = "-"
_STEP_BYTES = 1 << 20
_WAIT_SECONDS = 0.2  # between two checks for a stop request


class SpooledInput:
    """Standard input saved to a file, which is deleted with this object.

    Attributes:
        path: the file: of texts, `.jsonl` where the first line is a JSON object, otherwise `.txt`.
        sha256: of its content.
    """

    def __init__(self, folder: "tempfile.TemporaryDirectory[str]", path: Path, sha256: str) -> None:
        self._folder, self.path, self.sha256 = folder, path, sha256


def spooled_input(reading: Reading) -> SpooledInput:
    """Returns the whole of standard input, saved to a file.

    Raises:
        DataError: standard input is closed or cannot be read.
    """
    folder = tempfile.TemporaryDirectory(prefix="revlm-", ignore_cleanup_errors=True)
    saved, digest = Path(folder.name, "input"), hashlib.sha256()
    with saved.open("wb") as file:
        while raw := _next(reading):
            file.write(raw)
            digest.update(raw)
    if reading.kind == "binary":
        return SpooledInput(folder, saved.rename(saved.with_name("standard_input")), digest.hexdigest())
    with saved.open("rb") as file:
        first = file.readline(reading.limits.max_line_bytes)
    path = saved.with_name("standard_input.jsonl" if _is_object(first) else "standard_input.txt")
    return SpooledInput(folder, saved.rename(path), digest.hexdigest())


def _next(reading: Reading) -> bytes:
    try:
        while not select.select([0], [], [], _WAIT_SECONDS)[0]:
            reading.raise_if_stopped()
        reading.raise_if_stopped()
        return os.read(0, _STEP_BYTES)
    except (OSError, ValueError) as error:
        raise DataError(f"standard input cannot be read ({error}); pipe the texts in, or give a folder") from error


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
