"""Where parts end depends on the text alone, and a cut changes no id of a tokenizer that allows it."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.corpus.tokenizing.cutting import Cuts
from revlm.corpus.tokenizing.sentencepiece_training import train_sentencepiece
from revlm.corpus.tokenizing.tokenizer import LONGEST_PART_CHARACTERS, SentencePieceTokenizer

TEXTS = st.text(st.sampled_from("ab é\n  "), max_size=60)
CUTS = st.builds(Cuts, st.booleans(), st.booleans())


def in_pieces(text: str, borders: list[int]) -> Iterator[str]:
    places = [0, *sorted(border % (len(text) + 1) for border in borders), len(text)]
    return (text[start:stop] for start, stop in pairwise(places))


@given(text=TEXTS, borders=st.lists(st.integers(0, 60), max_size=8), cuts=CUTS, characters=st.integers(1, 9))
def test_the_pieces_in_which_a_text_comes_do_not_matter(
    text: str, borders: list[int], cuts: Cuts, characters: int
) -> None:
    parts = list(cuts.parts((text,), characters, 12))
    assert list(cuts.parts(in_pieces(text, borders), characters, 12)) == parts
    assert "".join(parts) == text
    assert all(0 < len(part) <= 12 for part in parts)


@given(text=TEXTS, cuts=CUTS, characters=st.integers(1, 9))
def test_a_part_ends_where_it_may_or_at_its_limit(text: str, cuts: Cuts, characters: int) -> None:
    parts = list(cuts.parts((text,), characters, 12))
    for part, following in pairwise(parts):
        after_newline = cuts.after_newlines and part.endswith("\n")
        before_space = cuts.before_spaces and following.startswith(" ") and not part.endswith(" ")
        assert after_newline or before_space or len(part) == 12


@given(text=TEXTS, cuts=CUTS, characters=st.integers(1, 9))
def test_what_follows_a_cut_is_cut_as_a_text_of_its_own(text: str, cuts: Cuts, characters: int) -> None:
    parts = list(cuts.parts((text,), characters, 12))
    for number in range(len(parts)):
        assert list(cuts.parts(("".join(parts[number:]),), characters, 12)) == parts[number:]


@given(text=TEXTS, cuts=CUTS)
def test_words_are_the_text(text: str, cuts: Cuts) -> None:
    words = cuts.words(text)
    assert "".join(words) == text
    assert all(words)
    for word, following in pairwise(words):
        after_newline = cuts.after_newlines and "\n" in (word, following)
        assert after_newline or (cuts.before_spaces and following.startswith(" ") and not word.endswith(" "))


def test_a_part_is_as_long_as_the_places_allow() -> None:
    assert list(Cuts().parts(("one two\nthree four five",), 12, 20)) == ["one two\n", "three four", " five"]
    assert list(Cuts().parts(("a_long_word and more",), 4, 40)) == ["a_long_word", " and", " more"]
    assert list(Cuts().parts(("abcdefgh",), 2, 3)) == ["abc", "def", "gh"]


@pytest.fixture(scope="module")
def trained() -> SentencePieceTokenizer:
    lines = ["the keeper  counted the ships", "twice, once at dusk", "and once before sleep", "naïve — café"]
    return train_sentencepiece(["\n".join(lines * 40)], vocab_size=330)


@given(text=st.text(st.sampled_from("the keprcountdsi,ïé—▁\n  \0"), max_size=300))
def test_ids_are_those_of_the_whole_text(trained: SentencePieceTokenizer, text: str) -> None:
    whole = trained.encode(text)
    assert trained.decode(whole) == text
    for characters in (1, 5, 40):
        parts = trained.cuts.parts((text,), characters, LONGEST_PART_CHARACTERS)
        assert [token for part in parts for token in trained.encode(part)] == whole.tolist()


@given(text=st.text(st.sampled_from("the keprcountdsi,ïé—\n  "), max_size=300))
def test_ids_are_those_of_sentencepiece_where_it_loses_nothing(trained: SentencePieceTokenizer, text: str) -> None:
    from sentencepiece import SentencePieceProcessor

    plain = SentencePieceProcessor(model_proto=trained._file_content())
    assert trained.encode(text).tolist() == plain.encode(text)
