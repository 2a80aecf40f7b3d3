import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.errors import StorageError
from revlm.storage import Folder, replace_file, staging_name, write_file


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that no work in `tmp_path / "folder"` may touch."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "outside"
    path.write_text("keep")
    return path


@pytest.mark.parametrize(
    "work",
    [
        lambda folder: folder.open("name"),
        lambda folder: folder.open("name", os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        lambda folder: folder.read("name"),
        lambda folder: folder.sha256("name"),
        lambda folder: folder.inside("name"),
        lambda folder: folder.inside("name", create=True),
    ],
)
def test_no_link_is_followed(outside: Path, work: Callable[[Folder], object]) -> None:
    (outside.parent / "folder" / "name").symlink_to(outside)
    with Folder(outside.parent / "folder") as folder, pytest.raises(StorageError, match="is a symbolic link"):
        work(folder)
    assert outside.read_text() == "keep"


def test_a_link_is_replaced_and_removed_as_a_link(outside: Path) -> None:
    for name in ("replaced", "removed"):
        (outside.parent / "folder" / name).symlink_to(outside)
    with Folder(outside.parent / "folder") as folder:
        folder.replace("replaced", b"new")
        folder.remove("removed")
        assert folder.names() == ["replaced"]
        assert folder.read("replaced") == b"new"
    assert outside.read_text() == "keep"


def test_a_new_file_is_not_written_over_another(outside: Path) -> None:
    (outside.parent / "link").symlink_to(outside)
    for name in ("outside", "link"):
        with pytest.raises(FileExistsError):
            write_file(outside.parent / name, b"new")
    assert outside.read_text() == "keep"


def test_a_folder_is_removed_without_what_its_links_lead_to(outside: Path) -> None:
    inner = outside.parent / "folder" / "inner"
    inner.mkdir()
    (inner / "file").symlink_to(outside)
    (inner / "folder").symlink_to(outside.parent)
    with Folder(outside.parent / "folder") as folder:
        folder.remove("inner")
    assert outside.read_text() == "keep"


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with Folder(tmp_path) as folder, pytest.raises(StorageError, match="is not a regular file"):
        folder.read("pipe")


def test_the_folder_itself_may_be_reached_through_a_link_unless_it_may_not(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with Folder(tmp_path / "link") as folder:
        assert folder.names() == []
    with pytest.raises(StorageError, match="is a symbolic link"):
        Folder(tmp_path / "link", through_links=False)


def test_staging_names_cannot_be_foreseen(tmp_path: Path) -> None:
    assert len({staging_name("report.html") for _ in range(100)}) == 100


def test_what_a_killed_write_left_goes_with_the_next_and_what_is_foreign_or_in_work_stays(tmp_path: Path) -> None:
    names = [staging_name("file") for _ in range(2)]
    for name in (*names, staging_name("other"), ".staging-file", ".file.12.staging"):
        (tmp_path / name).touch()
    in_work = os.open(tmp_path / names[0], os.O_RDONLY)
    fcntl.flock(in_work, fcntl.LOCK_EX)
    before = {path.name for path in tmp_path.iterdir()}
    replace_file(tmp_path / "file", b"new")
    assert {path.name for path in tmp_path.iterdir()} == before - {names[1]} | {"file"}
    os.close(in_work)
    with Folder(tmp_path) as folder:
        folder.remove_unfinished()
        assert folder.names() == [".file.12.staging", ".staging-file", "file"]


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path, letter: str) -> None:
    name = letter * (255 // len(letter.encode()))
    left, other = staging_name(name), staging_name(name[1:] + "y")
    for each in (left, other):
        (tmp_path / each).touch()
    replace_file(tmp_path / name, b"new")
    assert {path.name for path in tmp_path.iterdir()} == {name, other}


def test_an_endless_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("revlm.storage.folder._READ_BYTES", 1000)
    write_file(tmp_path / "state.json", b" " * 1001)
    with Folder(tmp_path) as folder, pytest.raises(StorageError, match=r"state.json is larger than 1,000 bytes"):
        folder.read("state.json")
    replace_file(tmp_path / "state.json", b" " * 1000)
    with Folder(tmp_path) as folder:
        assert len(folder.read("state.json")) == 1000
