"""The shortest recipe, and what is said of a bad one."""

from pathlib import Path

import pytest

from revlm.errors import UsageError
from revlm.recipe import load_recipe

SHORTEST = "data: {path: data/tokens}\n"


def problem(path: Path | str, *overrides: str) -> str:
    """The error of a recipe."""
    with pytest.raises(UsageError) as raised:
        load_recipe(path, overrides)
    return str(raised.value)
