"""Finds documents that came before: the same text again, or nearly the same, such as another edition of a book.

Nearly the same is measured on passages: windows of 32 letters, whatever the line ends, white space, punctuation, quotes
and capitals of ASCII among them. A passage is in the sample where its own letters say so, so every edition of a text
samples the same ones. A MinHash (Broder, "On the resemblance and containment of documents", 1997) of the sample
stands for the document: 256 bytes, however long it is.

`scripts/bench_duplicates.py` measures what all of this costs, and what it finds in a folder of texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from datasketch import LeanMinHash, MinHashLSH

PASSAGE_LETTERS = 32
SAMPLING = 128  # one passage in so many is in the sample
MIN_PASSAGES = 64  # with fewer in the sample, an estimate would be chance
PERMUTATIONS = 64

# Of the passages of two texts together, the share that stands in both. Where a share p of the words is changed, a
# passage, which touches 8 or 9 of them, survives with (1 - p)^8.5: the similarity is 0.85 for 1%, 0.73 for 2%, 0.63 for
# 3%. The estimate from 64 permutations scatters by 0.06 around it, so 2% are found with 999 chances in 1,000. A text
# to which as much again was added has 0.5; two novels have less than 0.0001.
NEAR_THRESHOLD = 0.55

# Candidates agree in all 3 values of one of 21 bands: 98% of the pairs at the threshold, all but 1 in 30,000 at 0.73,
# and 0.3% of those that share a twentieth of their passages, such as a licence.
_BANDS = (21, 3)
_SEED = 1
_SCHEME = "affine32"  # of datasketch's MinHash: the kept sketches of an interrupted run depend on it

_PIECE_LETTERS = 1 << 15  # hashed at once: the 64-bit hashes of a piece stay in the processor's second cache
_BATCH_PASSAGES = 4096  # permuted at once: 1 MiB, however long the document is
_MULTIPLIER = 0x9E3779B97F4A7C15
_LOW_64_BITS = (1 << 64) - 1

_LOWER_CASE = bytes(range(256)).lower()
_NOT_LETTERS = bytes(code for code in range(128) if not chr(code).isalnum())
# What begins the UTF-8 of a sign that is no letter, but for its last byte: Latin-1 signs (no-break space, soft hyphen,
# guillemets), general punctuation U+2000..U+207F (curly quotes, dashes), Chinese and Japanese punctuation.
_SIGNS = (b"\xc2", b"\xe2\x80", b"\xe2\x81", b"\xe3\x80")


@dataclass(frozen=True)
class Duplicate:
    """A document that came before: which one (`of`, its source), and how much of the passages is in both.

    `similarity` is 1 for the same text; otherwise the estimated share, of the passages of both, that both have.
    """

    of: str
    kind: Literal["exact", "near"]
    similarity: float

    def __str__(self) -> str:
        if self.kind == "exact":
            return f"the same text as {self.of}"
        return f"nearly the text of {self.of} (about {self.similarity:.0%} of the passages of both are the same)"


def sampled_shingles(text: bytes) -> npt.NDArray[np.uint64]:
    """Returns the distinct 64-bit hashes, sorted, of the sampled passages of a block of UTF-8 text.

    A passage is 32 bytes of letters and digits: 32 letters of ASCII, 16 of Greek or Cyrillic, 10 of Chinese. ASCII
    letters count as lower case; letters beyond ASCII as they are, so neither their case nor composed and decomposed
    accents are made equal. A passage that crosses the border between two blocks is left out: 31 in a block.
    """
    letters = np.frombuffer(_letters_of(text), np.uint8)
    sample = [
        _sampled(_passage_hashes(letters[start : start + _PIECE_LETTERS + PASSAGE_LETTERS - 1]))
        for start in range(0, len(letters), _PIECE_LETTERS)
    ]
    return _distinct([_mixed(each) for each in sample])


def sketch_of(shingles: Sequence[npt.NDArray[np.uint64]]) -> bytes | None:
    """Returns the MinHash of a document from the sampled passages of its blocks: 64 values, little-endian uint32.

    None where fewer than 64 distinct passages are in the sample, in texts of less than about 8,000 letters: these are
    too short to compare, so only exact duplicates are found among them. The same for any order of the blocks.
    """
    from datasketch import MinHash

    passages = _distinct(shingles)
    if len(passages) < MIN_PASSAGES:
        return None
    values = passages.astype(np.uint32)  # their low halves: what this scheme takes
    signature = MinHash(num_perm=PERMUTATIONS, seed=_SEED, scheme=_SCHEME, hashfunc=int)
    for start in range(0, len(values), _BATCH_PASSAGES):
        signature.update_batch(values[start : start + _BATCH_PASSAGES].tolist())
    return signature.hashvalues.astype("<u4").tobytes()


def similarities(sketch: bytes, others: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """Returns, for each other sketch, the estimated share of the passages of both documents that both have: the Jaccard
    similarity, in steps of 1/64."""
    values = np.frombuffer(b"".join(others), "<u4").reshape(len(others), PERMUTATIONS)
    return (values == np.frombuffer(sketch, "<u4")).mean(axis=1)


class Duplicates:
    """The documents so far, each of which the next ones may repeat.

    The same documents in the same order give the same answers, so the state is restored by finding them again. Only
    documents that repeat none are remembered: a duplicate is always of one that is kept, not of another duplicate.
    A remembered document takes about 7 KB.
    """

    def __init__(self) -> None:
        self._sources: list[str] = []
        self._sketches: dict[int, bytes] = {}
        self._by_sha256: dict[bytes, int] = {}
        self._index: MinHashLSH | None = None

    def find(self, source: str, sha256: str, sketch: bytes | None) -> Duplicate | None:
        """Returns the document of which this one is a duplicate; where there is none, remembers it and returns None.

        `sha256` is the text's digest in hexadecimal, `sketch` what `sketch_of` returned. The same text comes first;
        then the most similar one of at least `NEAR_THRESHOLD`, the earliest of equals.
        """
        digest = bytes.fromhex(sha256)
        same = self._by_sha256.get(digest)
        if same is not None:
            return Duplicate(self._sources[same], "exact", 1.0)
        near = None if sketch is None else self._nearest(sketch)
        if near is None:
            self._remember(source, digest, sketch)
        return near

    def _nearest(self, sketch: bytes) -> Duplicate | None:
        candidates = sorted(self._lsh().query(_minhash(sketch)))
        if not candidates:
            return None
        similarity = similarities(sketch, [self._sketches[each] for each in candidates])
        best = int(similarity.argmax())
        if similarity[best] < NEAR_THRESHOLD:
            return None
        return Duplicate(self._sources[candidates[best]], "near", float(similarity[best]))

    def _remember(self, source: str, digest: bytes, sketch: bytes | None) -> None:
        place = len(self._sources)
        if sketch is not None:
            self._lsh().insert(place, _minhash(sketch))
            self._sketches[place] = sketch
        self._sources.append(source)
        self._by_sha256[digest] = place

    def _lsh(self) -> "MinHashLSH":
        from datasketch import MinHashLSH

        if self._index is None:
            self._index = MinHashLSH(num_perm=PERMUTATIONS, params=_BANDS)
        return self._index


def _minhash(sketch: bytes) -> "LeanMinHash":
    from datasketch import LeanMinHash

    return LeanMinHash(seed=_SEED, hashvalues=np.frombuffer(sketch, "<u4"), scheme=_SCHEME)


def _letters_of(text: bytes) -> bytes:
    """Returns what is compared of a UTF-8 text: letters and digits, in ASCII lower case."""
    codes = np.frombuffer(text, np.uint8).copy()
    for sign in _SIGNS:
        at = np.flatnonzero(codes[: -len(sign)] == sign[0])  # a block of bytes may end within a sign
        if len(sign) > 1:
            at = at[codes[at + 1] == sign[1]]
        for offset in range(len(sign) + 1):
            codes[at + offset] = 0  # which is no letter either
    return codes.tobytes().translate(_LOWER_CASE, _NOT_LETTERS)


def _passage_hashes(letters: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Returns `sum(letters[i + j] * M ** (31 - j) for j in range(32)) % 2**64` for every i that has 32 letters.

    By doubling: the hash of 2n letters is that of the first n times M^n, plus that of the second n.
    """
    hashes = letters.astype(np.uint64)
    length, power = 1, _MULTIPLIER
    while length < PASSAGE_LETTERS:
        hashes = hashes[:-length] * np.uint64(power) + hashes[length:]
        length, power = 2 * length, power * power & _LOW_64_BITS
    return hashes


def _sampled(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Returns those of the lowest 128th: the highest bits decide, in which all letters but the last have a part."""
    return hashes[hashes < np.uint64((1 << 64) // SAMPLING)]


def _mixed(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Returns a bijection in which every bit depends on all 64: the finaliser of splitmix64 (Steele, Lea, Flood,
    "Fast splittable pseudorandom number generators", 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _distinct(hashes: Sequence[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    """Returns `np.unique(np.concatenate(hashes))`, by sorting: it hashes, slow for millions."""
    ordered = np.sort(np.concatenate([np.empty(0, np.uint64), *hashes]))
    return ordered[np.diff(ordered, prepend=~ordered[:1]) != 0]
