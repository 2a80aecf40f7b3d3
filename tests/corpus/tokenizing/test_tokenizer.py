import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.corpus import Tokenizer
from revlm.corpus.tokenizing.sentencepiece_training import train_sentencepiece
from revlm.corpus.tokenizing.tokenizer import ByteTokenizer, SentencePieceTokenizer
from revlm.errors import DataError

TEXT = (
    "The lighthouse keeper counted the ships twice, once at dusk and once before sleep.\n"
    "Nobody had asked him to — “habit,” he said, and wrote the number down.\n\n"
)
TRAINED = train_sentencepiece([TEXT * 3], vocab_size=330)
TOKENIZERS = [TRAINED, ByteTokenizer()]
PARTS = [
    "the ",
    "<s>",
    "<unk>",
    "<0x41>",
    "\n",
    "\t",
    "\r",
    "▁",
    "▅",
    "\0",
    "é",
    "e\u0301",
    "\ufeff",
    "🐋",
    " ",
]
HARD_TEXTS = st.lists(st.sampled_from(PARTS)).map("".join)


def train(**options: object) -> bytes:
    """A SentencePiece model of TEXT, lossless unless an option says otherwise."""
    from sentencepiece import SentencePieceTrainer

    lossless = {
        "vocab_size": 330,
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "minloglevel": 4,
    }
    model = io.BytesIO()
    lines = iter((TEXT * 3).splitlines())
    SentencePieceTrainer.train(sentence_iterator=lines, model_writer=model, **(lossless | options))
    return model.getvalue()


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.kind)
@given(text=st.one_of(st.text(), HARD_TEXTS, HARD_TEXTS.map(lambda text: text * 50)))
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.byte_lengths[ids].sum() == len(text.encode())
    assert tokenizer.begin_id not in ids


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.kind)
def test_the_ids_are_numbered_and_the_begin_token_has_no_bytes(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.piece_bytes) == len(tokenizer.byte_lengths) == tokenizer.vocab_size
    assert tokenizer.piece_bytes[tokenizer.begin_id] == b""
    assert tokenizer.decode([tokenizer.begin_id, *tokenizer.encode("he said")]) == "he said"


@given(lines=st.lists(st.sampled_from(["", " ", "the ships", "  sleep.", "counted the ships twice, " * 40])))
def test_segments_give_the_ids_of_the_whole_text(lines: list[str]) -> None:
    text = "\n".join(lines) * 20
    assert TRAINED.encode(text).tolist() == TRAINED._processor.encode(text)


def test_a_long_line_is_encoded_as_one() -> None:
    text = TEXT.replace("\n", " ") * 200 + "\n" + TEXT
    assert TRAINED.encode(text).tolist() == TRAINED._processor.encode(text)


def test_a_newline_is_one_token_and_a_literal_space_mark_three() -> None:
    assert len(TRAINED.encode("\n")) == 1
    assert [TRAINED.piece_bytes[token] for token in TRAINED.encode("▁")] == [b"\xe2", b"\x96", b"\x81"]
    assert [TRAINED.piece_bytes[token] for token in TRAINED.encode("\0")] == [b"\0"]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.kind)
def test_a_lone_surrogate_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"character 2 .*U\+DCE9"):
        tokenizer.encode("ab\udce9")


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.kind)
def test_ids_out_of_range_are_refused_and_cut_characters_are_shown(tokenizer: Tokenizer) -> None:
    for wrong in (-1, tokenizer.vocab_size):
        with pytest.raises(DataError, match="token id"):
            tokenizer.decode([wrong])
    whale = tokenizer.encode("🐋")
    assert tokenizer.decode_bytes(whale[:3]) == "🐋".encode()[:3]
    assert tokenizer.decode(whale[:3]) == "\ufffd"


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.kind)
def test_saved_and_loaded_it_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    file = tokenizer.save(tmp_path)
    for loaded in (Tokenizer.load(file), Tokenizer.load(tmp_path)):
        assert loaded.fingerprint == tokenizer.fingerprint
        assert loaded.encode(TEXT).tolist() == tokenizer.encode(TEXT).tolist()
        assert loaded.begin_id == tokenizer.begin_id
    assert TOKENIZERS[0].fingerprint != TOKENIZERS[1].fingerprint


def test_a_given_model_without_a_begin_token_gets_one() -> None:
    tokenizer = SentencePieceTokenizer(train(bos_id=-1))
    assert tokenizer.begin_id == tokenizer.vocab_size - 1 == 330
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT


def test_a_given_unigram_model_is_lossless_too() -> None:
    tokenizer = SentencePieceTokenizer(train(model_type="unigram", vocab_size=300))
    assert tokenizer.decode(tokenizer.encode(TEXT * 3)) == TEXT * 3


def test_pieces_that_reach_over_newlines_stay_whole() -> None:
    tokenizer = SentencePieceTokenizer(train(user_defined_symbols=["\n\n"]))
    text = ("a\n" + "sleep " * 4) * 900 + "\n\n" * 9000
    assert tokenizer.encode(text).tolist() == tokenizer._processor.encode(text)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"byte_fallback": False, "vocab_size": 70}, "byte_fallback=true"),
        ({"normalization_rule_name": "nmt_nfkc"}, "normalization_rule_name=identity"),
        ({"remove_extra_whitespaces": True}, "remove_extra_whitespaces=false"),
        ({"add_dummy_prefix": True}, "add_dummy_prefix=false"),
    ],
)
def test_a_given_model_that_would_lose_text_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        SentencePieceTokenizer(train(**options))


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no tokenizer"):
        Tokenizer.load(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        Tokenizer.load(tmp_path / "missing.model")
    for name in ("broken.model", "broken.json"):
        for content in (b"", b"not a model"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(DataError, match=name):
                Tokenizer.load(tmp_path / name)
