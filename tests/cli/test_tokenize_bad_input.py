"""What a user reads for each kind of bad input: one sentence, or a line in the list of what was skipped.

Never is a store left that looks whole and is not.
"""

import gzip
import json
import os
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow
import pytest
from pyarrow import parquet

from revlm.cli import main
from revlm.corpus.reading import is_store

GOOD = "The keeper counted the ships twice, once at dusk and once before sleep.\n" * 5


def rows(folder: Path, *lines: str, name: str = "rows.jsonl") -> None:
    (folder / name).write_text("".join(line + "\n" for line in lines))


def book(folder: Path, **files: str) -> None:
    container = '<container><rootfiles><rootfile full-path="book.opf"/></rootfiles></container>'
    package = (
        '<package><manifest><item id="one" href="one.xhtml" media-type="application/xhtml+xml"/></manifest>{}</package>'
    )
    whole = {
        "META-INF/container.xml": container,
        "book.opf": package.format('<spine><itemref idref="one"/></spine>'),
        "one.xhtml": "<html><body><p>text</p></body></html>",
        "no_spine": package.format(""),
    }
    with zipfile.ZipFile(folder / "book.epub", "w") as archive:
        for name, content in (whole | files).items():
            archive.writestr(name, whole["no_spine"] if content == "no spine" else content)


def cut(path: Path, content: bytes) -> None:
    path.write_bytes(content[: len(content) // 2])


def table(folder: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["some text"] * 50}), folder / "whole")
    cut(folder / "rows.parquet", (folder / "whole").read_bytes())
    (folder / "whole").unlink()


# What is put into the folder, and what is said of it; None where it is passed over in both ways.
CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "not UTF-8": (
        lambda folder: (folder / "bad.txt").write_bytes(b"caf\xe9"),
        "bad.txt is not UTF-8: byte 0xe9 at byte offset 3 (unexpected end of data); "
        "its encoding is unknown; convert it to UTF-8",
    ),
    "a NUL": (
        lambda folder: (folder / "bad.txt").write_bytes(b"caf\0e"),
        "bad.txt holds a NUL at byte offset 3; remove it if this is a text",
    ),
    "a NUL in a row": (
        lambda folder: rows(folder, '{"text": "caf\\u0000e"}'),
        "rows.jsonl line 1 holds a NUL at character 3; repair the line",
    ),
    "a lone surrogate": (
        lambda folder: rows(folder, '{"text": "fine"}', '{"text": "caf\\ud800"}'),
        "rows.jsonl line 2 holds a lone surrogate (U+D800) at character 3; repair the line",
    ),
    "a broken line": (
        lambda folder: rows(folder, '{"text": "fine"}', '{"text": '),
        "rows.jsonl line 2 is not JSON (expecting value at its character 9); repair the line",
    ),
    "a missing column": (
        lambda folder: rows(folder, '{"body": "fine"}'),
        "rows.jsonl line 1 has no column 'text' (it has 'body'); name the text column with --text-column",
    ),
    "a truncated gzip": (
        lambda folder: cut(folder / "rows.jsonl.gz", gzip.compress(os.urandom(4000).hex().encode())),
        "rows.jsonl.gz is damaged or truncated after 0 bytes",
    ),
    "a truncated Parquet file": (table, "rows.parquet is damaged or not a Parquet file: it has no footer"),
    "a locked e-book": (
        lambda folder: book(
            folder, **{"META-INF/encryption.xml": '<e><CipherReference URI="one.xhtml"/></e>'}
        ),
        "book.epub is locked (DRM); get an edition that is not",
    ),
    "an e-book without a spine": (
        lambda folder: book(folder, **{"book.opf": "no spine"}),
        "book.epub has no spine, so its reading order is unknown; fetch or make it again",
    ),
    "a broken link": (
        lambda folder: (folder / "bad.txt").symlink_to("nowhere.txt"),
        "bad.txt cannot be read: no such file or directory; make it readable",
    ),
}  # fmt: skip

PASSED_OVER: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty file": (lambda folder: (folder / "bad.txt").touch(), "skipped bad.txt: empty or only white space"),
    "white space": (
        lambda folder: (folder / "bad.txt").write_text(" \n\t" * 9),
        "skipped bad.txt: empty or only white",
    ),
    "a circle of links": (lambda folder: (folder / "bad").symlink_to(folder), "skipped bad: the same folder as"),
    "a pipe": (lambda folder: os.mkfifo(folder / "bad.txt"), "skipped bad.txt: not a regular file"),
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "good.txt").write_text(GOOD)
    return folder


