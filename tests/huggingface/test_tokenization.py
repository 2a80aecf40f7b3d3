"""The tokenizer of transformers gives the ids and texts of revlm's own."""

from pathlib import Path

import numpy as np
import pytest

from revlm.corpus import Tokenizer, write_tokenizer
from revlm.corpus.tokenizing import ByteTokenizer
from revlm.errors import DataError, UsageError
from revlm.huggingface import RevlmTokenizer

TEXTS = ["The old clerk", "", " \n\n\t two  spaces é e\u0301 \u2581 🐋 <begin> <s>\0", "river"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "text.txt").write_text("the old clerk walked slowly home along a frozen river at night " * 200)
    write_tokenizer(folder / "text.txt", folder / "out", vocab_size=300)
    return Tokenizer.load(folder / "out")


@pytest.fixture(params=["bytes", "sentencepiece"])
def own(request: pytest.FixtureRequest, trained: Tokenizer) -> Tokenizer:
    return ByteTokenizer() if request.param == "bytes" else trained


@pytest.fixture
def tokenizer(own: Tokenizer, tmp_path: Path) -> RevlmTokenizer:
    """As it is after it was saved and read."""
    RevlmTokenizer(tokenizer=own).save_pretrained(tmp_path / "saved")
    return RevlmTokenizer.from_pretrained(tmp_path / "saved")


def test_ids_are_those_of_revlm_behind_a_begin_token(own: Tokenizer, tokenizer: RevlmTokenizer) -> None:
    for text in TEXTS:
        ids = own.encode(text).tolist()
        assert tokenizer.encode(text, add_special_tokens=False) == ids
        assert tokenizer.encode(text) == tokenizer(text)["input_ids"] == [own.begin_id, *ids]
        assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) == ids
        assert tokenizer.convert_tokens_to_string(tokenizer.tokenize(text)) == text
        for skip in (False, True):
            assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=skip) == text
    assert tokenizer.batch_decode(tokenizer(TEXTS)["input_ids"]) == TEXTS


def test_every_id_has_a_name_of_its_own(own: Tokenizer, tokenizer: RevlmTokenizer) -> None:
    assert len(tokenizer) == tokenizer.vocab_size == own.vocab_size
    assert sorted(tokenizer.get_vocab().values()) == list(range(own.vocab_size))
    every = list(range(own.vocab_size))
    assert tokenizer.convert_tokens_to_ids(tokenizer.convert_ids_to_tokens(every)) == every
    assert tokenizer.bos_token_id == own.begin_id
    assert own.byte_lengths[tokenizer.pad_token_id] == 0


@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_are_padded_and_cut(own: Tokenizer, tokenizer: RevlmTokenizer, side: str) -> None:
    batch = tokenizer(TEXTS, padding=True, padding_side=side, return_tensors="pt")
    real = batch["attention_mask"].bool()
    assert [row[mask].tolist() for row, mask in zip(batch["input_ids"], real, strict=True)] == [
        [own.begin_id, *own.encode(text).tolist()] for text in TEXTS
    ]
    assert batch["input_ids"][~real].eq(tokenizer.pad_token_id).all()
    assert bool(real[:, -1 if side == "left" else 0].all())
    cut = tokenizer(TEXTS, truncation=True, max_length=4)["input_ids"]
    assert cut == [[own.begin_id, *own.encode(text).tolist()[:3]] for text in TEXTS]
    assert tokenizer([TEXTS[0].split()], is_split_into_words=True)["input_ids"] == [
        [own.begin_id, *own.encode("The").tolist(), *own.encode("old").tolist(), *own.encode("clerk").tolist()]
    ]


@pytest.mark.parametrize("cut", ["left", "right"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_offsets_are_the_characters_of_tokens(own: Tokenizer, tokenizer: RevlmTokenizer, side: str, cut: str) -> None:
    tokenizer.truncation_side = cut
    batch = tokenizer(
        TEXTS,
        padding="max_length",
        truncation=True,
        max_length=30,
        padding_side=side,
        return_offsets_mapping=True,
        return_tensors="np",
    )
    assert batch["offset_mapping"].shape == (*batch["input_ids"].shape, 2)
    for text, row, spans in zip(TEXTS, batch["input_ids"], batch["offset_mapping"], strict=True):
        for token, (start, stop) in zip(row, spans, strict=True):
            assert own.piece_bytes[token].decode("utf-8", "ignore") in text[start:stop]
            assert (start == stop) == (own.byte_lengths[token] == 0)
        covered = np.unique(np.concatenate([np.arange(*span) for span in spans]))
        assert len(row) < 30 or len(covered) == (len(text) if len(text.encode()) < 30 else len(covered))
    alone = tokenizer(TEXTS[0], return_offsets_mapping=True)
    assert alone["offset_mapping"][0] == (0, 0)
    assert alone["offset_mapping"][-1][1] == len(TEXTS[0])


def test_what_it_cannot_do_is_said(tokenizer: RevlmTokenizer) -> None:
    with pytest.raises(UsageError, match="vocabulary"):
        tokenizer.add_tokens(["<new>"])
    with pytest.raises(UsageError, match="pairs"):
        tokenizer("a", "b", return_offsets_mapping=True)
    with pytest.raises(DataError, match="surrogate"):
        tokenizer("\ud800")
    with pytest.raises(DataError, match="outside"):
        tokenizer.decode([100_000])


def test_a_damaged_tokenizer_is_named(own: Tokenizer, tmp_path: Path) -> None:
    RevlmTokenizer(tokenizer=own).save_pretrained(tmp_path)
    path = tmp_path / own.file_name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=own.file_name):
        RevlmTokenizer.from_pretrained(tmp_path)
