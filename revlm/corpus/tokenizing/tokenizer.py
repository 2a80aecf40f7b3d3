"""Turns text into token ids and back without loss: SentencePiece with byte fallback, or plain bytes.

Every id stands for a fixed string of bytes (`piece_bytes`), so decoding is a table look-up and a join, exact
for every text and independent of what a SentencePiece model would print. Ids of control tokens stand for no
bytes.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from revlm.corpus.tokenizing.cutting import Cuts
from revlm.errors import DataError
from revlm.storage import replace_file, storage_errors

TokenIds = npt.NDArray[np.int32]

SPACE_MARK = "\u2581"  # SentencePiece writes a space as this character; a literal one must go through its bytes
_THROUGH_BYTES = re.compile(f"([{SPACE_MARK}\\0])")
_PART_CHARACTERS = 1 << 16
# Without a place to cut, as in a gigabyte of one letter, a part ends here all the same.
LONGEST_PART_CHARACTERS = 1 << 18
# Words whose ids are remembered: 450,000 of novels, in about 100 MB. SentencePiece alone encodes 2 to 3 MB/s of a whole
# novel and 7 of parts of 4,096 characters, which its caches hold; each word once makes 10 to 14.
_KNOWN_CHARACTERS = 1 << 22
_DECODE_BLOCK = 1 << 16
_PROBE = "a  b \n\n\tc \u00e9e\u0301 \ufb01 \uff21 \U0001f40b ."


class Tokenizer(ABC):
    """A lossless tokenizer: `decode(encode(text)) == text` for every text without lone surrogates.

    Attributes:
        piece_bytes: the bytes of each id, `b""` for control ids.
        byte_lengths: their lengths, int64 [vocab_size].
        cuts: the places at which a text may be cut, which change no id.
        begin_id: the id that packing puts before each document; `encode` never gives it.
    """

    file_name: ClassVar[str]
    kind: ClassVar[str]
    begin_id: int
    cuts: Cuts

    def __init__(self, piece_bytes: list[bytes]) -> None:
        self.piece_bytes = piece_bytes
        self.byte_lengths = np.array([len(piece) for piece in piece_bytes], dtype=np.int64)

    @property
    def vocab_size(self) -> int:
        return len(self.piece_bytes)

    @property
    def token_dtype(self) -> np.dtype[np.unsignedinteger]:
        """The type in which ids are stored: uint16 up to 65,536 of them, else uint32."""
        return np.dtype(np.uint16 if self.vocab_size <= 1 << 16 else np.uint32)

    @property
    def fingerprint(self) -> str:
        """The sha256 of what `save` writes, in hexadecimal: equal for tokenizers that give equal ids."""
        return hashlib.sha256(self._file_content()).hexdigest()

    def parts(self, pieces: Iterable[str]) -> Iterator[str]:
        """Yields a text, given in pieces, in parts whose ids, one after the other, are those of the text."""
        return self.cuts.parts(pieces, _PART_CHARACTERS, LONGEST_PART_CHARACTERS)

    @abstractmethod
    def encode(self, text: str) -> TokenIds:
        """Returns the ids of `text`, int32 [tokens], without a begin token.

        Raises:
            DataError: `text` holds a lone surrogate, which no UTF-8 text has.
        """

    def decode_bytes(self, ids: npt.ArrayLike) -> bytes:
        """Returns the bytes that `ids` stand for, exactly; a cut-off character stays cut off."""
        flat = np.asarray(ids, dtype=np.int64).reshape(-1)
        if flat.size and (flat.min() < 0 or flat.max() >= self.vocab_size):
            raise DataError(
                f"a token id lies outside 0..{self.vocab_size - 1}; "
                "decode with the tokenizer that the tokens were made with"
            )
        pieces = self.piece_bytes
        blocks = (flat[start : start + _DECODE_BLOCK].tolist() for start in range(0, flat.size, _DECODE_BLOCK))
        return b"".join(b"".join([pieces[token] for token in block]) for block in blocks)

    def decode(self, ids: npt.ArrayLike) -> str:
        """Returns the text of `ids`; bytes that form no character (in what a model writes) become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def save(self, folder: Path | str) -> Path:
        """Writes the tokenizer into `folder`, whole or not at all, in place of any other that lies there.

        Returns the file, which `load` (or `load(folder)`) reads.

        Raises:
            StorageError: it cannot be written.
        """
        path = Path(folder) / self.file_name
        with storage_errors(f"writing the tokenizer {path}"):
            other = Tokenizer.file_in(folder)
            if other is not None and other != path:
                other.unlink()
            replace_file(path, self._file_content())
        return path

    @staticmethod
    def file_in(folder: Path | str) -> Path | None:
        """Returns the file of the tokenizer in a folder that `save` wrote to; None where there is none."""
        candidates = [Path(folder) / cls.file_name for cls in (SentencePieceTokenizer, ByteTokenizer)]
        return next((candidate for candidate in candidates if candidate.is_file()), None)

    @staticmethod
    def load(source: Path | str) -> "Tokenizer":
        """Returns the tokenizer in a file, or in a folder that `save` wrote to (a token store, a run).

        Raises:
            DataError: there is none, or it is damaged, or it cannot give every text back exactly.
        """
        path = Path(source)
        if path.is_dir():
            found = Tokenizer.file_in(path)
            if found is None:
                raise DataError(f"{path} holds no tokenizer; run `revlm tokenize` to make a token store there")
            path = found
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"the tokenizer {path} cannot be read ({error.strerror}); check the path") from error
        if path.suffix == ".json":
            return ByteTokenizer.from_content(content, path)
        return SentencePieceTokenizer(content, str(path))

    @abstractmethod
    def _file_content(self) -> bytes: ...


