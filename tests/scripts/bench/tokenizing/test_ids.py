"""The ids of a store are compared document by document, whatever its rows and their type."""

from pathlib import Path

import pytest
import sentencepiece

from bench.tokenizing.ids import Ids, IdsDigest, differing, ids_of_store
from bench.tokenizing.plain import encode_corpus
from revlm.corpus import tokenize_corpus
from tests.scripts.books import write_books


@pytest.mark.parametrize("row_tokens", [1 << 24, 1000])
def test_a_store_has_the_ids_of_plain_sentencepiece(tmp_path: Path, row_tokens: int) -> None:
    novels, store = write_books(tmp_path / "novels"), tmp_path / "store"
    tokenize_corpus(novels, store, vocab_size=320, row_tokens=row_tokens)
    plain = encode_corpus(store / "tokenizer.model", novels)
    assert plain["encode_seconds"] > 0
    assert plain["documents"] == ids_of_store(store)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(store / "tokenizer.model"))
    ids = processor.encode((novels / "book_0.txt").read_text("utf-8"))
    assert plain["documents"]["book_0.txt"].tokens == len(ids)


def test_parts_make_a_whole_and_order_counts() -> None:
    def digest(*parts: list[int]) -> Ids:
        made = IdsDigest()
        for part in parts:
            made.add(part)
        return made.ids()

    assert digest([1, 2], [300]) == digest([1], [], [2, 300])
    assert len({digest([1, 2]), digest([2, 1]), digest([1]), digest([258, 0])}) == 4


def test_documents_that_are_missing_or_other_are_named() -> None:
    one, other = Ids(1, "a"), Ids(1, "b")
    assert differing({"x": one, "y": one, "z": one}, {"x": one, "y": other, "w": one}) == ["w", "y", "z"]
    assert differing({"x": one}, {"x": one}) == []