class Ended(NamedTuple):
    """How the command line ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str

    def sentence(self, exit_code: int) -> str:
        """Returns the one sentence of an error."""
        assert self.returncode == exit_code, self.stderr
        (sentence,) = self.stderr.splitlines()
        assert sentence.startswith("revlm: ")
        return sentence


Revlm = Callable[..., Ended]


@pytest.fixture
def revlm(capsys: pytest.CaptureFixture[str]) -> Revlm:
    """Runs the command line in this process."""

    def run(*arguments: object) -> Ended:
        code = main([str(argument) for argument in arguments])
        return Ended(code, *capsys.readouterr())

    return run


def run_in_process(command: list[object], **options: int) -> Ended:
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("case", CASES)
def test_strict_stops_with_one_sentence_and_skip_lists_it(
    corpus: Path, tmp_path: Path, revlm: Revlm, case: str
) -> None:
    make, says = CASES[case]
    make(corpus)
    store = tmp_path / "store"
    sentence = revlm("tokenize", corpus, "-o", store, "--tokenizer", "bytes").sentence(3)
    assert f"{corpus}/{says}" in sentence
    assert sentence.endswith("or pass --errors skip to leave it out")
    assert {path.name for path in tmp_path.iterdir()} == {"texts"}
    ended = revlm("tokenize", corpus, "-o", store, "--tokenizer", "bytes", "--errors", "skip")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "good" in ended.stdout
    (listed,) = (json.loads(line) for line in (store / "skipped.jsonl").read_text().splitlines())
    assert says.startswith(listed["path"].replace(", ", " "))
    assert listed["reason"] in says or says.split(" ", 1)[1] in listed["reason"] or says.endswith("0 bytes")


@pytest.mark.parametrize("case", PASSED_OVER)
def test_what_holds_no_text_is_listed(corpus: Path, tmp_path: Path, revlm: Revlm, case: str) -> None:
    make, says = PASSED_OVER[case]
    make(corpus)
    ended = revlm("tokenize", corpus, "-o", tmp_path / "store", "--tokenizer", "bytes")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert says in ended.stdout


@pytest.mark.parametrize("corpus", ["a\0b", "n" * 300, "n" * 300 + "/*.txt", "caf\udce9", "x/" * 3000])
def test_a_corpus_by_a_name_that_no_file_system_holds(corpus: str, revlm: Revlm) -> None:
    assert "Invalid value for 'CORPUS': should be a path" in revlm("tokenize", corpus).sentence(2)


def test_a_device_is_no_corpus(revlm: Revlm) -> None:
    assert "neither a folder nor" in revlm("tokenize", "/dev/null").sentence(3)


def test_a_url_is_to_be_fetched(revlm: Revlm) -> None:
    assert "is a URL; fetch it first" in revlm("tokenize", "https://example.org/book.epub").sentence(2)


JSON_SOURCES = ["standard_input.jsonl, line 1", "standard_input.jsonl, line 2"]


@pytest.mark.parametrize(
    ("given", "sources"),
    [(b"plain {text}\n", ["standard_input.txt"]), (b'{"text": "one"}\n{"text": "two"}\n', JSON_SOURCES)],
)
def test_standard_input_is_a_corpus(tmp_path: Path, given: bytes, sources: list[str]) -> None:
    command = [
        sys.executable,
        "-m",
        "revlm",
        "tokenize",
        "-",
        "-o",
        str(tmp_path / "s"),
        "--tokenizer",
        "bytes",
        "--json",
    ]
    ended = subprocess.run(command, input=given, capture_output=True, check=True)
    assert [document["source"] for document in json.loads(ended.stdout)["documents"]] == sources
    command[command.index("-o") + 1] = str(tmp_path / "of nothing")
    closed = subprocess.run(f"{shlex.join(command)} <&-", shell=True, capture_output=True, text=True, check=False)
    assert (closed.returncode, "no text is left in standard input" in closed.stderr) == (3, True)


def test_permission_denied() -> None:
    """As a user who may do less, where the tests are run by one who may do everything."""
    nobody = {"user": 65534, "group": 65534} if os.getuid() == 0 else {}
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        shut = Path(folder, "shut.txt")
        shut.write_text("shut")
        shut.chmod(0)
        try:
            command = [
                sys.executable,
                "-m",
                "revlm",
                "tokenize",
                folder,
                "-o",
                f"{folder}/store",
                "--tokenizer",
                "bytes",
            ]
            ended = run_in_process(command, **nobody)
        except PermissionError:
            pytest.skip("Python itself is shut to other users here")
    assert "shut.txt cannot be read: permission denied; make it readable" in ended.sentence(3)


def test_a_file_that_changes_while_it_is_read(corpus: Path, tmp_path: Path) -> None:
    """A writer adds to it as long as revlm reads."""
    (corpus / "log.txt").write_text(GOOD)
    script = (
        "import sys, threading\n"
        "def write():\n"
        "    with open(sys.argv[1], 'a') as log:\n"
        "        while True:\n"
        "            log.write('more\\n'); log.flush()\n"
        "threading.Thread(target=write, daemon=True).start()\n"
        "from revlm.cli import main\n"
        "sys.exit(main(sys.argv[2:]))\n"
    )
    arguments = ["tokenize", corpus, "-o", tmp_path / "store", "--tokenizer", "bytes", "--no-resume"]
    ended = run_in_process([sys.executable, "-c", script, corpus / "log.txt", *arguments])
    assert "log.txt changed while it was read; run again when nothing writes to it" in ended.sentence(3)
    assert not (tmp_path / "store").exists()


def test_a_full_disk_loses_nothing(
    tmp_path: Path, small_disk: Path, remount: Callable[[str], None], revlm: Revlm
) -> None:
    """The older store stays; with more space the same command goes on."""
    texts, store = tmp_path / "texts", small_disk / "store"
    texts.mkdir()
    for number in range(4):
        (texts / f"{number}.txt").write_text(f"{number} {GOOD}" * 600)
    assert revlm("tokenize", texts / "0.txt", "-o", store, "--tokenizer", "bytes").returncode == 0
    before = (store / "manifest.json").read_bytes()
    sentence = revlm("tokenize", texts, "-o", store, "--tokenizer", "bytes", "--replace").sentence(6)
    assert "disk full" in sentence
    assert "run the same command again" in sentence
    assert (store / "manifest.json").read_bytes() == before
    assert is_store(store)
    remount("size=20m")
    assert revlm("tokenize", texts, "-o", store, "--tokenizer", "bytes", "--replace").returncode == 0
    assert json.loads((store / "manifest.json").read_text())["documents"] == 4
