"""The texts to tokenize: a corpus, its first half and one long line, and the tokenizer for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.tokenizing.corpora import LINE_FILE, find_novels, write_corpus, write_one_line
from bench.tokenizing.schedule import Text, TextName
from bench.watched import run_watched
from revlm.errors import DataError
from revlm.imports import python_module

_TRAINING_SECONDS = 3600.0


@dataclass(frozen=True)
class Wanted:
    """The sizes of corpora made from `novels`, or existing ones in `corpus` and `one_line`."""

    novels: Path
    megabytes: float
    one_line_megabytes: float
    corpus: Path | None
    one_line: Path | None
    seed: int


def make_texts(wanted: Wanted, scratch: Path) -> Mapping[TextName, Text]:
    """Returns the texts; new ones are made below `scratch`.

    Raises:
        DataError: the corpus has fewer than two .txt files, the line is not a file, or as `write_corpus`.
        StorageError: as `write_corpus`.
    """
    corpus, line = wanted.corpus, wanted.one_line
    if line is not None and not line.is_file():
        raise DataError(f"{line} is not a file; give the file of `make_corpus.py --one-line` to --one-line")
    if corpus is None:
        corpus = scratch / "corpus"
        write_corpus(wanted.novels, corpus, size_bytes=round(wanted.megabytes * 10**6), seed=wanted.seed)
    texts: dict[TextName, Text] = {"half": _half(corpus, scratch / "half"), "corpus": _text(corpus)}
    if line is None and wanted.one_line_megabytes:
        size_bytes = round(wanted.one_line_megabytes * 10**6)
        write_one_line(wanted.novels, scratch / "line", size_bytes=size_bytes, seed=wanted.seed)
        line = scratch / "line" / LINE_FILE
    if line is not None:
        texts["line"] = _text(line)
    return texts


def make_tokenizer(given: Path | None, novels: Path, vocab_size: int, scratch: Path) -> Path:
    """Returns the given SentencePiece model, or one that `revlm tokenize` trains on the novels.

    Raises:
        DataError: there is no such file, or none can be trained.
    """
    if given is not None:
        if not given.is_file():
            raise DataError(f"{given} is not a file; give a SentencePiece model to --tokenizer")
        return given
    find_novels(novels)
    ended = run_watched(
        python_module("revlm", "tokenize", novels, "-o", scratch / "novels", "--vocab-size", vocab_size),
        seconds_limit=_TRAINING_SECONDS,
    )
    if ended["status"] != "done":
        raise DataError(f"no tokenizer could be trained on {novels} ({ended['cause']}); give one with --tokenizer")
    return scratch / "novels" / "tokenizer.model"


def _half(corpus: Path, folder: Path) -> Text:
    """Fills a folder with links to the first files of a corpus, about half of its bytes."""
    paths = sorted(corpus.rglob("*.txt"))
    if len(paths) < 2:
        raise DataError(f"{corpus} has fewer than two .txt files; give another --corpus, or more --megabytes")
    half = sum(path.stat().st_size for path in paths) / 2
    folder.mkdir()
    taken = 0
    for path in paths[:-1]:
        size = path.stat().st_size
        if taken and taken + size / 2 > half:
            break
        taken += size
        link = folder / path.relative_to(corpus)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return Text(folder, taken)


def _text(path: Path) -> Text:
    files = [path] if path.is_file() else sorted(path.rglob("*.txt"))
    return Text(path, sum(file.stat().st_size for file in files))
