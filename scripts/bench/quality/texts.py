"""The training and held-out text of every model, as tokens and as bytes."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a rival's process needs neither of them
    from revlm.corpus import Corpus, Example

_DESCRIPTION, _ARRAYS = "texts.json", ("train_tokens", "held_out_tokens", "train_bytes", "held_out_bytes")


@dataclass(frozen=True)
class Texts:
    """A folder of `write_texts`.

    Attributes:
        folder: the folder of the arrays.
        vocab_size: of the tokens.
        begin_id: the token before each document, which is no target.
        bytes_per_token: of the training text.
        held_out_size: UTF-8 bytes of the held-out text, by which bits per byte are divided.
    """

    folder: Path
    vocab_size: int
    begin_id: int
    bytes_per_token: float
    held_out_size: int

    @staticmethod
    def open(folder: str | Path) -> "Texts":
        """Returns the texts that lie in a folder."""
        return Texts(Path(folder), **json.loads(Path(folder, _DESCRIPTION).read_text()))

    @cached_property
    def train_tokens(self) -> NDArray[Any]:
        """The training documents one after the other, each after a begin token."""
        return self._array("train_tokens")

    @cached_property
    def held_out_tokens(self) -> NDArray[Any]:
        """The held-out documents, likewise."""
        return self._array("held_out_tokens")

    @cached_property
    def train_bytes(self) -> NDArray[Any]:
        """The UTF-8 bytes of the training documents, one after the other."""
        return self._array("train_bytes")

    @cached_property
    def held_out_bytes(self) -> NDArray[Any]:
        """The UTF-8 bytes of the held-out documents."""
        return self._array("held_out_bytes")

    def _array(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array


def held_out_pieces(corpus: "Corpus", tokens: int) -> "Iterator[Example]":
    """Yields the pieces of held-out documents, in order, until they hold so many tokens."""
    for _, pieces in corpus.documents(held_out=True):
        for _, piece in pieces:
            if tokens <= 0:
                return
            yield piece
            tokens -= len(piece)


def write_texts(folder: Path, corpus: "Corpus", held_out_tokens: int) -> Texts:
    """Writes the training documents of a corpus, and the pieces that it holds out, for models without revlm."""
    tokenizer = corpus.tokenizer
    trained = (piece for _, pieces in corpus.documents(held_out=False) for _, piece in pieces)
    sizes = {}
    for name, pieces in (("train", trained), ("held_out", held_out_pieces(corpus, held_out_tokens))):
        tokens: list[NDArray[Any]] = []
        for piece in pieces:
            if piece.inputs[0] == tokenizer.begin_id:
                tokens.append(piece.inputs[:1])
            tokens.append(piece.targets)
        joined = np.concatenate(tokens)
        text = tokenizer.decode_bytes(joined)  # a begin token has none
        np.save(folder / f"{name}_tokens.npy", joined.astype(np.int32))
        np.save(folder / f"{name}_bytes.npy", np.frombuffer(text, dtype=np.uint8))
        sizes[name] = len(text), int((joined != tokenizer.begin_id).sum())
    texts = Texts(
        folder,
        vocab_size=tokenizer.vocab_size,
        begin_id=tokenizer.begin_id,
        bytes_per_token=sizes["train"][0] / sizes["train"][1],
        held_out_size=sizes["held_out"][0],
    )
    described = {key: value for key, value in asdict(texts).items() if key != "folder"}
    (folder / _DESCRIPTION).write_text(json.dumps(described))
    return texts


def windows(size: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Yields `start, stop, first`: windows over `size` places that overlap by half.

    The places from `first` on are those that no window before counted: all but the first `width / 2` of all places have
    at least half a window before them.
    """
    first = 0
    for start in islice(range(0, size, width // 2), max(1, -(-(size - width // 2) // (width // 2)))):
        stop = min(start + width, size)
        yield start, stop, first
        first = stop
