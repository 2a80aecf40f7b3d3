from collections import Counter
from collections.abc import Iterator

import numpy as np

from revlm.corpus import Example
from revlm.evaluation.texts import Text, TextSample, beginnings, vocabulary_of


def pieces(number: int, tokens: int, piece: int) -> Iterator[tuple[int, Example]]:
    """A document of the token `number`, in pieces as a corpus gives them."""
    for start in range(0, tokens, piece):
        targets = np.full(min(piece, tokens - start), number, dtype=np.int32)
        inputs = targets.copy()
        inputs[0] = number if start else 0
        yield start, Example(inputs, targets, np.zeros_like(targets), ("title",), 0, len(targets))


def sampled(size: int, seed: int, documents: int) -> list[Text]:
    sample = TextSample(size, seed)
    for number in range(1, documents + 1):
        assert sum(len(piece) for _, piece in sample.collect(str(number), pieces(number, 7, 3))) == 7
    return sample.texts()


def test_documents_come_back_whole() -> None:
    texts = sampled(9, 0, 3)
    assert sorted(text.title for text in texts) == ["1", "2", "3"]
    for text in texts:
        assert text.tokens.tolist() == [int(text.title)] * 7
        assert text.before == 0
        assert text.inputs(4).tolist() == [0, *[int(text.title)] * 3]


def test_each_document_is_as_likely_to_stay_and_a_seed_keeps_the_same() -> None:
    counts = Counter(text.title for seed in range(600) for text in sampled(2, seed, 6))
    assert sum(counts.values()) == 1200
    assert all(150 < count < 250 for count in counts.values())
    assert [text.title for text in sampled(2, 5, 6)] == [text.title for text in sampled(2, 5, 6)]


def test_beginnings_end_with_the_tokens_that_are_wanted() -> None:
    texts = [Text("", 0, np.arange(length, dtype=np.int32)) for length in (10, 100, 30)]
    assert [len(text) for text in beginnings(texts, 50, 1000)] == [10, 50, 30]
    assert [len(text) for text in beginnings(texts, 50, 40)] == [10, 30]
    assert vocabulary_of(beginnings(texts, 50, 40)).tolist() == list(range(30))
