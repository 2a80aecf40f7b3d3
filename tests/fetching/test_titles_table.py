"""The bundled table of titles is whole, and names and numbers find their rows."""

import pytest

from revlm.errors import UsageError
from revlm.fetching import find_title, known_titles


def test_every_row_is_complete() -> None:
    titles = known_titles()
    assert len(titles) >= 30
    for title in titles.values():
        assert title.title
        assert title.author
        assert title.name == title.name.lower().replace(" ", "-")
        for source in title.sources:
            assert source.license
            assert source.kind in ("gutenberg", "npm", "pypi")
            if source.kind == "gutenberg":
                assert source.location.isdigit()
            else:
                assert source.files
                assert source.bytes
                assert len(source.sha256 or "") == 64


def test_project_gutenberg_comes_first_and_no_number_twice() -> None:
    titles = known_titles().values()
    numbers = [title.sources[0].location for title in titles]
    assert all(title.sources[0].kind == "gutenberg" for title in titles)
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("crime-and-punishment", ["gutenberg"]),
        ("moby-dick", ["gutenberg", "npm"]),
        ("bible", ["gutenberg", "pypi"]),
    ],
)
def test_the_demo_titles_have_their_sources(name: str, kinds: list[str]) -> None:
    assert [source.kind for source in find_title(name).sources] == kinds


@pytest.mark.parametrize("asked", ["crime-and-punishment", "Crime and Punishment", "2554", " 2554 ", "02554"])
def test_a_title_is_found_by_name_and_number(asked: str) -> None:
    assert find_title(asked).name == "crime-and-punishment"


def test_a_number_outside_the_table_has_project_gutenberg_alone() -> None:
    title = find_title("48888")
    assert (title.name, title.title) == ("gutenberg-48888", None)
    assert [(source.kind, source.location) for source in title.sources] == [("gutenberg", "48888")]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("moby-dik", "moby-dick"), ("war-and-piece", "war-and-peace"), ("0", "start at 1"), ("", "--list")],
)
def test_an_unknown_name_gets_the_nearest_known_ones(asked: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        find_title(asked)
