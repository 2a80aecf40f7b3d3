"""Packages come through the ordinary clients, only named files are read, and nothing of a package runs."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.fetching import registries
from revlm.fetching.composing import compose
from revlm.fetching.failure import SourceFailure
from revlm.fetching.registries import npm_files, pypi_files
from tests.fetching.library import write_archive

Programs = Callable[[str, str], None]


@pytest.fixture
def only_pip_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_npm_pack_gives_the_named_files_in_their_order(tmp_path: Path, programs: Programs) -> None:
    package = tmp_path / "sea-1.0.0.tgz"
    write_archive(package, {"package/data/a.txt": b"a", "package/data/b.txt": b"b", "package/other": b"-"})
    programs("npm", f'echo "$PWD $*" > {tmp_path}/asked\ncp {package} .')
    assert npm_files("@texts/sea@1.0.0", ["data/b.txt", "data/a.txt"]) == [b"b", b"a"]
    folder, *asked = (tmp_path / "asked").read_text().split()
    assert asked[0] == "pack"
    assert asked[-1] == "@texts/sea@1.0.0"
    assert "--ignore-scripts" in asked
    assert not Path(folder).exists()


def test_a_file_that_the_package_lacks_is_named(tmp_path: Path, programs: Programs) -> None:
    write_archive(tmp_path / "sea.tgz", {"package/a.txt": b"a"})
    programs("npm", f"cp {tmp_path}/sea.tgz .")
    with pytest.raises(SourceFailure, match=r"sea\.tgz holds no b\.txt"):
        npm_files("sea@1", ["a.txt", "b.txt"])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'npm error code E404' >&2; exit 1", "npm failed: npm error code E404"),
        ("exit 1", "npm failed: it said nothing"),
        ("exit 0", "0 archives"),
        ("echo half > sea.tgz", "no whole archive"),
    ],
)
def test_a_client_that_fails_is_quoted(programs: Programs, script: str, reason: str) -> None:
    programs("npm", script)
    with pytest.raises(SourceFailure, match=reason):
        npm_files("sea@1", ["a.txt"])


def test_an_archive_that_breaks_off_is_no_package(tmp_path: Path, programs: Programs) -> None:
    write_archive(tmp_path / "whole.tgz", {"package/a.txt": os.urandom(10_000)})
    (tmp_path / "half.tgz").write_bytes((tmp_path / "whole.tgz").read_bytes()[:5_000])
    programs("npm", f"cp {tmp_path}/half.tgz .")
    with pytest.raises(SourceFailure, match="no whole archive"):
        npm_files("sea@1", ["a.txt"])


def test_a_client_that_hangs_is_left(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "CLIENT_TIMEOUT_SECONDS", 0.1)
    programs("npm", "exec sleep 30")
    with pytest.raises(SourceFailure, match="npm gave nothing"):
        npm_files("sea@1", ["a.txt"])


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_pip_on_path: None) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceFailure, match="npm is not installed"):
        npm_files("sea@1", ["a.txt"])
    with pytest.raises(SourceFailure, match="pip is not installed"):
        pypi_files("sea==1#sha256=00", ["a.txt"])


def test_pip_is_held_to_the_pinned_digest(tmp_path: Path, programs: Programs, only_pip_on_path: None) -> None:
    package = tmp_path / "sea-1.tar.gz"
    write_archive(package, {"sea-1/a.txt": b"a"})
    programs("pip", f'echo "$*" > {tmp_path}/asked\ncat requirements.txt >> {tmp_path}/asked\ncp {package} .')
    assert pypi_files("sea==1#sha256=0123", ["a.txt"]) == [b"a"]
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("download ")
    assert "--require-hashes" in asked
    assert "sea==1 --hash=sha256:0123" in asked


def test_the_real_pip_runs_nothing_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    index = tmp_path / "index"
    index.mkdir()
    setup = f"open({str(ran)!r}, 'w').close()\nimport setuptools\nsetuptools.setup()\n"
    sha256 = write_archive(
        index / "calm_sea-1.0.tar.gz",
        {
            "calm_sea-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: calm-sea\nVersion: 1.0\n",
            "calm_sea-1.0/setup.py": setup.encode(),
            "calm_sea-1.0/sea.txt": b"It was calm.\n",
        },
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    assert pypi_files(f"calm-sea==1.0#sha256={sha256}", ["sea.txt"]) == [b"It was calm.\n"]
    assert not ran.exists()
    with pytest.raises(SourceFailure, match="pip failed: ERROR"):
        pypi_files(f"calm-sea==1.0#sha256={'0' * 64}", ["sea.txt"])
    assert not ran.exists()


def test_text_files_become_one_text_in_order() -> None:
    assert compose("Sea", ["a.txt", "b.txt"], [b"\nFirst.\n\n", "Zweites ä.\n".encode()]) == (
        "First.\n\n\nZweites ä.\n".encode()
    )


def test_verses_become_books_chapters_and_verses_in_order() -> None:
    lines = [
        '{"book": "Sea", "chapter": 1, "verse": 1, "text": "It was calm."}',
        '{"book": "Sea", "chapter": 1, "verse": 2, "text": "It was night."}',
        '{"book": "Shore", "chapter": 1, "verse": 1, "text": "It was far."}',
    ]
    text = compose("The Water", ["water.jsonl"], ["\n".join(lines).encode()]).decode()
    assert text == ("The Water\n\n\nSea\n\n\n1:1 It was calm.\n\n1:2 It was night.\n\n\nShore\n\n\n1:1 It was far.\n")


@pytest.mark.parametrize("content", [b"{", b'{"book": "Sea"}', b"\xff", b"[1]"])
def test_a_file_that_holds_something_else_is_named(content: bytes) -> None:
    with pytest.raises(SourceFailure, match=r"water\.jsonl cannot be read"):
        compose("The Water", ["water.jsonl"], [content])
