"""An invented library on loopback, which is also the package registries' mirror, and an invented table of titles."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from revlm.fetching import titles
from tests.fetching.library import Library, open_library


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with open_library() as library:
        yield library


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces the bundled table by rows of (name, title, source, files, sha256)."""

    def write(*rows: tuple[str, str, str, str, str]) -> None:
        lines = ["name\ttitle\tauthor\tlicense\tsource\tfiles\tbytes\tsha256"]
        lines += [
            f"{name}\t{title}\tNobody\tinvented\t{source}\t{files}\t\t{sha256}"
            for name, title, source, files, sha256 in rows
        ]
        path = tmp_path / "titles.tsv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        monkeypatch.setattr(titles, "bundled_path", lambda name: path)

    return write


@pytest.fixture
def registries(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets npm and pip up for that library alone."""
    for name in list(os.environ):
        if name.lower().startswith(("npm_config_", "pip_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("npm_config_registry", f"{library.url}/npm/")
    monkeypatch.setenv("npm_config_userconfig", os.devnull)
    monkeypatch.setenv("npm_config_globalconfig", os.devnull)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{library.url}/simple/")
