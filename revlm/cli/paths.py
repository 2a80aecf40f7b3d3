"""Types for options and arguments that are paths."""

from pathlib import Path
from typing import Any

import typer

from revlm.storage.paths import user_path, user_text


def _path(text: str | Path) -> Path:
    try:
        return user_path(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _text(text: str) -> str:
    try:
        return text if text.startswith("hf:") else user_text(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


PATH: dict[str, Any] = {"parser": _path}
"""For an option or argument that is a path: `typer.Option(**PATH)`."""
CORPUS: dict[str, Any] = {"parser": _text}
"""For one that is a path, a pattern of paths, a hub dataset or a keyword."""
