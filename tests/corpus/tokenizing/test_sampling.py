from collections.abc import Iterator

from revlm.corpus.reading.cleaning import Cleaning
from revlm.corpus.reading.events import Dropped, Ended, Event, Piece, ReadPosition
from revlm.corpus.reading.refusing import Skipped
from revlm.corpus.tokenizing.training import PASSAGE_CHARACTERS, sample_passages


def events(*texts: str, pieces: int = 1, dropped: int | None = None) -> Iterator[Event]:
    for number, text in enumerate(texts):
        size = -(-len(text) // pieces)
        for start in range(0, len(text), size):
            yield Piece(text[start : start + size], f"text {number}", 0)
        if number == dropped:
            yield Dropped(ReadPosition(number, 1), Skipped(f"{number}.txt", "broken"), 0)
        else:
            yield Ended(ReadPosition(number, 1), f"text {number}", f"{number}.txt", Cleaning(), 0)


def text_of(letter: str, passages: int) -> str:
    """Lines of one letter that fill so many passages."""
    return ((letter * 63 + "\n") * (PASSAGE_CHARACTERS // 64)) * passages


def test_a_small_corpus_is_its_own_sample() -> None:
    texts = ["a short one", text_of("b", 3), text_of("c", 1)]
    assert "".join(sample_passages(events(*texts))) == "".join(texts)
    assert sample_passages(events(*texts, pieces=7)) == sample_passages(events(*texts))


def test_a_large_corpus_is_sampled_fairly_and_within_the_limit() -> None:
    """Every document has its share, also the last, and the sample is the same each time."""
    sizes = {"a": 400, "b": 100, "c": 400, "d": 100}
    texts = [text_of(letter, passages) for letter, passages in sizes.items()]
    limit = 200 * PASSAGE_CHARACTERS
    sample = sample_passages(events(*texts), sample_bytes=limit)
    assert sum(map(len, sample)) == limit
    counts = {letter: sum(passage[0] == letter for passage in sample) for letter in sizes}
    for letter, passages in sizes.items():
        assert abs(counts[letter] - passages / 5) < 25, counts
    assert sample == sample_passages(events(*texts, pieces=5), sample_bytes=limit)
    assert sample != sample_passages(events(*texts), sample_bytes=limit, seed=1)


def test_a_text_that_turns_out_unusable_is_not_in_the_sample() -> None:
    texts = [text_of("a", 2), text_of("b", 2), text_of("c", 2)]
    assert "".join(sample_passages(events(*texts, dropped=1))) == texts[0] + texts[2]
