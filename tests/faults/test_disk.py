"""A disk that is full or cannot be written, and a folder that another run holds."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.errors import StorageError
from revlm.recipe import Recipe, load_recipe
from revlm.training import train
from tests.faults.training import assert_undisturbed, outcome, write_recipe

Remount = Callable[[str], None]


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Recipe]:
    """The recipe of `training`, whose run stands in the folder that is given."""
    place = write_recipe(tmp_path / "recipe")

    def of(folder: Path, *overrides: str) -> Recipe:
        given = [f"data.path={place / 'tokens'}", f"output_dir={folder / 'run'}", *overrides]
        return load_recipe(place / "recipe.yaml", given)

    return of


def test_a_disk_too_small_is_found_before_the_first_step(
    recipe: Callable[..., Recipe], small_disk: Path, remount: Remount
) -> None:
    with pytest.raises(StorageError, match=r"disk full: a run with 3 more checkpoints .* lower checkpoint\.keep_last"):
        next(train(recipe(small_disk)))
    assert not (small_disk / "run" / "metrics.jsonl").exists()
    remount("size=20m")
    assert next(train(recipe(small_disk)))["step"] == 1


@pytest.mark.parametrize("free_bytes", [0, 30_000])
def test_a_disk_that_fills_while_a_run_goes_on(
    recipe: Callable[..., Recipe], tmp_path: Path, small_disk: Path, remount: Remount, free_bytes: int
) -> None:
    """Full in the midst of the journal, and with room for it but not for the next checkpoint."""
    list(train(recipe(tmp_path)))
    remount("size=10m")
    records = train(recipe(small_disk))
    assert [next(records)["step"] for _ in range(3)] == [1, 2, 3]
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - free_bytes))
    with pytest.raises(StorageError, match="disk full") as raised:
        list(records)
    assert raised.value.exit_code == 6
    with pytest.raises(StorageError, match="disk full"):
        list(train(recipe(small_disk)))
    filler.unlink()
    list(train(recipe(small_disk)))
    found, expected = (outcome(folder) for folder in (small_disk, tmp_path))
    for each in (found, expected):
        each["files"].pop("recipe.yaml")  # it names its folder
    assert_undisturbed(found, expected, "full disk")


def test_a_disk_that_becomes_read_only(recipe: Callable[..., Recipe], small_disk: Path, remount: Remount) -> None:
    remount("size=20m")
    records = train(recipe(small_disk))
    assert next(records)["step"] == 1
    records.close()
    remount("ro")
    with pytest.raises(StorageError, match=r"Read-only file system.*give a folder that can be read and written"):
        list(train(recipe(small_disk)))
    with pytest.raises(StorageError, match="Read-only file system"):
        list(train(recipe(small_disk / "other")))


def test_two_runs_in_one_folder(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    first = train(recipe(tmp_path))
    assert next(first)["step"] == 1
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(StorageError, match=r"in use by process \d+ on .*give another output_dir"):
        next(train(recipe(tmp_path)))
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    first.close()
    assert next(train(recipe(tmp_path)))["step"] == 1
