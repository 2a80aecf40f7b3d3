"""A text counts as had only when it is whole, text, and of the right title."""

import pytest

from revlm.fetching import download, gutenberg
from revlm.fetching.deadline import Deadline
from revlm.fetching.failure import SourceFailure
from revlm.fetching.gutenberg import fetch_gutenberg, header_title, text_paths
from tests.fetching.library import Library, Page, ebook

TITLE = "The Lighthouse; or, A Calm Night"
FIRST, *OTHERS = (f"/{path}" for path in text_paths("123"))


def get(library: Library, title: str | None = TITLE) -> bytes:
    return fetch_gutenberg("123", Deadline(30), title=title, mirror=library.url)


def test_the_paths_are_those_of_the_site_and_its_mirrors() -> None:
    assert text_paths("2554") == [
        "cache/epub/2554/pg2554.txt",
        "files/2554/2554-0.txt",
        "2/5/5/2554/2554-0.txt",
    ]
    assert text_paths("7")[-1] == "0/7/7-0.txt"


@pytest.mark.parametrize("path", [FIRST, *OTHERS])
def test_the_text_comes_as_it_is_from_whichever_path_has_it(library: Library, path: str) -> None:
    library.pages[path] = Page(ebook(TITLE))
    assert get(library) == ebook(TITLE)


def test_a_mirror_may_end_in_a_slash(library: Library) -> None:
    library.pages[FIRST] = Page(ebook(TITLE))
    assert fetch_gutenberg("123", Deadline(30), title=TITLE, mirror=library.url + "/") == ebook(TITLE)


def test_a_missing_text_names_every_address_that_was_asked(library: Library) -> None:
    with pytest.raises(SourceFailure) as failure:
        get(library)
    assert all(f"{library.url}{path} answered 404" in str(failure.value) for path in (FIRST, *OTHERS))


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        pytest.param(Page(ebook(TITLE), content_length=10**6), "truncated", id="shorter than announced"),
        pytest.param(Page(ebook(TITLE), content_length="all"), "announces a length of 'all'", id="no number"),
        pytest.param(Page(ebook(TITLE)[:-400], announces_length=False), "truncated", id="no end mark"),
        pytest.param(Page(b"<!DOCTYPE html><html>The Lighthouse; or, A Calm Night</html>"), "web page", id="page"),
        pytest.param(Page(b"  \n<html>not here</html>"), "web page", id="page without doctype"),
        *(
            pytest.param(Page(page.format(TITLE).encode()), "web page", id=page[:20])
            for page in (
                "<!-- a comment --><html>{}</html>",
                "<!-- {} -->" + "x" * 9000,
                "\ufeff\n<head><title>{}</title></head>",
                "<?xml version='1.0'?><html>{}</html>",
                "<?php {} ?>",
                "<body>{}",
                "<p>{}</p>",
                "<svg>{}</svg>",
                "Please log in first.\n<form action='/'>{}</form>",
                "Moved\n\n<HTML><HEAD>\n{}",
                "The Project Gutenberg eBook of {}\n<pre>\n*** START OF THE PROJECT GUTENBERG EBOOK ***\n",
                "<!DOCTYPE html>\n{}\n*** START OF THE PROJECT GUTENBERG EBOOK ***\n<p>",
            )
        ),
        pytest.param(Page(ebook("The Harbour")), "'The Harbour', not 'The Lighthouse", id="another title"),
        pytest.param(Page(ebook(TITLE).replace(b"calm", b"\xff\xfe")), r"not UTF-8 text \(byte \d+\)", id="bytes"),
        pytest.param(Page(ebook(TITLE).replace(b"calm", b"\0\0")), "not text", id="zero bytes"),
        pytest.param(Page(b"\n"), "not text", id="nothing"),
    ],
)
def test_what_is_not_the_whole_text_of_the_title_is_refused(library: Library, page: Page, reason: str) -> None:
    library.pages[FIRST] = page
    with pytest.raises(SourceFailure, match=reason):
        get(library)
    assert library.asked == [FIRST]


def test_accents_case_and_punctuation_of_a_title_do_not_matter(library: Library) -> None:
    library.pages[FIRST] = Page(ebook("THE LIGHTHÖUSE, Or A Calm Night: Complete"))
    assert get(library)


def test_a_part_of_a_word_is_no_title(library: Library) -> None:
    library.pages[FIRST] = Page(ebook("Emmaline"))
    with pytest.raises(SourceFailure, match="Emmaline"):
        get(library, title="Emma")


def test_a_number_without_a_known_title_takes_what_is_there(library: Library) -> None:
    library.pages[FIRST] = Page(ebook("The Harbour"))
    assert header_title(get(library, title=None)) == "The Harbour"


def test_a_server_that_stalls_is_left(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.1)
    library.pages[FIRST] = Page(stalls=True)
    with pytest.raises(SourceFailure, match="timed out"):
        get(library)
    assert library.asked == [FIRST]


def test_a_text_too_large_for_a_novel_is_refused(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gutenberg, "LARGEST_TEXT_BYTES", 100)
    library.pages[FIRST] = Page(ebook(TITLE))
    with pytest.raises(SourceFailure, match="larger than 100 bytes"):
        get(library)


@pytest.mark.parametrize("mirror", ["http://127.0.0.1:9", "not an address", "http://127.0.0.1:port"])
def test_an_address_that_cannot_be_reached_is_named(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(SourceFailure, match=mirror):
        fetch_gutenberg("123", Deadline(30), title=TITLE, mirror=mirror)


def test_angles_inside_a_text_make_it_no_page(library: Library) -> None:
    header = "Produced by A. Nobody <nobody@example.org>\r\n<abc@example.org>\r\n"
    page = ebook(TITLE, body="He wrote <html> and </p> on the wall.\n" * 40)
    library.pages[FIRST] = Page(page.replace(b"Author: Nobody", header.encode() + b"Author: Nobody"))
    assert get(library)
