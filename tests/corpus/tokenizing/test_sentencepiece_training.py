import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.corpus.tokenizing.sentencepiece_training import LINE_LIMIT_BYTES, cut_line, train_sentencepiece
from revlm.errors import DataError, UsageError


def bound_in(error: pytest.ExceptionInfo[UsageError]) -> int:
    return int(re.search(r"that works is (\d+)", str(error.value)).group(1))  # type: ignore[union-attr]


def test_the_vocabulary_has_the_size_asked_for_and_training_repeats_exactly(paragraph: str) -> None:
    first = train_sentencepiece([paragraph, paragraph * 2], vocab_size=340)
    assert first.vocab_size == 340
    assert train_sentencepiece([paragraph, paragraph * 2], vocab_size=340).fingerprint == first.fingerprint


@pytest.mark.parametrize("too_small", [-1, 0, 1, 2, 256, 270])
def test_the_smallest_vocabulary_named_works_and_one_less_does_not(paragraph: str, too_small: int) -> None:
    with pytest.raises(UsageError, match="too small") as error:
        train_sentencepiece([paragraph], vocab_size=too_small)
    smallest = bound_in(error)
    tokenizer = train_sentencepiece([paragraph], vocab_size=smallest)
    assert tokenizer.decode(tokenizer.encode(paragraph)) == paragraph
    characters = set(paragraph) - {"\n"}
    assert smallest == 256 + len(("unknown", "begin", "newline")) + len(characters)
    with pytest.raises(UsageError, match="too small"):
        train_sentencepiece([paragraph], vocab_size=smallest - 1)


def test_the_largest_vocabulary_named_works_and_one_more_does_not() -> None:
    with pytest.raises(UsageError, match="more than this small corpus") as error:
        train_sentencepiece(["hello world"], vocab_size=2048)
    assert train_sentencepiece(["hello world"], vocab_size=bound_in(error)).vocab_size == bound_in(error)
    with pytest.raises(UsageError, match="more than this small corpus"):
        train_sentencepiece(["hello world"], vocab_size=bound_in(error) + 1)


def test_a_size_that_no_trainer_takes_is_refused_in_one_sentence(paragraph: str) -> None:
    with pytest.raises(UsageError, match=r"^SentencePiece cannot train with --vocab-size 10+: .*; pass"):
        train_sentencepiece([paragraph], vocab_size=10**12)


def test_a_corpus_without_spaces_gives_a_tokenizer_that_keeps_spaces() -> None:
    tokenizer = train_sentencepiece(["abcabcabd\n" * 9], vocab_size=265)
    assert tokenizer.decode(tokenizer.encode("a b  c ▁")) == "a b  c ▁"


@pytest.mark.parametrize("texts", [[], ["\n\n"], ["▁\0\t▅"]])
def test_nothing_to_train_on_is_an_error(texts: list[str]) -> None:
    with pytest.raises(DataError, match="no characters to train"):
        train_sentencepiece(texts, vocab_size=300)


def test_characters_of_overlong_lines_are_not_dropped(paragraph: str) -> None:
    """A line that the trainer left out would leave its characters without pieces."""
    long_line = "ж" * LINE_LIMIT_BYTES + " щ"
    tokenizer = train_sentencepiece([paragraph, long_line], vocab_size=400)
    assert len(tokenizer.encode("ж")) == len(tokenizer.encode("щ")) == 1


@pytest.mark.parametrize("reserved", ["\0", "\t", "▁", "▅"])
def test_lines_with_a_character_that_the_trainer_reserves_are_not_dropped(paragraph: str, reserved: str) -> None:
    tokenizer = train_sentencepiece([paragraph, f"ж{reserved}щ\n"], vocab_size=340)
    assert len(tokenizer.encode("ж")) == len(tokenizer.encode("щ")) == 1


def test_words_that_look_like_control_tokens_are_text(paragraph: str) -> None:
    text = paragraph + "<s> <unk> <0x41> </s>\n" * 5
    tokenizer = train_sentencepiece([text], vocab_size=330)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.begin_id not in tokenizer.encode(text)


def test_an_error_of_the_texts_passes_through(paragraph: str) -> None:
    def failing() -> Iterator[str]:
        yield paragraph
        raise DataError("the second text is broken")

    with pytest.raises(DataError, match="the second text is broken"):
        train_sentencepiece(failing(), vocab_size=340)


@given(line=st.text(st.sampled_from("ab é🐋")), limit=st.integers(4, 40))
def test_cut_lines_fit_and_join_to_the_line(line: str, limit: int) -> None:
    parts = list(cut_line(line, limit))
    assert "".join(parts) == line
    assert all(0 < len(part.encode()) <= limit for part in parts)


def test_lines_are_cut_before_a_space() -> None:
    line = "the ships came in at dusk " * 40
    parts = list(cut_line(line, 200))
    assert len(parts) > 10
    assert all(part.startswith(" ") for part in parts[1:])


def test_rare_characters_go_through_bytes_and_come_back() -> None:
    text = "the keeper counted the ships at dusk\n" * 500 + "ж щ\n"
    for coverage, tokens in ((1.0, 1), (0.9995, 2)):
        tokenizer = train_sentencepiece([text], vocab_size=300, character_coverage=coverage)
        assert len(tokenizer.encode("ж")) == len(tokenizer.encode("щ")) == tokens
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.decode(tokenizer.encode("字 ☃")) == "字 ☃"


MANY = "".join(chr(0x4E00 + number) * (3000 - number) for number in range(3000))


@pytest.mark.parametrize("coverage", [0.2, 0.5, 0.97, 0.9995, 1.0])
def test_the_coverage_is_the_share_of_the_text_whose_characters_get_ids(coverage: float) -> None:
    with pytest.raises(UsageError, match="too small") as error:
        train_sentencepiece([MANY], vocab_size=261, character_coverage=coverage)
    kept = bound_in(error) - 259 - 1  # the space is always kept
    counts = [3000 - number for number in range(3000)]
    assert sum(counts[: kept - 1]) < coverage * sum(counts) <= sum(counts[:kept])


def test_without_options_characters_take_half_of_the_vocabulary_at_most_and_it_is_said() -> None:
    said: list[str] = []
    tokenizer = train_sentencepiece([MANY, "the keeper\n" * 99], message=said.append)
    assert tokenizer.vocab_size == 2048
    assert sum(len(piece.decode("utf-8", "ignore")) == 1 for piece in tokenizer.piece_bytes[258:]) == 894 + 1
    assert ["894 most frequent" in line for line in said] == [True]
    assert tokenizer.decode(tokenizer.encode(MANY)) == MANY


def test_a_size_that_was_not_given_is_not_spoken_of() -> None:
    with pytest.raises(UsageError, match=r"^the default vocabulary of 2,048 is too small.*--vocab-size") as error:
        train_sentencepiece([MANY], character_coverage=1.0)
    smallest = bound_in(error)
    assert train_sentencepiece([MANY], vocab_size=smallest, character_coverage=1.0).vocab_size == smallest
    with pytest.raises(UsageError, match=r"^the default vocabulary of 2,048 is more than this small corpus can fill"):
        train_sentencepiece(["hello world"])
