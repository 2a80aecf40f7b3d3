from pathlib import Path

import pytest

from revlm.errors import StorageError
from revlm.storage import put_in_place, require_replaceable


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
