"""An invented library on loopback, an invented table of titles, and clients of package registries."""

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
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts shell scripts on PATH, before everything else."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write
