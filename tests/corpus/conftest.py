"""Small invented texts, files and stores that the tests of this room share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.corpus import tokenize_corpus

PARAGRAPH = (
    "The lighthouse keeper counted the ships twice, once at dusk and once before sleep.\n"
    "Nobody had asked him to — “habit,” he said, and wrote the number down.\n\n"
)


@pytest.fixture
def paragraph() -> str:
    return PARAGRAPH


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """Writes texts of the given lengths in bytes as a byte-tokenized store and returns its folder."""

    def make(*lengths: int, row_tokens: int = 1 << 24) -> Path:
        corpus = tmp_path / "texts"
        corpus.mkdir()
        for number, length in enumerate(lengths):
            letters = "".join(chr(97 + (number + 7 * place) % 26) for place in range(length))
            (corpus / f"text_{number:03d}.txt").write_text(letters, "utf-8")
        tokenize_corpus(corpus, tmp_path / "store", tokenizer="bytes", row_tokens=row_tokens)
        return tmp_path / "store"

    return make
