from contextlib import nullcontext
from pathlib import Path

import pytest

from revlm.errors import StorageError
from revlm.storage import Folder, put_in_place, require_replaceable, staged_folder, unfinished_name


def ours(folder: Path) -> list[str] | None:
    return ["ours"] if (folder / "ours").exists() else None


def write(target: Path, content: str) -> None:
    folder = target.with_name("staging")
    folder.mkdir(parents=True)
    (folder / "ours").write_text(content)
    put_in_place(folder, target, ours)


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    target = tmp_path / "target"
    for content in ("first", "second"):
        write(target, content)
        assert (target / "ours").read_text() == content
        assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    write(tmp_path / "target", "first")
    assert (tmp_path / "target" / "ours").read_text() == "first"


@pytest.mark.parametrize("name", ["theirs", "file"])
def test_a_folder_or_file_of_somebody_else_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes").write_text("keep")
    (tmp_path / "file").write_text("keep")
    with pytest.raises(StorageError, match="revlm did not make it; choose another"):
        require_replaceable(tmp_path / name, ours)
    with pytest.raises(StorageError, match="revlm did not make it; choose another"):
        write(tmp_path / name, "first")
    assert (tmp_path / "theirs" / "notes").read_text() == (tmp_path / "file").read_text() == "keep"


def test_what_was_there_comes_back_where_the_new_folder_cannot_take_its_place(tmp_path: Path) -> None:
    write(tmp_path / "target", "first")
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "missing", tmp_path / "target", ours)
    assert (tmp_path / "target" / "ours").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def previous_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.0123456789abcdef.previous")


def test_after_a_kill_between_the_two_renames_the_same_call_ends_the_work(tmp_path: Path) -> None:
    write(tmp_path / "target", "first")
    (tmp_path / "target").rename(previous_of(tmp_path / "target"))
    write(tmp_path / "target", "second")
    assert (tmp_path / "target" / "ours").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_file_or_folder_of_the_user_among_ours_is_refused_and_kept(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write(target, "first")
    (target / "notes").write_text("keep")
    with pytest.raises(StorageError, match="target holds notes, which revlm did not write: move it away, or choose"):
        write(target, "second")
    (target / "notes").rename(tmp_path / "notes")
    (target / "ours").unlink()
    (target / "ours").mkdir()
    with pytest.raises(StorageError, match="target holds ours, which"):
        require_replaceable(target, ours)


def test_what_is_put_into_the_old_folder_while_it_goes_stays(tmp_path: Path) -> None:
    write(tmp_path / "target", "first")
    previous = (tmp_path / "target").rename(previous_of(tmp_path / "target"))
    (previous / "notes").write_text("keep")
    write(tmp_path / "target", "second")
    assert [path.name for path in previous.iterdir()] == ["notes"]


def test_folders_and_links_of_the_user_with_names_like_ours_stay(tmp_path: Path) -> None:
    theirs = tmp_path / ".target.previous"
    theirs.mkdir()
    (theirs / "ours").write_text("keep")
    previous_of(tmp_path / "target").symlink_to(theirs)
    write(tmp_path / "target", "first")
    write(tmp_path / "target", "second")
    assert (theirs / "ours").read_text() == "keep"
    with pytest.raises(StorageError, match="revlm did not make it"):
        require_replaceable(previous_of(tmp_path / "target"), ours)


def stage(place: Path, content: bytes | None, *, replace: bool = False) -> None:
    """Writes a file in the staged folder `target`; without content it fails in the midst of it."""
    with Folder(place) as parent, staged_folder(parent, "target", replace=replace) as folder:
        folder.write_new("file", b"half" if content is None else content)
        assert not (place / "target" / "file").exists() or (place / "target" / "file").read_text() == "old"
        if content is None:
            raise KeyError


def test_a_staged_folder_gets_its_name_once_it_is_complete(tmp_path: Path) -> None:
    stage(tmp_path, b"whole")
    assert (tmp_path / "target" / "file").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_staged_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        stage(tmp_path, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("replace", [True, False])
def test_a_staged_folder_replaces_another_only_where_it_may(tmp_path: Path, replace: bool) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").write_text("old")
    with nullcontext() if replace else pytest.raises(OSError, match="not empty"):
        stage(tmp_path, b"new", replace=replace)
    assert (tmp_path / "target" / "file").read_text() == ("new" if replace else "old")
    staging = [path.name for path in tmp_path.iterdir() if path.name != "target"]
    assert [unfinished_name(name) for name in staging] == (["target"] if replace else [])
