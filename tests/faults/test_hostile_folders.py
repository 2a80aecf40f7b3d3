"""Links, foreign files, missing disks and moved folders: nothing outside is touched, and no run is taken for new."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.errors import StorageError
from revlm.runs import RunFolder, list_checkpoints
from revlm.training import train
from tests.tiny_run import tiny_recipe, write_run, write_tokens

EVERY_STEP = ("checkpoint.every=1", "checkpoint.keep_last=1", "evaluate.every=1", "evaluate.sample_tokens=2")
LONGER = (*EVERY_STEP, "train.max_steps=5")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("finished") / "run", *EVERY_STEP)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.parent, tmp_path / "copy")) / "run"


def go_on(run: Path, *overrides: str, message: Callable[[str], object] = lambda text: None) -> None:
    list(train(tiny_recipe(run, *(overrides or LONGER)), message, allow_change=True))


def link_out(path: Path, outside: Path) -> Path:
    """Moves a file or folder to `outside` and leaves a link; returns where it lies now."""
    moved = path.rename(outside / path.name)
    path.symlink_to(moved)
    return moved


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {str(each): each.read_bytes() for each in files}


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "samples", "checkpoints"])
def test_a_link_among_what_is_appended_to_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    moved = link_out(run / name, tmp_path)
    before = contents(moved)
    with pytest.raises(StorageError, match=rf"{name} is a symbolic link"):
        go_on(run)
    assert contents(moved) == before


@pytest.mark.parametrize("name", ["recipe.yaml", "environment.json", "plan.json", "checkpoints.json", "tokenizer.json"])
def test_a_link_among_what_is_replaced_is_replaced(run: Path, tmp_path: Path, name: str) -> None:
    moved = link_out(run / name, tmp_path)
    before = contents(moved)
    go_on(run)
    assert contents(moved) == before
    assert not (run / name).is_symlink()


def test_a_checkpoint_that_was_moved_away_and_linked_keeps_its_files(run: Path, tmp_path: Path) -> None:
    go_on(run, "checkpoint.every=1", "checkpoint.keep_last=2", "evaluate.every=0", "train.max_steps=4")
    moved = link_out(run / "checkpoints" / "step-00000003", tmp_path)
    before = contents(moved)
    go_on(run)
    assert contents(moved) == before
    assert [path.name for path in list_checkpoints(run)] == ["step-00000005"]


def test_a_newest_checkpoint_that_is_a_link_is_not_gone_on_from(run: Path, tmp_path: Path) -> None:
    link_out(run / "checkpoints" / "step-00000003", tmp_path)
    said: list[str] = []
    with pytest.raises(StorageError, match="none of the 1 checkpoints"):
        go_on(run, message=said.append)
    assert "it is a symbolic link" in " ".join(said)


def test_foreign_files_make_no_save_fail_and_stay(run: Path) -> None:
    foreign = [
        run / "checkpoints" / ".staging-x" / "notes",
        run / "checkpoints" / ".step-00000009.partial" / "notes",
        run / "checkpoints" / "step-00000003" / "notes",
        run / "checkpoints" / "notes",
        run / "samples" / "step-9.json",
        run / ".report.html.12.partial",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("keep")
    go_on(run)
    assert [path.read_text() for path in foreign] == ["keep"] * len(foreign)
    assert [path.name for path in (run / "checkpoints" / "step-00000003").iterdir()] == ["notes"]


def unmounted(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()


def removed(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")


def no_folder(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("")


@pytest.mark.parametrize("lose", [unmounted, removed, no_folder])
def test_a_run_whose_checkpoints_are_not_there_is_not_begun_anew(run: Path, lose: Callable[[Path], None]) -> None:
    before = contents(run / "metrics.jsonl") | contents(run / "samples")
    lose(run)
    with pytest.raises(StorageError, match=r"has saved checkpoints but|cannot be listed"):
        go_on(run)
    assert contents(run / "metrics.jsonl") | contents(run / "samples") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_of_checkpoints_that_may_not_be_read_is_not_empty(run: Path) -> None:
    (run / "checkpoints").chmod(0)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            go_on(run)
    finally:
        (run / "checkpoints").chmod(0o755)


def test_a_folder_that_the_system_does_not_list_is_not_empty(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `chmod 000` for whoever is not root."""
    listdir = os.listdir
    inode = (run / "checkpoints").stat().st_ino

    def refused(descriptor: int) -> list[str]:
        if os.fstat(descriptor).st_ino == inode:
            raise PermissionError(13, "Permission denied")
        return listdir(descriptor)

    monkeypatch.setattr(os, "listdir", refused)
    before = contents(run)
    with pytest.raises(StorageError, match="cannot be listed"):
        list_checkpoints(run)
    with pytest.raises(StorageError, match="cannot be listed"):
        go_on(run)
    monkeypatch.undo()
    assert {name: content for name, content in contents(run).items() if not name.endswith(".lock")} == {
        name: content for name, content in before.items() if not name.endswith(".lock")
    }


def moved_away(run: Path) -> None:
    run.rename(run.with_name("moved"))


def removed_whole(run: Path) -> None:
    shutil.rmtree(run)


def replaced(run: Path) -> None:
    run.rename(run.with_name("moved"))
    RunFolder.create(run)


def journal_removed(run: Path) -> None:
    (run / "metrics.jsonl").unlink()


@pytest.mark.parametrize("change", [moved_away, removed_whole, replaced, journal_removed])
def test_a_run_folder_that_changes_under_the_run_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    write_tokens(tmp_path / "tokens")
    records = train(tiny_recipe(tmp_path / "run", *EVERY_STEP, "evaluate.every=0"))
    next(records)
    change(tmp_path / "run")
    with pytest.raises(StorageError, match=r"was moved, removed or replaced|was removed or replaced while"):
        list(records)
    if change is not journal_removed:
        assert not list_checkpoints(tmp_path / "run")


def test_a_record_that_was_cut_off_is_said(run: Path) -> None:
    journal = run / "metrics.jsonl"
    lines = [line for line in journal.read_bytes().splitlines(keepends=True) if json.loads(line)["event"] == "step"]
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    said: list[str] = []
    go_on(run, message=said.append)
    assert any("has no record of step 3, which the run has trained" in text for text in said)
