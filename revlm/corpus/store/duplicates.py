"""Finds duplicates of earlier documents: the same text, or nearly the same, such as another edition of a book.

Near duplicates are found by passages: windows of 32 letters that ignore line ends, white space, punctuation, quotes and
ASCII case. A passage's own hash decides whether it is sampled, so every edition of a text samples the same ones. A
MinHash (Broder, "On the resemblance and containment of documents", 1997) of the sample represents the document in 256
bytes, however long it is.

`scripts/bench_duplicates.py` measures the cost, and what is found in a folder of texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from datasketch import LeanMinHash, MinHashLSH

PASSAGE_LETTERS = 32
SAMPLING = 128  # one passage in this many is sampled
MIN_PASSAGES = 64  # an estimate from fewer would be noise
PERMUTATIONS = 64

# The least Jaccard similarity of the passages of two near duplicates. If a share p of the words is changed, a passage,
# which spans 8 or 9 words, survives with probability (1 - p)^8.5: the similarity is 0.85 for 1%, 0.73 for 2%, 0.63 for
# 3%. The estimate from 64 permutations has a standard deviation of 0.06, so 2% is found in 999 of 1,000 cases. A text
# doubled in length by additions has 0.5; two novels have less than 0.0001.
NEAR_THRESHOLD = 0.55

# Candidates agree in all 3 values of one of 21 bands: 98% of the pairs at the threshold, all but 1 in 30,000 at 0.73,
# and 0.3% of those that share a twentieth of their passages, such as a licence.
_BANDS = (21, 3)
_SEED = 1
_SCHEME = "affine32"  # of datasketch's MinHash; stored sketches depend on it

_PIECE_LETTERS = 1 << 15  # hashed at once: their 64-bit hashes fit in the L2 cache
_BATCH_PASSAGES = 4096  # permuted at once, which takes 1 MiB
_MULTIPLIER = 0x9E3779B97F4A7C15
_LOW_64_BITS = (1 << 64) - 1

_LOWER_CASE = bytes(range(256)).lower()
_NOT_LETTERS = bytes(code for code in range(128) if not chr(code).isalnum())
# The UTF-8 prefixes, all but the last byte, of characters that are not letters: Latin-1 symbols (no-break space, soft
# hyphen, guillemets), general punctuation U+2000..U+207F (curly quotes, dashes), Chinese and Japanese punctuation.
_SIGNS = (b"\xc2", b"\xe2\x80", b"\xe2\x81", b"\xe3\x80")


@dataclass(frozen=True)
class Duplicate:
    """The earlier document that a document duplicates: its source (`of`) and their similarity.

    `similarity` is 1 for the same text, otherwise the estimated Jaccard similarity of their passages.
    """

    of: str
    kind: Literal["exact", "near"]
    similarity: float

    def __str__(self) -> str:
        if self.kind == "exact":
            return f"the same text as {self.of}"
        return f"nearly the text of {self.of} (about {self.similarity:.0%} of the passages of both are the same)"


def sampled_shingles(text: bytes) -> npt.NDArray[np.uint64]:
    """Returns the sorted distinct hashes, uint64, of the sampled passages of a chunk of UTF-8 text.

    A passage is 32 bytes of letters and digits: 32 ASCII letters, 16 Greek or Cyrillic ones, 10 Chinese ones. ASCII
    letters are lowered; letters beyond ASCII are unchanged, so their case and composed or decomposed accents make a
    difference. The 31 passages that cross the boundary to the next chunk are left out.
    """
    letters = np.frombuffer(_letters_of(text), np.uint8)
    sample = [
        _sampled(_passage_hashes(letters[start : start + _PIECE_LETTERS + PASSAGE_LETTERS - 1]))
        for start in range(0, len(letters), _PIECE_LETTERS)
    ]
    return _distinct([_mixed(each) for each in sample])


def sketch_of(shingles: Sequence[npt.NDArray[np.uint64]]) -> bytes | None:
    """Returns the MinHash of a document from the sampled passages of its chunks: 64 values, little-endian uint32.

    None where fewer than 64 distinct passages are sampled, as in texts of less than about 8,000 letters, of which only
    exact duplicates are found. The order of the chunks does not matter.
    """
    passages = _distinct(shingles)
    if len(passages) < MIN_PASSAGES:
        return None
    from datasketch import MinHash

    values = passages.astype(np.uint32)  # the low halves: this scheme takes 32-bit values
    signature = MinHash(num_perm=PERMUTATIONS, seed=_SEED, scheme=_SCHEME, hashfunc=int)
    for start in range(0, len(values), _BATCH_PASSAGES):
        signature.update_batch(values[start : start + _BATCH_PASSAGES].tolist())
    return signature.hashvalues.astype("<u4").tobytes()


def similarities(sketch: bytes, others: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """Returns the estimated Jaccard similarity of a sketch's passages to each of `others`, float64 [others], in steps
    of 1/64."""
    values = np.frombuffer(b"".join(others), "<u4").reshape(len(others), PERMUTATIONS)
    return (values == np.frombuffer(sketch, "<u4")).mean(axis=1)


class Duplicates:
    """The documents so far, in which later ones are looked up.

    The results depend only on the documents and their order, so the state is restored by repeating the calls of `find`.
    Only documents that are not duplicates are remembered: a duplicate is always of an original. A remembered document
    takes about 7 KB.
    """

    def __init__(self) -> None:
        self._sources: list[str] = []
        self._sketches: dict[int, bytes] = {}
        self._by_sha256: dict[bytes, int] = {}
        self._index: MinHashLSH | None = None

    def find(self, source: str, sha256: str, sketch: bytes | None) -> Duplicate | None:
        """Returns the earlier document that this one duplicates; where there is none, remembers it and returns None.

        `sha256` is the text's digest in hexadecimal, `sketch` the result of `sketch_of`. An exact duplicate takes
        precedence over the most similar document of at least `NEAR_THRESHOLD`, the earliest of equals.
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
    """Returns the letters and digits of a UTF-8 text, ASCII ones in lower case."""
    codes = np.frombuffer(text, np.uint8).copy()
    for sign in _SIGNS:
        at = np.flatnonzero(codes[: -len(sign)] == sign[0])  # the bytes may end inside a character
        if len(sign) > 1:
            at = at[codes[at + 1] == sign[1]]
        for offset in range(len(sign) + 1):
            codes[at + offset] = 0  # NUL is not a letter either
    return codes.tobytes().translate(_LOWER_CASE, _NOT_LETTERS)


def _passage_hashes(letters: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Returns `sum(letters[i + j] * M ** (31 - j) for j in range(32)) % 2**64` for every i with 32 letters from it on.

    By doubling: the hash of 2n letters is that of the first n times M^n, plus that of the second n.
    """
    hashes = letters.astype(np.uint64)
    length, power = 1, _MULTIPLIER
    while length < PASSAGE_LETTERS:
        hashes = hashes[:-length] * np.uint64(power) + hashes[length:]
        length, power = 2 * length, power * power & _LOW_64_BITS
    return hashes


def _sampled(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Returns the hashes in the lowest 128th: the highest bits decide, which depend on all letters but the last."""
    return hashes[hashes < np.uint64((1 << 64) // SAMPLING)]


def _mixed(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Returns a bijection in which every bit depends on all 64: the finaliser of splitmix64 (Steele, Lea, Flood,
    "Fast splittable pseudorandom number generators", 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _distinct(hashes: Sequence[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    """Returns `np.unique(np.concatenate(hashes))`, by sorting, which is faster for millions of values."""
    ordered = np.sort(np.concatenate([np.empty(0, np.uint64), *hashes]))
    return ordered[np.diff(ordered, prepend=~ordered[:1]) != 0]
