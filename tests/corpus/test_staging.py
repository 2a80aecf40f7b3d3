import errno
from pathlib import Path

import pytest

from revlm.corpus.staging import staged_folder
from revlm.errors import StorageError


def ours(folder: Path) -> bool:
    return (folder / "ours").exists()


def write(target: Path, content: str, error: BaseException | None = None, meanwhile: str | None = None) -> None:
    """Stages a folder with `content`; then a foreign file may appear at the target, or the block may fail."""
    with staged_folder(target, may_replace=ours) as folder:
        (folder / "ours").write_text(content)
        assert not (target / "ours").exists() or (target / "ours").read_text() != content
        if meanwhile is not None:
            target.mkdir()
            (target / "notes").write_text(meanwhile)
        if error is not None:
            raise error


def test_the_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    write(target, "first")
    assert (target / "ours").read_text() == "first"
    write(target, "second")
    assert (target / "ours").read_text() == "second"
    assert [path.name for path in target.parent.iterdir()] == ["b"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("existed", [False, True])
def test_an_interrupted_block_leaves_what_was_there(tmp_path: Path, error: type[BaseException], existed: bool) -> None:
    target = tmp_path / "target"
    if existed:
        write(target, "first")
    with pytest.raises(error):
        write(target, "half", error())
    assert [path.name for path in tmp_path.iterdir()] == ["target"] * existed
    assert not existed or (target / "ours").read_text() == "first"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    write(tmp_path / "target", "first")
    assert (tmp_path / "target" / "ours").read_text() == "first"


def test_a_folder_or_file_of_somebody_else_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for name in ("theirs", "file"):
        with pytest.raises(StorageError, match="revlm did not make it; choose another"):
            write(tmp_path / name, "first")
    assert (tmp_path / "theirs" / "notes").read_text() == (tmp_path / "file").read_text() == "keep"


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="did not make it"):
        write(tmp_path / "target", "first", meanwhile="keep")
    assert (tmp_path / "target" / "notes").read_text() == "keep"


def test_through_a_link_the_folder_behind_it_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "real", "first")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", "second")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "ours").read_text() == "second"


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "choose another folder")]
)
def test_a_failing_disk_is_named_with_the_remedy(tmp_path: Path, number: int, remedy: str) -> None:
    write(tmp_path / "target", "first")
    with pytest.raises(StorageError, match=f"target cannot be written .*{remedy}"):
        write(tmp_path / "target", "half", OSError(number, "the disk says no"))
    assert (tmp_path / "target" / "ours").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_rename_that_fails_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "target", "first")
    rename = Path.rename

    def fail_for_staging(path: Path, to: Path) -> Path:
        if ".staging-" in path.name:
            raise OSError(errno.EIO, "input/output error")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail_for_staging)
    with pytest.raises(StorageError, match="input/output error"):
        write(tmp_path / "target", "second")
    assert (tmp_path / "target" / "ours").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
