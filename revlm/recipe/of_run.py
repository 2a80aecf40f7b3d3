"""The recipe in a run folder: it stands for that folder, and for the data that the run was trained on."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from revlm.errors import StorageError
from revlm.records.files import CHECKPOINTS, ENVIRONMENT, METRICS, RECIPE
from revlm.storage import Folder

TRAINED_IN = "trained_in"
"""the key of environment.json for the working directory that the recipe's relative paths start from; itself relative to
the run folder if that is inside it, so that both can be moved together"""


def run_folder_of(recipe: Path) -> Path | None:
    """The run folder that holds a recipe, even if it was copied or moved; None if no run folder holds it."""
    folder = recipe.parent
    is_in_run = recipe.name == RECIPE and any(os.path.lexists(folder / name) for name in (CHECKPOINTS, METRICS))
    return folder if is_in_run else None


def trained_in(run: Path) -> str:
    """The value of TRAINED_IN for a run that trains in the current working directory."""
    here, run = Path.cwd(), run.resolve()
    return os.path.relpath(here, run) if run.is_relative_to(here) else str(here)


def resolve_where_trained(values: dict[str, Any], run: Path) -> None:
    """Resolves data paths that do not exist here, but do relative to the folder where the run was trained."""
    base = _trained_in(run)
    data = values.get("data")
    if base is None or not isinstance(data, dict):
        return

    def resolved(path: Any) -> Any:
        if not isinstance(path, str) or not path or path.startswith(("hf:", "~")) or os.path.exists(path):
            return path
        there = os.path.normpath(base / path)
        return there if os.path.exists(there) else path

    for key in ("path", "tokenizer", "stream"):
        if key in data:
            data[key] = _map_paths(data[key], resolved)


def _map_paths(value: Any, change: Callable[[Any], Any]) -> Any:
    """Applies `change` to a path, to each path of a list, or to the `path` or `corpus` of a section."""
    if isinstance(value, list):
        return [_map_paths(inner, change) for inner in value]
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
