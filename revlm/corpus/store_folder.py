"""Which folders are token stores: what reads one, and what looks for texts, asks before anything in it is opened."""

import json
from pathlib import Path

MANIFEST = "manifest.json"
FORMAT = "revlm token store"


def is_store(folder: Path) -> bool:
    """Returns whether a folder has the manifest of a token store, of whatever version."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def store_files(folder: Path) -> list[str] | None:
    """Returns the names of the files of a token store, its manifest last; None where a folder is no store."""
    if not is_store(folder):
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        named = [name for name in manifest["files"] if Path(name).name == name and name != MANIFEST]
    except (OSError, ValueError, KeyError, TypeError):
        named = []
    return [*named, MANIFEST]