class ByteTokenizer(Tokenizer):
    """The 256 bytes as ids 0..255, and 256 to begin a document: no training, one token a byte."""

    file_name = "tokenizer.json"
    kind = "bytes"
    begin_id = 256
    cuts = Cuts()

    def __init__(self) -> None:
        super().__init__([bytes([value]) for value in range(256)] + [b""])

    @classmethod
    def from_content(cls, content: bytes, path: Path) -> "ByteTokenizer":
        tokenizer = cls()
        if content != tokenizer._file_content():
            raise DataError(f"{path} is no byte tokenizer of revlm; run `revlm tokenize --tokenizer bytes` again")
        return tokenizer

    def encode(self, text: str) -> TokenIds:
        return np.frombuffer(_utf8(text), dtype=np.uint8).astype(np.int32)

    def _file_content(self) -> bytes:
        return (json.dumps({"kind": self.kind, "begin_id": self.begin_id}) + "\n").encode()


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model, trained by `train_sentencepiece` or given, used so that nothing is lost.

    A literal U+2581 and NUL, which SentencePiece keeps for itself, are encoded through their byte pieces. A
    model without a begin token of its own gets one more id for it, after its last.
    """

    file_name = "tokenizer.model"
    kind = "sentencepiece"

    def __init__(self, model: bytes, source: str = "the model") -> None:
        from sentencepiece import SentencePieceProcessor

        try:
            processor = SentencePieceProcessor(model_proto=model)
        except (RuntimeError, ValueError, TypeError) as error:
            raise DataError(f"{source} is no SentencePiece model; give a .model file or `bytes`") from error
        self._model = model
        self._known: dict[str, tuple[int, ...]] = {}  # the ids of words
        self._known_characters = 0
        self._processor = processor
        size = processor.get_piece_size()
        self._byte_ids = {processor.id_to_piece(token): token for token in range(size) if processor.is_byte(token)}
        if len(self._byte_ids) != 256:
            raise DataError(f"{source} has no byte pieces and would lose text; train it with byte_fallback=true")
        self.begin_id = processor.bos_id() if processor.bos_id() >= 0 else size
        super().__init__([self._bytes_of(token) for token in range(size)] + [b""] * (self.begin_id == size))
        pieces = [processor.id_to_piece(token) for token in range(size)]
        self.cuts = Cuts(
            after_newlines=not any("\n" in piece and piece != "\n" for piece in pieces),
            before_spaces=not any(SPACE_MARK in piece.lstrip(SPACE_MARK) for piece in pieces),
        )
        if self.decode_bytes(self.encode(_PROBE)) != _PROBE.encode():
            raise DataError(
                f"{source} changes text (white space or characters); train it with "
                "normalization_rule_name=identity, remove_extra_whitespaces=false and add_dummy_prefix=false"
            )

    def encode(self, text: str) -> TokenIds:
        """As `Tokenizer.encode`, in time linear in the text; the ids are the model's for the whole text.

        The text is encoded word by word, each word once: they repeat. No piece reaches over the places between them,
        and BPE merges look at neighbours only, so the ids are those of the whole. (A given unigram model sums scores
        over all it is handed, in float32: words keep that sum accurate.) Only where a text or the model's pieces leave
        no such place within `LONGEST_PART_CHARACTERS` the ids are those of the parts.
        """
        _utf8(text)
        ids = [np.zeros(0, dtype=np.int32)]
        for part in self.parts((text,)):
            words = self.cuts.words(part)
            ids.append(np.fromiter(chain.from_iterable(self._ids_of(words)), np.int32))
        return np.concatenate(ids)

    def _ids_of(self, words: list[str]) -> Iterator[tuple[int, ...]]:
        """Returns the ids of each word."""
        if self._known_characters > _KNOWN_CHARACTERS:
            self._known, self._known_characters = {}, 0  # another thread may still read the one before
        known = self._known
        for word in words:
            if word not in known:
                known[word] = tuple(self._ids_of_word(word))
                self._known_characters += len(word)
        return map(known.__getitem__, words)

    def _ids_of_word(self, word: str) -> Iterable[int]:
        if not _THROUGH_BYTES.search(word):
            return self._processor.encode(word)
        parts = _THROUGH_BYTES.split(word)  # with what is kept for SentencePiece itself at every other place
        parts[1::2] = [[self._byte_ids[f"<0x{value:02X}>"] for value in part.encode()] for part in parts[1::2]]
        parts[::2] = [self._processor.encode(part) for part in parts[::2]]
        return chain.from_iterable(parts)

    def _bytes_of(self, token: int) -> bytes:
        processor = self._processor
        piece = processor.id_to_piece(token)
        if processor.is_byte(token):
            return bytes([int(piece[1:-1], 16)])
        if processor.is_control(token) or processor.is_unknown(token) or processor.is_unused(token):
            return b""
        return bytes(piece.replace(SPACE_MARK, " ").encode())

    def _file_content(self) -> bytes:
        return self._model


def _utf8(text: str) -> bytes:
    """The UTF-8 bytes of `text`; raises DataError naming the place of a lone surrogate."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"character {error.start} of the text is a lone surrogate (U+{ord(text[error.start]):04X}), "
            "which UTF-8 cannot hold; remove it or give the text as UTF-8"
        ) from error
