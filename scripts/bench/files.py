"""Writes a benchmark's results, and describes the machine."""

from importlib import metadata
from pathlib import Path
from typing import Any

from revlm.errors import StorageError
from revlm.runs import describe_environment
from revlm.storage import json_bytes, replace_file, storage_errors

_PEERS = ("transformers", "reformer-pytorch")


def machine() -> dict[str, Any]:
    """Returns the machine and the versions of packages, including the peers', None where one is not installed."""
    described = describe_environment("cpu")
    return {**described, "packages": {**described["packages"], **{name: _version(name) for name in _PEERS}}}


def make_folder(folder: Path) -> None:
    """Creates the folder for results.

    Raises:
        StorageError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be created ({error.strerror}): give another folder to --output") from error


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Writes the results atomically. Raises StorageError."""
    with storage_errors(f"writing {file}"):
        replace_file(file, json_bytes(content))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
