"""The recipe that lies in a run folder: it means that folder, and the data that the run was trained on."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from revlm.errors import StorageError
from revlm.records.files import CHECKPOINTS, ENVIRONMENT, METRICS, RECIPE
from revlm.storage import Folder

TRAINED_IN = "trained_in"
"""the key of environment.json for the folder that relative paths of the recipe begin in, itself relative to the run
folder where that lies in it: both can then move together"""


def run_folder_of(recipe: Path) -> Path | None:
    """The run folder that a recipe lies in, also after it was copied or moved; None where it lies in none."""
    folder = recipe.parent
    is_in_run = recipe.name == RECIPE and any(os.path.lexists(folder / name) for name in (CHECKPOINTS, METRICS))
    return folder if is_in_run else None


def trained_in(run: Path) -> str:
    """What environment.json holds of the working directory of a run that trains now."""
    here, run = Path.cwd(), run.resolve()
    return os.path.relpath(here, run) if run.is_relative_to(here) else str(here)


def look_where_trained(values: dict[str, Any], run: Path) -> None:
    """Replaces relative paths of a recipe's values that lead nowhere here, and somewhere from where its run trained."""
    base = _trained_in(run)
    data = values.get("data")
    if base is None or not isinstance(data, dict):
        return

    def found(path: Any) -> Any:
        if not isinstance(path, str) or not path or path.startswith(("hf:", "~")) or os.path.exists(path):
            return path
        there = os.path.normpath(base / path)
        return there if os.path.exists(there) else path

    for key in ("path", "tokenizer", "stream"):
        if key in data:
            data[key] = _each(data[key], found)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """A path, a list of paths, or sections that hold one as `path` or `corpus`, with each path changed."""
    if isinstance(value, list):
        return [_each(inner, change) for inner in value]
    if isinstance(value, dict):
        return value | {key: change(value[key]) for key in ("path", "corpus") if key in value}
    return change(value)


def _trained_in(run: Path) -> Path | None:
    try:
        with Folder(run) as folder:
            found = json.loads(folder.read(ENVIRONMENT))[TRAINED_IN]
    except (OSError, StorageError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return Path(os.path.abspath(run / found)) if isinstance(found, str) and "\0" not in found else None
