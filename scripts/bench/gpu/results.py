"""The result file, written after each part, from which a benchmark resumes."""

import hashlib
import json
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.gpu.plan import Part, Result

# What the numbers depend on; the rest of the head describes the run that measured last.
_DECISIVE = ("device", "versions", "d_model", "layers", "sources")


class OtherResults(Exception):
    """The file holds results of another device, version or shape."""


class Results:
    """The results by part, and a `head` of what they have in common; both in `file`, if it exists."""

    def __init__(self, file: Path, head: dict[str, Any]) -> None:
        self.file, self.head = file, head
        self.by_part: dict[Part, Result] = {}
        if not file.exists():
            return
        content = json.loads(file.read_text())
        other = [key for key in _DECISIVE if content["head"].get(key) != head[key]]
        if other:
            raise OtherResults(
                f"{file} holds results with other {' and '.join(other)}: give another --output, or delete the file"
            )
        self.head = content["head"]
        self.by_part = {Part(**each["part"]): each["result"] for each in content["results"]}

    def write(self) -> None:
        """Writes the file; it is whole whenever this is interrupted."""
        rows = [{"part": part._asdict(), "result": result} for part, result in self.by_part.items()]
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"head": self.head, "results": rows}, indent=2) + "\n")
        os.replace(new, self.file)


def versions() -> dict[str, str]:
    """Returns the versions of PyTorch and Triton, where they are installed."""
    return dict(_versions_of("torch", "triton"))


def digest_of_sources(repository: Path) -> str:
    """Returns a digest of the code that is measured and of the benchmark."""
    digest = hashlib.sha256()
    for folder in ("revlm/model", "revlm/ops", "scripts/bench"):
        for path in sorted(repository.joinpath(folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _versions_of(*packages: str) -> Iterator[tuple[str, str]]:
    for package in packages:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
