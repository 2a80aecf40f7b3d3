"""Decides which tokenizations are measured, in which order: systems alternate, each in a separate process."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bench.tokenizing.ids import Ids, ids_of_store
from bench.watched import MemoryWatch, run_watched, tree_bytes
from revlm.imports import python_module

# Between two samples of the memory of all processes.
SAMPLE_SECONDS = 0.05
PLAIN, REVLM = "plain", "revlm"

TextName = Literal["corpus", "half", "line"]


class Cell(NamedTuple):
    """The key of a row: `workers` is the option of `revlm tokenize`, None for plain SentencePiece."""

    system: str
    workers: int | None
    text: TextName


@dataclass(frozen=True)
class Text:
    """A folder or file to tokenize, and its size in bytes."""

    path: Path
    bytes: int


@dataclass(frozen=True)
class Suite:
    """Plain SentencePiece and revlm with each number of workers on the corpus; the last number also on half of it.

    Each runs once untimed with its memory sampled, which takes time, then `repeats` times timed without sampling. The
    single line comes last, once, by revlm with the last number of workers, timed and sampled.
    """

    tokenizer: Path
    texts: Mapping[TextName, Text]
    workers: Sequence[int]
    repeats: int
    seconds_limit: float
    memory_limit_bytes: int
    scratch: Path

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain values, without file paths."""
        return {
            "bytes": {name: text.bytes for name, text in self.texts.items()},
            "workers": list(self.workers),
            "repeats": self.repeats,
            "seconds_limit": self.seconds_limit,
            "memory_limit_bytes": self.memory_limit_bytes,
            "look_seconds": SAMPLE_SECONDS,
        }

    def turns(self) -> Iterator[tuple[Cell, bool, bool]]:
        """Yields each cell, whether it is timed, and whether its memory is sampled."""
        cells = [Cell(PLAIN, None, "corpus")]
        cells += [Cell(REVLM, workers, "corpus") for workers in self.workers]
        cells += [Cell(REVLM, self.workers[-1], "half")]
        yield from ((cell, False, True) for cell in cells)
        for repeat in range(self.repeats):
            yield from ((cell, True, False) for cell in (cells if repeat % 2 == 0 else reversed(cells)))
        if "line" in self.texts:
            yield Cell(REVLM, self.workers[-1], "line"), True, True


@dataclass(frozen=True)
class Measurement:
    """The result of one process: `status` and numbers of `bench.watched`, `seconds` where timed, and the ids."""

    cell: Cell
    result: Mapping[str, Any]
    ids: Mapping[str, Ids] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain values, without the ids."""
        return {**self.cell._asdict(), **self.result}


def measurements(suite: Suite) -> Iterator[Cell | Measurement]:
    """Yields each cell when its process starts, and its measurement; a cell that did not finish is not repeated."""
    undone = set()
    for cell, timed, seen in suite.turns():
        if cell in undone:
            continue
        yield cell
        measurement = _measure(suite, cell, timed, seen)
        if measurement.result["status"] != "done":
            undone.add(cell)
        yield measurement


def _measure(suite: Suite, cell: Cell, timed: bool, seen: bool) -> Measurement:
    with tempfile.TemporaryDirectory(dir=suite.scratch) as folder:
        made = Path(folder, "made")
        memory = MemoryWatch(tree_bytes, SAMPLE_SECONDS, suite.memory_limit_bytes) if seen else None
        result = run_watched(_command(suite, cell, made), seconds_limit=suite.seconds_limit, memory=memory)
        if result["status"] != "done":
            return Measurement(cell, result)
        if cell.system == PLAIN:
            left = json.loads(made.read_text())
            ids = {source: Ids(*each) for source, each in left["documents"].items()}
            seconds = left["encode_seconds"]
        else:
            ids = ids_of_store(made)
            seconds = result["process_seconds"]
        return Measurement(cell, {**result, "seconds": seconds} if timed else result, ids)


def _command(suite: Suite, cell: Cell, made: Path) -> list[str]:
    text = suite.texts[cell.text].path
    if cell.system == PLAIN:
        return python_module("bench.tokenizing.plain", suite.tokenizer, text, made)
    options = ("--tokenizer", suite.tokenizer, "--workers", cell.workers)
    return python_module("revlm", "tokenize", text, "-o", made, "--follow-links", *options)
