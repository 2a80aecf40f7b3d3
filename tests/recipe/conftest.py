from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recipe.texts import SHORTEST


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe into a file."""

    def write_recipe(text: str | bytes = SHORTEST, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write_recipe
