"""Packages come from the registries that npm and pip are set up for, whole and as recorded; nothing of them runs."""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.fetching.clients import npm_registry, pip_indexes
from revlm.fetching.composing import compose
from revlm.fetching.deadline import Deadline
from revlm.fetching.failure import SourceFailure
from revlm.fetching.registries import npm_files, pypi_files
from tests.fetching.library import Library, Page, archive_of, npm_answer

FILES = {"package/data/a.txt": b"a", "package/data/b.txt": b"b", "package/other": b"-"}
ARCHIVE = archive_of(FILES)
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()


def soon() -> Deadline:
    return Deadline(20)


@pytest.fixture
def npm(library: Library, registries: None) -> Library:
    address = f"{library.url}/sea/-/sea-1.0.0.tgz"
    library.pages["/npm/@texts%2fsea"] = Page(npm_answer("1.0.0", address, ARCHIVE))
    library.pages["/sea/-/sea-1.0.0.tgz"] = Page(ARCHIVE)
    return library


def test_npm_gives_the_named_files_in_their_order(npm: Library) -> None:
    names = ["data/b.txt", "data/a.txt"]
    for package in ("@texts/sea@1.0.0", f"@texts/sea@1.0.0#sha256={SHA256}"):
        assert npm_files(package, names, soon()) == [b"b", b"a"]
    assert npm.asked[:2] == ["/npm/@texts%2fsea", "/sea/-/sea-1.0.0.tgz"]


def test_a_file_that_the_package_lacks_is_named(npm: Library) -> None:
    with pytest.raises(SourceFailure, match=r"@texts/sea@1\.0\.0 holds no c\.txt"):
        npm_files("@texts/sea@1.0.0", ["data/a.txt", "c.txt"], soon())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Page(b"", status=404), "answered 404"),
        (Page(b"{}"), "names no version 1.0.0"),
        (Page(b"[" * 200_000), "RecursionError"),
        (Page(b'{"versions": {"1.0.0": {"dist": {"tarball": "file:///etc/passwd"}}}}'), "gives 'file:///etc/passwd'"),
        (Page(b'{"versions": {"1.0.0": {"dist": {"tarball": 7}}}}'), "gives 7"),
        (Page(b'{"versions": {"1.0.0": {"dist": "' + b"9" * 5000 + b'"}}}'), "names no version"),
        (Page(b'{"versions": ' + b"9" * 5000 + b"}"), "names no version"),
        (Page(b" " * (3 << 20)), "larger than"),
    ],
)
def test_an_answer_that_names_no_archive_is_refused(npm: Library, answer: Page, reason: str) -> None:
    npm.pages["/npm/@texts%2fsea"] = answer
    with pytest.raises(SourceFailure, match=reason):
        npm_files("@texts/sea@1.0.0", ["data/a.txt"], soon())


def test_an_archive_that_is_another_one_is_refused(npm: Library) -> None:
    npm.pages["/sea/-/sea-1.0.0.tgz"] = Page(archive_of({"package/data/a.txt": b"other"}))
    with pytest.raises(SourceFailure, match="does not match the sha512 digest"):
        npm_files("@texts/sea@1.0.0", ["data/a.txt"], soon())
    with pytest.raises(SourceFailure, match=f"the recorded one is {SHA256}"):
        npm_files(f"@texts/sea@1.0.0#sha256={SHA256}", ["data/a.txt"], soon())


def test_a_mirror_that_hands_on_npms_own_answer_gives_the_archive_too(library: Library, registries: None) -> None:
    address = "https://registry.npmjs.org/sea/-/sea-1.0.0.tgz"
    library.pages["/npm/sea"] = Page(npm_answer("1.0.0", address, ARCHIVE))
    library.pages["/npm/sea/-/sea-1.0.0.tgz"] = Page(ARCHIVE)
    assert npm_files("sea@1.0.0", ["data/a.txt"], soon()) == [b"a"]


def json_page(url: str) -> Page:
    files = [{"filename": "calm-0.tar.gz", "url": "calm-0.tar.gz", "hashes": {}}]
    files += [{"filename": "calm-1.tar.gz", "url": url, "hashes": {"sha256": SHA256}}]
    return Page(json.dumps({"files": files}).encode(), content_type="application/vnd.pypi.simple.v1+json")


def html_page(url: str) -> Page:
    return Page(f"<html><a href='x'>x</a><a href='{url}#sha256={SHA256}'>calm</a>".encode(), content_type="text/html")


