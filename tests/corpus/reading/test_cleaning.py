"""Cleaning a text piece by piece gives what cleaning it whole gives, and all that is taken away is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.corpus.reading.cleaning import CleanedText, utf8_length
from revlm.gutenberg import HEAD_CHARACTERS, TAIL_CHARACTERS

HEADER = "The Project Gutenberg EBook of Él\n\nTitle: Él\n\n*** START OF THE PROJECT GUTENBERG EBOOK ÉL ***\n\n"
FOOTER = "\n\n*** END OF THE PROJECT GUTENBERG EBOOK ÉL ***\nproject gutenberg licence\n"


def cleaned(*pieces: str) -> tuple[str, CleanedText]:
    text = CleanedText(pieces)
    return "".join(text), text


@given(pieces=st.lists(st.text(st.sampled_from("a\r\n é\ufeff"), max_size=4), max_size=8))
def test_pieces_make_no_difference(pieces: list[str]) -> None:
    whole, in_pieces = cleaned("".join(pieces)), cleaned(*pieces)
    assert whole[0] == in_pieces[0]
    assert whole[1].cleaning == in_pieces[1].cleaning
    assert "\r" not in whole[0]
    raw_bytes = utf8_length("".join(pieces))
    assert in_pieces[1].cleaning.file_bytes == raw_bytes
    assert utf8_length(whole[0]) == raw_bytes - whole[1].cleaning.removed_bytes


@pytest.mark.parametrize("body_characters", [10, 1000, HEAD_CHARACTERS + TAIL_CHARACTERS, 3 * TAIL_CHARACTERS])
@pytest.mark.parametrize("piece_characters", [1 << 10, 1 << 14, 1 << 20])
def test_both_ends_go_whatever_lies_between(body_characters: int, piece_characters: int) -> None:
    body = ("A_line_of_the_text.\n" * (body_characters // 20 + 1))[: body_characters - 1] + "\n"
    raw = (HEADER + body + FOOTER).replace("\n", "\r\n")
    kept, text = cleaned(*(raw[start : start + piece_characters] for start in range(0, len(raw), piece_characters)))
    assert kept == body
    assert (text.front, text.back, text.title) == (HEADER, FOOTER, "Él")
    assert text.cleaning.crlf_line_ends == raw.count("\r\n")
    assert utf8_length(kept) == utf8_length(raw) - text.cleaning.removed_bytes


def test_only_the_ends_are_held() -> None:
    """A text larger than memory passes through."""
    held = CleanedText("x" * 100_000 for _ in range(50))
    given_out = 0
    for number, piece in enumerate(held):
        given_out += len(piece)
        assert 100_000 * (number + 3) - given_out < HEAD_CHARACTERS + TAIL_CHARACTERS + 200_000
    assert given_out == 5_000_000
