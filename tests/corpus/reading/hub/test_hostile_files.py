"""Files of a dataset that expand, never end, lie elsewhere, or hold what is not read: each is named."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from revlm.corpus.reading.hub.dataset import HubDataset
from revlm.corpus.reading.readers.raw import Unusable
from revlm.corpus.reading.sources import open_source
from revlm.errors import DataError
from revlm.limits import Limits
from tests.corpus.reading.hub.hub_library import texts

_LIMITS = Limits(max_expanded_bytes=1 << 26, max_line_bytes=1 << 18)
_LETTERS = b"a" * (1 << 22)


def _archive() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("0.pth", "0.txt"):
            archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


def _dataset(folder: Path, name: str, content: bytes) -> HubDataset:
    folder.joinpath(name).write_bytes(content)
    return HubDataset.parse(f"hf:{folder}")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'[{"text": "' + _LETTERS + b'"}]', "a.json is longer than 262,144 bytes; pass a higher --max-line"),
        ("a.json", b"[" * 5000, "values nested more than 1,000 deep; pass a higher --max-nesting"),
        ("a.csv", b'text\n"' + _LETTERS, "a.csv has a row longer than 262,144 bytes"),
        ("a.csv", b'text\n"' + b"a\n" * 200_000, "a.csv has a row longer than 262,144 bytes"),
        ("a.csv", b'text\n"unclosed', r"a.csv is damaged at line 2 \(unexpected end of data\)"),
        (
            "a.csv.gz",
            gzip.compress(b"text\n" + (b"a" * (1 << 16) + b"\n") * 1100),
            r"a.csv.gz expands to more than 200 times its size",
        ),
        ("a.tar", _archive(), "files of the format webdataset, which revlm does not read; .*refs/convert/parquet"),
        ("a.xml", b"<r><text>a</text></r>", "files of the format xml, which revlm does not read"),
    ],
)
def test_a_file_is_named(elsewhere: Any, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        elsewhere(texts, _dataset(tmp_path, name, content), 0, "text", _LIMITS)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl.gz", gzip.compress(b'{"text": "' + _LETTERS + b'"}'), "is longer than 262,144 bytes"),
        ("a.jsonl", b'{"text": ' + b"[" * 100_000, "holds JSON values nested more than 1,000 deep"),
        ("a.txt.gz", gzip.compress(_LETTERS), "is longer than 262,144 bytes"),
        ("a.txt", b"caf\xe9", "is not UTF-8: byte 0xe9 at byte offset 3 .*"),
    ],
)
def test_a_text_is_named(elsewhere: Any, tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    [found] = elsewhere(texts, _dataset(tmp_path, name, content), 0, "text", _LIMITS)
    assert isinstance(found, Unusable)
    assert (found.place, found.reason[: len(reason)]) == ("row 1", reason) or found.reason.startswith("is not UTF-8")


def test_an_option_of_the_card_is_not_ignored(elsewhere: Any, tmp_path: Path) -> None:
    card = "---\nconfigs:\n- config_name: default\n  data_files: a.csv\n  skiprows: 1\n---\n"
    (tmp_path / "README.md").write_text(card)
    with pytest.raises(DataError, match=r"options of its files that revlm does not read \(skiprows\)"):
        elsewhere(texts, _dataset(tmp_path, "a.csv", b"x\ntext\na\n"))


def _read(corpus: str, follow_links: bool) -> list[str]:
    from revlm.corpus.reading.events import START, Piece

    events = open_source(corpus, follow_links=follow_links).events(START)
    return [str(each.text) for each in events if isinstance(each, Piece)]


def _link(folder: Path, secret: Path) -> None:
    (folder / "a.txt").symlink_to(secret)


def _card(folder: Path, secret: Path) -> None:
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: a\n  data_files: {json.dumps(str(secret))}\n---\n"
    )


@pytest.mark.parametrize("lead_out", [_link, _card])
def test_files_elsewhere_are_not_read(elsewhere: Any, tmp_path: Path, lead_out: Callable[[Path, Path], None]) -> None:
    secret, folder = tmp_path / "secret.txt", tmp_path / "corpus"
    secret.write_text("A secret.\n")
    folder.mkdir()
    lead_out(folder, secret)
    with pytest.raises(DataError, match=r"(a|secret).txt, which leads out of the dataset; pass --follow-links"):
        elsewhere(_read, f"hf:{folder}", False)
    assert elsewhere(_read, f"hf:{folder}", True) == ["A secret.\n"]


def test_the_links_of_a_download_are_read(elsewhere: Any, tmp_path: Path) -> None:
    blob, folder = tmp_path / "blobs" / "0", tmp_path / "snapshots" / "main"
    blob.parent.mkdir()
    folder.mkdir(parents=True)
    blob.write_text("A text.\n")
    (folder / "a.txt").symlink_to("../../blobs/0")
    assert elsewhere(_read, f"hf:{folder}", False) == ["A text.\n"]