@pytest.mark.parametrize("page", [json_page, html_page])
@pytest.mark.parametrize("url", ["calm-1.tar.gz", "/simple/calm-sea/calm-1.tar.gz", "{}/simple/calm-sea/calm-1.tar.gz"])
def test_pypi_gives_the_file_with_the_recorded_digest(
    library: Library, registries: None, page: Callable[[str], Page], url: str
) -> None:
    library.pages["/simple/calm-sea/"] = page(url.format(library.url))
    library.pages["/simple/calm-sea/calm-1.tar.gz"] = Page(ARCHIVE)
    assert pypi_files(f"Calm_Sea==1#sha256={SHA256}", ["data/a.txt"], soon()) == [b"a"]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (Page(b"", status=404), "answered 404"),
        (Page(b"", content_type="text/html"), "names no file|is no page"),
        (Page(b"\0", content_type="text/html"), "names no file|is no page"),
        (Page(b"[" * 200_000, content_type="application/json"), "not a page of a package index"),
        (Page(b'{"files": [{"hashes": 7}]}', content_type="application/json"), "not a page of a package index"),
        (json_page("file:///etc/passwd"), "gives 'file:///etc/passwd'"),
        (html_page("ftp://127.0.0.1/x"), "gives 'ftp:"),
        (html_page("http://[x/"), "gives 'http:|not a valid address"),
    ],
)
def test_an_index_that_names_no_such_file_is_refused(
    library: Library, registries: None, page: Page, reason: str
) -> None:
    library.pages["/simple/calm-sea/"] = page
    with pytest.raises(SourceFailure, match=reason):
        pypi_files(f"calm-sea==1#sha256={SHA256}", ["data/a.txt"], soon())


def test_the_next_index_is_asked_and_no_index_is_respected(
    library: Library, registries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"file:///nowhere {library.url}/more/")
    library.pages["/more/calm-sea/"] = json_page("calm-1.tar.gz")
    library.pages["/more/calm-sea/calm-1.tar.gz"] = Page(ARCHIVE)
    assert pypi_files(f"calm-sea==1#sha256={SHA256}", ["data/a.txt"], soon()) == [b"a"]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SourceFailure, match="without a web index"):
        pypi_files(f"calm-sea==1#sha256={SHA256}", ["data/a.txt"], soon())


def test_a_user_and_password_go_to_their_own_host_and_into_no_message(
    library: Library, registries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", library.url.replace("//", "//me:s%40cret@") + "/simple")
    library.pages["/simple/calm-sea/"] = json_page("calm-1.tar.gz")
    with pytest.raises(SourceFailure) as failure:
        pypi_files(f"calm-sea==1#sha256={SHA256}", ["data/a.txt"], soon())
    assert "cret" not in str(failure.value)
    expected = "Basic " + base64.b64encode(b"me:s@cret").decode()
    assert library.authorizations == [expected, expected]


def test_the_clients_own_configuration_names_the_registry(tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text(
        '; mine\nregistry = https://npm.example/${TEAM}/\n@texts:registry="https://texts.example"\n//x/:_authToken=1\n'
    )
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://pypi.example/simple/\nextra-index-url =\n  https://a.example\n  https://b.example\n"
        "[download]\nproxy = http://proxy.example:8080\n[install]\nindex-url = https://no.example\n"
    )
    environ = {
        "HOME": str(tmp_path), "TEAM": "us", "PATH": "", "XDG_CONFIG_DIRS": str(tmp_path / "none"),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
    }  # fmt: skip
    assert npm_registry("sea", environ).urls == ("https://npm.example/us",)
    assert npm_registry("@texts/sea", environ).urls == ("https://texts.example",)
    pip = pip_indexes(environ)
    assert pip.urls == ("https://pypi.example/simple", "https://a.example", "https://b.example")
    assert pip.network.proxy == "http://proxy.example:8080"
    given = environ | {"NPM_CONFIG_REGISTRY": "https://env.example", "PIP_INDEX_URL": "https://env.example/simple"}
    assert npm_registry("sea", given).urls == ("https://env.example",)
    assert pip_indexes(given).urls[0] == "https://env.example/simple"
    nothing = {"HOME": str(tmp_path / "none"), "PATH": "", "PIP_CONFIG_FILE": os.devnull}
    assert npm_registry("sea", nothing).urls == ("https://registry.npmjs.org",)
    assert pip_indexes(nothing).urls == ("https://pypi.org/simple",)


def test_a_proxy_of_the_configuration_is_asked(
    library: Library, registries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://pypi.invalid/simple")
    monkeypatch.setenv("PIP_PROXY", library.url)
    with pytest.raises(SourceFailure, match="answered 404"):
        pypi_files(f"calm-sea==1#sha256={SHA256}", ["data/a.txt"], soon())
    assert library.asked == ["http://pypi.invalid/simple/calm-sea/"]


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


@pytest.mark.parametrize("content", [b"{", b'{"book": "Sea"}', b"\xff", b"[1]", b"[" * 200_000])
def test_a_file_that_holds_something_else_is_named(content: bytes) -> None:
    with pytest.raises(SourceFailure, match=r"water\.jsonl cannot be read"):
        compose("The Water", ["water.jsonl"], [content])
