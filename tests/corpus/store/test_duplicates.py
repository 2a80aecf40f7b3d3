"""Editions, made of invented words, are found; other texts of the same words are not."""

import random
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from revlm.corpus.store import duplicates as duplicates_module
from revlm.corpus.store.duplicates import (
    NEAR_THRESHOLD,
    PASSAGE_LETTERS,
    SAMPLING,
    Duplicate,
    Duplicates,
    sampled_shingles,
    similarities,
    sketch_of,
)

LATIN = "abcdefghijklmnopqrstuvwxyz"
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
SEEDS = st.integers(0, 2**32)
WORDS = 20_000  # of 4.5 letters: about 700 sampled passages


def invented_words(seed: int, count: int = WORDS, alphabet: str = LATIN) -> list[str]:
    """`count` words of an invented language, each of a vocabulary of 2,000 that is the same for every seed."""
    letters = random.Random(alphabet)
    vocabulary = ["".join(letters.choices(alphabet, k=letters.randint(1, 8))) for _ in range(2000)]
    return random.Random(seed).choices(vocabulary, k=count)


def with_changes(words: list[str], share: float, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [f"other{chance.randrange(10**6)}" if chance.random() < share else word for word in words]


def sketch(text: str) -> bytes | None:
    return sketch_of([sampled_shingles(text.encode())])


def long_sketch(text: str) -> bytes:
    made = sketch(text)
    assert made is not None
    return made


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def find_all(*texts: str) -> list[Duplicate | None]:
    """What is found for each text, called "0", "1", ... in this order."""
    duplicates = Duplicates()
    return [duplicates.find(str(place), digest(text), sketch(text)) for place, text in enumerate(texts)]


def plain_shingles(text: str) -> npt.NDArray[np.uint64]:
    """The definition, one letter after the other, of a text of ASCII and curly quotes."""
    codes = [ord(letter.lower()) for letter in text if letter.isascii() and letter.isalnum()]
    multiplier, modulus, sample = 0x9E3779B97F4A7C15, 1 << 64, set()
    rolling = 0
    for place, code in enumerate(codes):
        rolling = (rolling * multiplier + code) % modulus
        if place >= PASSAGE_LETTERS:
            rolling = (rolling - codes[place - PASSAGE_LETTERS] * multiplier**PASSAGE_LETTERS) % modulus
        if place >= PASSAGE_LETTERS - 1 and rolling < modulus // SAMPLING:
            mixed = (rolling ^ rolling >> 30) * 0xBF58476D1CE4E5B9 % modulus
            mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % modulus
            sample.add(mixed ^ mixed >> 31)
    return np.array(sorted(sample), np.uint64)


@pytest.mark.parametrize("count", [0, 1, 6, 7, 500, 20_000])
def test_a_sample_equals_its_plain_definition(count: int) -> None:
    text = "“" + ", ".join(invented_words(1, count)) + ".”\n"
    assert np.array_equal(sampled_shingles(text.encode()), plain_shingles(text))


@given(st.text(st.sampled_from("abzAZ09 .\n\t\0~“”…"), max_size=3000))
def test_so_does_the_sample_of_any_characters(text: str) -> None:
    assert np.array_equal(sampled_shingles(text.encode()), plain_shingles(text))


@pytest.mark.parametrize("piece_letters", [1, 31, 32])
def test_a_sample_has_no_gaps_between_pieces(piece_letters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates_module, "_PIECE_LETTERS", piece_letters)
    text = "".join(invented_words(1, 100))
    assert len(plain_shingles(text[:300])) >= 2
    for length in (*range(70), *range(70, 300, 13)):
        assert np.array_equal(sampled_shingles(text[:length].encode()), plain_shingles(text[:length]))


@given(st.text().map(str.encode) | st.binary())
@example("…".encode()[:2])
@example("»".encode()[:1])
def test_any_block_is_taken(block: bytes) -> None:
    assert sampled_shingles(block).dtype == np.uint64


def test_one_passage_in_128_is_in_the_sample() -> None:
    words = invented_words(2, 200_000)
    passages = sum(map(len, words)) - PASSAGE_LETTERS + 1
    assert len(sampled_shingles(" ".join(words).encode())) == pytest.approx(passages / SAMPLING, rel=0.05)


def test_a_repeated_passage_is_there_once() -> None:
    once = " ".join(invented_words(3, 5_000))
    assert len(sampled_shingles(b"a" * 300_000)) <= 1
    assert len(np.setxor1d(sampled_shingles(once.encode()), sampled_shingles(f"{once} {once} {once}".encode()))) <= 3


EDITIONS: dict[str, Callable[[str], str]] = {
    "other lines": lambda text: textwrap.fill(text, 43),
    "Windows lines": lambda text: textwrap.fill(text, 70).replace("\n", "\r\n"),
    "capitals": str.upper,
    "curly quotes": lambda text: "“" + text.replace(" ", "” — \N{LEFT SINGLE QUOTATION MARK}") + "…",
    "guillemets": lambda text: "«\N{NO-BREAK SPACE}" + text.replace(" ", "\N{SOFT HYPHEN} ") + "\N{NO-BREAK SPACE}»",
    "no punctuation": lambda text: text.replace(" ", ""),
    "word joiners": lambda text: text.replace(" ", " \N{WORD JOINER}"),
    "ideographic spaces": lambda text: text.replace(" ", "\N{IDEOGRAPHIC SPACE}"),
    "hyphens and underlines": lambda text: "_" + text.replace(" ", "_ -- _"),
}


# Capitals beyond ASCII are other letters.
@pytest.mark.parametrize(
    ("name", "alphabet"),
    [*((name, LATIN) for name in EDITIONS), *((name, CYRILLIC) for name in EDITIONS if name != "capitals")],
)
def test_how_a_text_is_set_makes_no_difference(name: str, alphabet: str) -> None:
    text = " ".join(invented_words(4, alphabet=alphabet))
    edition = EDITIONS[name](text)
    assert np.array_equal(sampled_shingles(text.encode()), sampled_shingles(edition.encode()))
    assert find_all(text, edition) == [None, Duplicate("0", "near", 1.0)]


@given(st.lists(st.integers(0, 100_000), max_size=5), SEEDS)
@settings(max_examples=20)
def test_blocks_lose_only_passages_across_their_borders(borders: list[int], seed: int) -> None:
    text = " ".join(invented_words(5))
    ends = [0, *sorted(min(border, len(text)) for border in borders), len(text)]
    blocks = [sampled_shingles(text[start:end].encode()) for start, end in pairwise(ends)]
    whole, together = sampled_shingles(text.encode()), np.unique(np.concatenate(blocks))
    assert not len(np.setdiff1d(together, whole))
    assert len(whole) - len(together) <= (PASSAGE_LETTERS - 1) * len(borders)
    shuffled = random.Random(seed).sample(blocks, len(blocks))
    assert sketch_of(blocks) == sketch_of([*shuffled, *blocks]) == sketch_of([together])


def test_a_sketch_means_the_same_in_every_version() -> None:
    """Sketches are kept in files: where this fails, files that were written before must not be gone on with."""
    made = long_sketch(" ".join(str(number**3) for number in range(10_000)))
    assert len(made) == 256
    assert sha256(made).hexdigest() == "88cb001a42d0f0db99d1d201b9fa7a2274ab0baf340eb20e660900e351402e4d"


def test_a_long_document_is_sketched_like_its_parts() -> None:
    passages = np.random.default_rng(0).integers(1 << 63, size=20_000, dtype=np.uint64)
    parts = np.array([np.frombuffer(sketch_of([part]) or b"", "<u4") for part in np.split(passages, 20)])
    assert sketch_of([passages]) == parts.min(axis=0).tobytes()


@given(SEEDS, st.sampled_from([LATIN, CYRILLIC]), st.sampled_from([0.0, 0.01]), st.floats(0, 0.15))
@settings(max_examples=10)
def test_an_edition_is_found_in_either_order(seed: int, alphabet: str, changed: float, preface: float) -> None:
    words = invented_words(seed, alphabet=alphabet)
    introduction = invented_words(seed + 1, int(preface * WORDS), alphabet)
    one = " ".join(words)
    other = textwrap.fill(" ".join([*introduction, *with_changes(words, changed, seed)]), 61)
    for pair in ((one, other), (other, one)):
        first, second = find_all(*pair)
        assert first is None
        assert second is not None
        assert (second.of, second.kind) == ("0", "near")
        assert NEAR_THRESHOLD <= second.similarity <= 1


def test_similarity_is_the_share_of_passages_that_both_have() -> None:
    one = "".join(invented_words(6, 40_000))
    other = one[: len(one) * 3 // 4]
    estimates = []
    for seed in range(20):
        added = "".join(invented_words(100 + seed, 20_000))
        estimates += [similarities(long_sketch(one + added), [long_sketch(other + added), long_sketch(added)])]
    assert np.mean(estimates, axis=0) == pytest.approx([(0.75 + 0.5) / 1.5, 0.5 / 1.5], abs=0.04)


@given(SEEDS)
@example(265)
@settings(max_examples=10)
def test_other_texts_of_the_same_words_are_not_found(seed: int) -> None:
    """At most a sixth of the passages are shared: 64 permutations estimate 0.55 or more once in 10**12 cases.

    A text three times as long shares a third, which is estimated as 0.55 or more once in 7,000 cases.
    """
    words = invented_words(seed)
    shuffled = random.Random(seed).sample(words, len(words))
    longer = [*words[: WORDS // 2], *invented_words(seed + 1, 2 * WORDS)]
    licence = [*invented_words(seed + 2), *words[: WORDS // 10]]
    assert find_all(*(" ".join(each) for each in (words, shuffled, longer, licence))) == [None] * 4


def test_short_documents_are_only_found_where_they_are_the_same(paragraph: str) -> None:
    assert find_all(paragraph, paragraph + "!", paragraph, "", "!", "") == [
        None, None, Duplicate("0", "exact", 1.0), None, None, Duplicate("3", "exact", 1.0)
    ]  # fmt: skip


@pytest.mark.parametrize(("passages", "compared"), [(63, False), (64, True)])
def test_a_sketch_needs_64_passages(passages: int, compared: bool) -> None:
    hashes = np.arange(passages, dtype=np.uint64)
    assert (sketch_of([hashes, hashes[:5]]) is not None) == compared
    assert sketch_of([]) is None


def test_a_duplicate_is_of_a_document_that_is_kept() -> None:
    """C is an edition of B, which is one of A, but C is too far from A: B is not kept, so C repeats none that is."""
    words = invented_words(7, 60_000)
    step = len(words) // 3
    a, b, c = (" ".join(words[start : start + 2 * step]) for start in (0, step // 3, 2 * step // 3))
    assert [each and each.of for each in find_all(a, b, c)] == [None, "0", None]
    assert [each and each.of for each in find_all(b, a, c, b, a)] == [None, "0", "0", "0", "0"]


def sketch_with(changed: range) -> bytes:
    """A sketch whose values are 0 to 63, but for those of `changed`."""
    values = np.arange(64, dtype="<u4")
    values[changed] += 1000 * (1 + changed.start)
    return values.tobytes()


@pytest.mark.parametrize(("same", "found"), [(35, False), (36, True), (64, True)])
def test_near_begins_at_the_threshold(same: int, found: bool) -> None:
    duplicates = Duplicates()
    assert duplicates.find("first", digest("first"), sketch_with(range(64))) is None
    duplicate = Duplicate("first", "near", same / 64) if found else None
    values = np.frombuffer(sketch_with(range(64)), "<u4").copy()
    values[same:] = 0
    assert duplicates.find("second", digest("second"), values.tobytes()) == duplicate


def test_the_most_similar_is_named_and_the_earliest_of_equals() -> None:
    duplicates = Duplicates()
    for source, changed in (("first", range(28)), ("second", range(36, 64)), ("closer", range(19, 45))):
        assert duplicates.find(source, digest(source), sketch_with(changed)) is None
    assert duplicates.find("own", digest("own"), sketch_with(range(0))) == Duplicate("closer", "near", 38 / 64)
    duplicates = Duplicates()
    for source, changed in (("first", range(28)), ("second", range(36, 64))):
        assert duplicates.find(source, digest(source), sketch_with(changed)) is None
    assert duplicates.find("own", digest("own"), sketch_with(range(0))) == Duplicate("first", "near", 36 / 64)


def test_the_same_text_comes_before_a_near_one() -> None:
    duplicates = Duplicates()
    assert duplicates.find("near", digest("near"), sketch_with(range(3))) is None
    assert duplicates.find("same", digest("same"), None) is None
    assert duplicates.find("again", digest("same"), sketch_with(range(0))) == Duplicate("same", "exact", 1.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.01, 0.03])), max_size=12), st.integers(0, 12))
@settings(max_examples=20)
def test_finding_again_in_the_same_order_restores_the_state(
    documents: list[tuple[int, float]], interrupted: int
) -> None:
    texts = [" ".join(with_changes(invented_words(seed, 4000), changed, seed)) for seed, changed in documents]
    before = find_all(*texts)
    duplicates = Duplicates()
    restored = [
        duplicates.find(str(place), digest(text), sketch(text)) for place, text in enumerate(texts[:interrupted])
    ]
    assert restored == before[: len(restored)]
    for place, text in enumerate(texts[interrupted:], len(restored)):
        assert duplicates.find(str(place), digest(text), sketch(text)) == before[place]
    kept = {str(place) for place, found in enumerate(before) if found is None}
    assert all(found.of in kept for found in before if found)


def test_a_remembered_document_takes_at_most_ten_kilobytes() -> None:
    generator = np.random.default_rng(0)
    made = [sketch_of([generator.integers(1 << 63, size=200, dtype=np.uint64)]) for _ in range(500)]
    duplicates = Duplicates()
    duplicates.find("first", digest("first"), made[0])
    tracemalloc.start()
    for place, each in enumerate(made[1:]):
        assert duplicates.find(f"library/text_{place:06d}.txt", f"{place:064x}", each) is None
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown / len(made) < 10_000


def test_a_duplicate_says_what_it_is_in_a_sentence() -> None:
    assert str(Duplicate("a/b.txt", "exact", 1.0)) == "the same text as a/b.txt"
    near = str(Duplicate("a/b.txt", "near", 0.875))
    assert near.startswith("nearly the text of a/b.txt (")
    assert "88%" in near


def test_its_library_is_loaded_where_it_is_used() -> None:
    code = "import sys, revlm.corpus.store.duplicates; print('datasketch' in sys.modules, 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
