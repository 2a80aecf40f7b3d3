"""Lossless tokenizers: SentencePiece with byte fallback, or plain bytes.

Every id stands for a fixed byte string (`piece_bytes`), so decoding is a table look-up and a join, exact for every text
and independent of SentencePiece's own decoder. Ids of control tokens stand for no bytes.
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

from revlm.corpus.reading.readers.raw import DocumentKind
from revlm.corpus.tokenizing.cutting import Cuts
from revlm.errors import DataError, UsageError
from revlm.pictures import AS_THEY_ARE, LONGEST_SIDE, PictureShape
from revlm.storage import replace_file, storage_errors

TokenIds = npt.NDArray[np.int32]

SPACE_MARK = "\u2581"  # SentencePiece writes a space as this character; a literal one is encoded as bytes
_THROUGH_BYTES = re.compile(f"([{SPACE_MARK}\\0])")
_PART_CHARACTERS = 1 << 16
# A part without a cut point, such as a gigabyte of one letter, ends here.
LONGEST_PART_CHARACTERS = 1 << 18
# Cache of words' ids: 450,000 words of novels, about 100 MB. SentencePiece alone encodes a whole novel at 2 to 3 MB/s,
# and parts of 4,096 characters, which fit in the CPU caches, at 7; encoding each word once reaches 10 to 14.
_KNOWN_CHARACTERS = 1 << 22
_DECODE_BLOCK = 1 << 16
_PROBE = "a  b \n\n\tc \u00e9e\u0301 \ufb01 \uff21 \U0001f40b ."


class Tokenizer(ABC):
    """A lossless tokenizer: `decode(encode(text)) == text` for every text without lone surrogates.

    Attributes:
        piece_bytes: the bytes of each id, `b""` for control ids.
        byte_lengths: the length of each id in bytes, int64 [vocab_size].
        cuts: the points at which a text may be cut without changing its ids.
        begin_id: the id that packing puts before each document; `encode` never returns it.
        document_kind: what the documents are that it is made for.
        pictures: what pictures become before they are encoded.
    """

    file_name: ClassVar[str]
    kind: ClassVar[str]
    document_kind: ClassVar[DocumentKind] = "text"
    pictures = AS_THEY_ARE
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
        """The dtype in which ids are stored: uint16 up to a vocabulary of 65,536, otherwise uint32."""
        return np.dtype(np.uint16 if self.vocab_size <= 1 << 16 else np.uint32)

    @property
    def fingerprint(self) -> str:
        """The sha256 of the file that `save` writes, in hexadecimal; tokenizers with the same one give equal ids."""
        return hashlib.sha256(self._file_content()).hexdigest()

    def parts(self, pieces: Iterable[str]) -> Iterator[str]:
        """Yields a text, given in pieces, in parts whose concatenated ids are those of the text."""
        return self.cuts.parts(pieces, _PART_CHARACTERS, LONGEST_PART_CHARACTERS)

    @abstractmethod
    def encode(self, text: str) -> TokenIds:
        """Returns the ids of `text`, int32 [tokens], without a begin token.

        Raises:
            DataError: `text` holds a lone surrogate, which UTF-8 cannot encode.
        """

    def encode_bytes(self, content: bytes) -> TokenIds:
        """Returns the ids of bytes that need not be a text, int32 [tokens].

        Raises:
            UsageError: it has ids for texts only.
        """
        raise UsageError(f"a {self.kind} tokenizer encodes texts, not any bytes: use --tokenizer bytes")

    def decode_bytes(self, ids: npt.ArrayLike) -> bytes:
        """Returns the exact bytes of `ids`; an incomplete character stays incomplete."""
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
        """Returns the text of `ids`; bytes that are not valid UTF-8, as a model may generate, become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def save(self, folder: Path | str) -> Path:
        """Writes the tokenizer into `folder` atomically, replacing any other, and returns its file.

        `load` reads the file or the folder.

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
        """Returns the tokenizer's file in a folder that `save` wrote to, or None."""
        candidates = [Path(folder) / cls.file_name for cls in (SentencePieceTokenizer, ByteTokenizer)]
        return next((candidate for candidate in candidates if candidate.is_file()), None)

    @staticmethod
    def load(source: Path | str) -> "Tokenizer":
        """Returns the tokenizer in a file, or in a folder that `save` wrote to (a token store, a run).

        Raises:
            DataError: there is none, or it is damaged or not lossless.
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
            return byte_tokenizer_of(content, path)
        return SentencePieceTokenizer(content, str(path))

    @abstractmethod
    def _file_content(self) -> bytes: ...


class ByteTokenizer(Tokenizer):
    """The 256 bytes as ids 0..255, and 256 as the begin token: one token per byte, no training."""

    file_name = "tokenizer.json"
    kind = "bytes"
    begin_id = 256
    cuts = Cuts()

    def __init__(self) -> None:
        super().__init__([bytes([value]) for value in range(256)] + [b""])

    def encode(self, text: str) -> TokenIds:
        return self.encode_bytes(_utf8(text))

    def encode_bytes(self, content: bytes) -> TokenIds:
        return np.frombuffer(content, dtype=np.uint8).astype(np.int32)

    def _file_content(self) -> bytes:
        return (json.dumps({"kind": self.kind, "begin_id": self.begin_id}) + "\n").encode()


class BinaryTokenizer(ByteTokenizer):
    """The byte tokenizer for documents that need not be texts: its store holds files as they are."""

    kind = "binary"
    document_kind = "binary"


class PixelTokenizer(ByteTokenizer):
    """The byte tokenizer for pictures, as `corpus.pictures` makes documents of them; it keeps what they become."""

    kind = "pixels"
    document_kind = "picture"

    def __init__(self, pictures: PictureShape = AS_THEY_ARE) -> None:
        super().__init__()
        self.pictures = pictures

    def _file_content(self) -> bytes:
        shape = {"size": self.pictures.size, "grey": self.pictures.is_grey}
        return (json.dumps({"kind": self.kind, "begin_id": self.begin_id, **shape}) + "\n").encode()


BYTE_TOKENIZERS: tuple[type[ByteTokenizer], ...] = (ByteTokenizer, BinaryTokenizer, PixelTokenizer)
_PIXELS = re.compile(rb'\{"kind": "pixels", .*"size": (null|[1-9][0-9]{0,4}), "grey": (true|false)\}\n')


def byte_tokenizer_of(content: bytes, path: Path) -> ByteTokenizer:
    """Returns the byte tokenizer whose file has this content; raises DataError where there is none."""
    found = _PIXELS.fullmatch(content)
    shape = PictureShape(None if found[1] == b"null" else int(found[1]), found[2] == b"true") if found else None
    pixels = PixelTokenizer(shape) if shape and (shape.size or 1) <= LONGEST_SIDE else PixelTokenizer()
    for tokenizer in (ByteTokenizer(), BinaryTokenizer(), pixels):
        if content == tokenizer._file_content():
            return tokenizer
    raise DataError(f"{path} is not a byte tokenizer of revlm; run `revlm tokenize --tokenizer bytes` again")


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model, trained by `train_sentencepiece` or supplied by the user, made lossless.

    A literal U+2581 and NUL, which SentencePiece reserves, are encoded as byte pieces. A model without a begin token
    gets one more id for it, after its last.
    """

    file_name = "tokenizer.model"
    kind = "sentencepiece"

    def __init__(self, model: bytes, source: str = "the model") -> None:
        from sentencepiece import SentencePieceProcessor

        try:
            processor = SentencePieceProcessor(model_proto=model)
        except (RuntimeError, ValueError, TypeError) as error:
            raise DataError(f"{source} is not a SentencePiece model; give a .model file or `bytes`") from error
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

        The text is encoded word by word, and each word once, since words repeat. No piece spans two words and BPE
        merges look only at neighbours, so the ids are those of the whole. (A unigram model sums scores over its input
        in float32; short inputs keep that sum accurate.) Only where the text or the model's pieces allow no cut within
        `LONGEST_PART_CHARACTERS` are the ids those of the parts.
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
            self._known, self._known_characters = {}, 0  # a new dict: another thread may still read the old one
        known = self._known
        for word in words:
            if word not in known:
                known[word] = tuple(self._ids_of_word(word))
                self._known_characters += len(word)
        return map(known.__getitem__, words)

    def _ids_of_word(self, word: str) -> Iterable[int]:
        if not _THROUGH_BYTES.search(word):
            return self._processor.encode(word)
        parts = _THROUGH_BYTES.split(word)  # odd entries are the reserved characters
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
    """Returns the UTF-8 bytes of `text`; raises DataError that names the position of a lone surrogate."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"character {error.start} of the text is a lone surrogate (U+{ord(text[error.start]):04X}), "
            "which UTF-8 cannot hold; remove it or give the text as UTF-8"
        ) from error
