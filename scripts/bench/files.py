"""What a benchmark leaves on disk, and the machine that it describes itself with."""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.pictures import depth_picture, memory_picture, time_picture
from bench.schedule import Plan
from bench.summary import Measurement, Row
from revlm.errors import StorageError
from revlm.report.files import write_whole
from revlm.runs import describe_environment
from revlm.runs.files import json_bytes

_PEERS = ("transformers", "reformer-pytorch")


def machine() -> dict[str, Any]:
    """Returns the machine and the versions, those of the peers included; None where one is not installed."""
    described = describe_environment("cpu")
    return {**described, "packages": {**described["packages"], **{name: _version(name) for name in _PEERS}}}


def make_folder(folder: Path) -> None:
    """Makes the folder of results.

    Raises:
        StorageError: where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made ({error.strerror}): give another folder to --output") from error


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Writes the results, whole or not at all. Raises StorageError."""
    write_whole(file, json_bytes(content))


def write_pictures(folder: Path, rows: Sequence[Row], plan: Plan) -> list[Path]:
    """Writes time.png and memory.png where lengths were compared, depth.png where depths were. Raises StorageError."""
    pictures = {}
    if len(plan.lengths) > 1:
        pictures["time.png"] = time_picture(rows, plan.layers[0])
        pictures["memory.png"] = memory_picture(rows, plan.layers[0])
    if len(plan.layers) > 1:
        pictures["depth.png"] = depth_picture(rows, plan.depth_tokens)
    for name, content in pictures.items():
        write_whole(folder / name, content)
    return [folder / name for name in pictures]


def raw(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Returns every repetition as it was measured."""
    return [{**each.task.to_json(), **each.result} for each in measurements]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
