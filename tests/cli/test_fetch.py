"""`revlm fetch` against a library on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from revlm.cli.fetch import fetch
from revlm.errors import DataError, UsageError
from revlm.fetching import known_titles
from tests.fetching.library import Library, Page, ebook, open_library

app = typer.Typer()
app.command()(fetch)
TITLE = "Crime and Punishment"
PAGE = "/cache/epub/2554/pg2554.txt"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with open_library() as library:
        yield library


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_results_go_to_standard_output_and_messages_to_standard_error(library: Library, tmp_path: Path) -> None:
    library.pages[PAGE] = Page(ebook(TITLE))
    result = invoke("crime-and-punishment", "-o", tmp_path, "--mirror", library.url)
    assert result.exit_code == 0
    path = tmp_path / "crime-and-punishment.txt"
    assert path.read_bytes() == ebook(TITLE)
    assert str(path) in result.stdout
    assert "Project Gutenberg e-book 2554" in result.stdout
    assert "licence" in result.stdout
    assert f"next: revlm tokenize {tmp_path}" in result.stderr
    assert "next" not in result.stdout


def test_json_is_one_object(library: Library, tmp_path: Path) -> None:
    library.pages[PAGE] = Page(ebook(TITLE))
    result = invoke("2554", "-o", tmp_path, "--mirror", library.url, "--json")
    [text] = json.loads(result.stdout)["fetched"]
    assert text["title"] == TITLE
    assert Path(text["path"]).read_bytes() == ebook(TITLE)
    assert set(text) == {"title", "path", "source", "license", "bytes", "sha256"}


def test_one_title_that_cannot_be_had_does_not_stop_the_others(library: Library, tmp_path: Path) -> None:
    library.pages[PAGE] = Page(ebook(TITLE))
    result = invoke("middlemarch", "2554", "-o", tmp_path, "--mirror", library.url, "--json")
    assert isinstance(result.exception, DataError)
    assert "middlemarch" in str(result.exception)
    assert [text["title"] for text in json.loads(result.stdout)["fetched"]] == [TITLE]


@pytest.mark.parametrize("names", [["2554", "crime-and-punishmant"], []])
def test_wrong_use_brings_nothing(library: Library, tmp_path: Path, names: list[str]) -> None:
    library.pages[PAGE] = Page(ebook(TITLE))
    result = invoke(*names, "-o", tmp_path, "--mirror", library.url)
    assert isinstance(result.exception, UsageError)
    assert library.asked == []


def test_the_list_shows_every_title_and_source() -> None:
    text = invoke("--list").stdout
    listed = json.loads(invoke("--list", "--json").stdout)["titles"]
    assert [title["name"] for title in listed] == list(known_titles())
    for title in known_titles().values():
        assert title.name in text
        assert all(str(source) in text for source in title.sources)


def test_help_shows_an_example() -> None:
    assert "Example: revlm fetch" in invoke("--help").stdout
