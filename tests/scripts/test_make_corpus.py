"""`make_corpus.py`: as big as asked for, the same by seed, no two copies alike, whole or not there."""

import itertools
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from bench.tokenizing import corpora
from bench.tokenizing.corpora import LINE_FILE, write_corpus, write_one_line
from revlm.errors import DataError, StorageError, UsageError
from tests.scripts.books import write_books

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "make_corpus.py"
SIZE = 300_000


@pytest.fixture
def novels(tmp_path: Path) -> Path:
    return write_books(tmp_path / "novels")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def runs_of_words(text: bytes, length: int = 5) -> set[tuple[bytes, ...]]:
    words = text.split()
    return set(zip(*(words[start:] for start in range(length)), strict=False))


@pytest.mark.parametrize("write", [write_corpus, write_one_line])
@pytest.mark.parametrize("size", [5, 100, 101, 102, 103, SIZE])
def test_the_size_is_kept_and_the_last_character_is_whole(tmp_path: Path, write: object, size: int) -> None:
    (tmp_path / "novels").mkdir()
    (tmp_path / "novels" / "a.txt").write_text("\n\n".join(["\N{WHALE}" * 50] * 9), "utf-8")
    write(tmp_path / "novels", tmp_path / "made", size_bytes=size, seed=0)
    made = b"".join(contents(tmp_path / "made").values())
    assert size - 3 <= len(made) <= size
    assert set(made.decode()) <= {"\N{WHALE}", " ", "\n"}


def test_the_seed_says_what_is_made(novels: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        write_corpus(novels, tmp_path / name, size_bytes=SIZE, seed=seed)
    one, again, other = (contents(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert all(content not in other.values() for content in one.values())


def test_copies_are_the_same_book_and_not_the_same_text(novels: Path, tmp_path: Path) -> None:
    copies = write_corpus(novels, tmp_path / "made", size_bytes=SIZE, seed=0)
    made = contents(tmp_path / "made")
    assert len(made) == copies >= 7
    assert [name[6:] for name in made][:4] == ["book_0.txt", "book_1.txt", "book_2.txt", "book_0.txt"]
    texts = [content for name, content in made.items() if name.endswith("book_0.txt")]
    book = (novels / "book_0.txt").read_bytes()
    for text in texts:
        assert set(text.split()) <= set(book.split())
        assert len(text) > 0.8 * len(book) or text is texts[-1]
    for one, other in itertools.combinations([runs_of_words(text) for text in (book, *texts)], 2):
        assert 0 < len(one & other) / len(one | other) < 0.3


def test_one_line_has_no_line_end(novels: Path, tmp_path: Path) -> None:
    (novels / "more.txt").write_bytes("\ufeffOne\r\nline\u2028and\x0bmore.\r\n\r\n \r\nTwo".encode())
    write_one_line(novels, tmp_path / "made", size_bytes=SIZE, seed=0)
    made = contents(tmp_path / "made")
    assert list(made) == [LINE_FILE]
    assert len(made[LINE_FILE].decode().splitlines()) == 1
    assert b"  " not in made[LINE_FILE]


@pytest.mark.parametrize("write", [write_corpus, write_one_line])
def test_memory_is_that_of_a_book(novels: Path, tmp_path: Path, write: object) -> None:
    peaks = []
    for size in (200_000, 2_000_000):
        tracemalloc.start()
        write(novels, tmp_path / str(size), size_bytes=size, seed=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_book_of_one_word_is_not_edited_away(tmp_path: Path) -> None:
    (tmp_path / "novels").mkdir()
    (tmp_path / "novels" / "a.txt").write_text("word")
    write_corpus(tmp_path / "novels", tmp_path / "made", size_bytes=500, seed=0)
    assert set(contents(tmp_path / "made").values()) == {b"word\n"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no .txt file"),
        ({"a.txt": b" \n\n\n", "b.txt": b""}, "have no text"),
        ({"a.txt": b"text", "b.txt": b"caf\xe9"}, r"b\.txt is not UTF-8 at byte 3"),
    ],
)
def test_novels_that_cannot_be_used_leave_nothing(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    (tmp_path / "novels").mkdir()
    for name, content in files.items():
        (tmp_path / "novels" / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        write_corpus(tmp_path / "novels", tmp_path / "made", size_bytes=SIZE, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["novels"]


def test_a_full_disk_leaves_nothing(novels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(content: bytes, size_bytes: int) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(corpora, "_cut", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_one_line(novels, tmp_path / "made", size_bytes=SIZE, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["novels"]


def test_nothing_that_is_there_is_written_over(novels: Path, tmp_path: Path) -> None:
    before = contents(novels)
    for there in (novels, novels / "book_0.txt"):
        with pytest.raises(UsageError, match="already exists"):
            write_corpus(novels, there, size_bytes=SIZE, seed=0)
    assert contents(novels) == before
    (tmp_path / "empty").mkdir()
    assert write_corpus(novels, tmp_path / "empty", size_bytes=SIZE, seed=0)


@pytest.mark.parametrize("options", [(), ("--one-line",)])
def test_the_command(novels: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    command = [sys.executable, SCRIPT, "--novels", novels, "--megabytes", "0.1", "-o", tmp_path / "made", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "100 kB" in done.stdout
    assert sum(map(len, contents(tmp_path / "made").values())) == pytest.approx(100_000, abs=3)
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "already exists" in again.stderr
    assert len(again.stderr.splitlines()) == 1
