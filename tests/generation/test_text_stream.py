"""A text is the same however its bytes are split, and what was shown is never taken back."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.errors import UsageError
from revlm.generation import TextStream

# Few characters, of one to four bytes, so that stop texts are found, begun and given up often.
TEXT = st.text("ab é—🐋", max_size=30)
STOPS = st.lists(st.text("ab é—🐋", min_size=1, max_size=5), max_size=3)


def split(data: st.DataObject, content: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=len(content))))
    return [content[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(content)], strict=True)]


def until_a_stop(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The text before the stop text that is complete first, the longest of those complete together."""
    for end in range(len(text) + 1):
        for stop in sorted(stops, key=len, reverse=True):
            if text[:end].endswith(stop):
                return text[: end - len(stop)], stop
    return text, None


@given(TEXT, STOPS, st.data())
def test_any_split_gives_the_same_text(text: str, stops: list[str], data: st.DataObject) -> None:
    stream = TextStream(stops)
    shown = [stream.push(piece) for piece in split(data, text.encode())]
    shown.append(stream.finish())
    expected, stop = until_a_stop(text, stops)
    assert "".join(shown) == expected
    assert stream.stopped_by == stop


@given(st.binary(max_size=20), st.data())
def test_bytes_that_are_no_text_are_replaced_however_they_come(content: bytes, data: st.DataObject) -> None:
    stream = TextStream()
    shown = "".join([stream.push(piece) for piece in split(data, content)]) + stream.finish()
    assert shown == codecs.getincrementaldecoder("utf-8")(errors="replace").decode(content)


@given(TEXT)
def test_of_a_character_that_is_cut_off_at_the_end_nothing_is_shown(text: str) -> None:
    for character in "é—🐋":
        for end in range(1, len(character.encode())):
            stream = TextStream()
            assert stream.push(text.encode() + character.encode()[:end]) + stream.finish() == text


@given(TEXT, STOPS)
def test_after_each_byte_all_is_shown_that_cannot_become_a_stop_text(text: str, stops: list[str]) -> None:
    stream, shown, content = TextStream(stops), "", text.encode()
    for end in range(1, len(content) + 1):
        shown += stream.push(content[end - 1 : end])
        if stream.stopped_by is not None:
            return
        whole = content[:end].decode(errors="ignore")  # without the half of a character at its end
        held = max(
            (n for n in range(len(whole) + 1) for stop in stops if stop.startswith(whole[len(whole) - n :])), default=0
        )
        assert shown == whole[: len(whole) - held]


def test_a_stop_text_across_tokens_is_found_and_nothing_comes_after_it() -> None:
    stream = TextStream(["\n\n", "END"])
    assert [stream.push(piece) for piece in (b"a E", b"N", b"X E", b"N", b"D b\n\n")] == ["a ", "", "ENX ", "", ""]
    assert stream.stopped_by == "END"
    assert stream.push(b"c") == stream.finish() == ""


def test_a_stop_text_inside_another_ends_the_text_when_it_is_complete() -> None:
    for pieces in ([b"xabcd"], [b"xa", b"b", b"c", b"d"]):
        stream = TextStream(["abcd", "bc"])
        assert "".join(map(stream.push, pieces)) + stream.finish() == "xa"
        assert stream.stopped_by == "bc"


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(UsageError, match="a stop text is empty"):
        TextStream(["a", ""])
