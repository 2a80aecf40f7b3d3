"""A tokenizer of revlm with the interface of transformers."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AddedToken, BatchEncoding, PreTrainedTokenizer
from transformers.tokenization_utils_base import PaddingStrategy
from transformers.utils import cached_file

from revlm.corpus import Tokenizer
from revlm.errors import DataError, StorageError, UsageError
from revlm.huggingface.configuration import CODE_FILE, write_code
from revlm.runs.exported import CONFIG, SECTION

_FILES = {"vocab_file": "tokenizer.model", "bytes_file": "tokenizer.json"}
_OFFSETS = "offset_mapping"


class RevlmTokenizer(PreTrainedTokenizer):
    """A lossless tokenizer: the ids of a text are those of `revlm tokenize`, behind a begin token.

    In training the begin token precedes each document; `add_special_tokens=False` leaves it out. It has no text, so
    decoding returns the text exactly, with or without `skip_special_tokens`. No text is parsed as a special token.

    Attributes:
        revlm: the tokenizer of revlm.
    """

    vocab_files_names = _FILES
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012 - as transformers declares it
    padding_side = "left"

    def __init__(
        self,
        vocab_file: str | None = None,
        bytes_file: str | None = None,
        sha256: str | None = None,
        tokenizer: Tokenizer | None = None,
        **options: Any,
    ) -> None:
        """Loads the tokenizer from either file; `sha256` is its fingerprint, where known.

        Raises:
            DataError: there is no file, or it is damaged.
        """
        if tokenizer is None:
            file = next((each for each in (vocab_file, bytes_file) if each and Path(each).is_file()), None)
            if file is None:
                raise DataError("there is no tokenizer.model or tokenizer.json: export the checkpoint again")
            tokenizer = Tokenizer.load(file)
            if sha256 not in (None, tokenizer.fingerprint):
                raise DataError(
                    f"{file} is not the tokenizer that was exported (its sha256 is another one): restore it, or export "
                    "the checkpoint again"
                )
        self.revlm = tokenizer
        self._names = _names(tokenizer)
        self._ids = {name: token for token, name in enumerate(self._names)}
        begin, padding = self._names[tokenizer.begin_id], self._names[padding_id(tokenizer)]
        fixed = {
            "bos_token": begin,
            "pad_token": padding,
            "sha256": tokenizer.fingerprint,
            "auto_map": {"AutoTokenizer": [f"{CODE_FILE.removesuffix('.py')}.{type(self).__name__}", None]},
            "special_tokens_pattern": "bos",
            "split_special_tokens": True,
            "clean_up_tokenization_spaces": False,
        }
        super().__init__(**{**options, **fixed})

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        return self.revlm.vocab_size

    def get_vocab(self) -> dict[str, int]:
        """Returns the id of each name. A name is the token's text, or its bytes if they are not text of its own."""
        return dict(self._ids)

    def _add_tokens(self, new_tokens: Sequence[str | AddedToken], special_tokens: bool = False) -> int:
        if new := [str(token) for token in new_tokens if str(token) not in self._ids]:
            raise UsageError(f"the vocabulary of a model of revlm cannot be changed: leave {new[0]!r} out")
        return int(super()._add_tokens(new_tokens, special_tokens=special_tokens))

    def _tokenize(self, text: str, **options: Any) -> list[str]:
        return [self._names[token] for token in self.revlm.encode(text).tolist()]

    def _convert_token_to_id(self, token: str) -> int:
        return self._ids[token]

    def _convert_id_to_token(self, index: int) -> str:
        return self._names[index]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Returns the text of tokens."""
        return self.revlm.decode([self._ids[token] for token in tokens])

    def _decode(self, token_ids: Any, *others: Any, **options: Any) -> str:
        return self.revlm.decode(token_ids)

    def _encode_plus(
        self,
        text: Any,
        text_pair: Any = None,
        *,
        padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = None,
        return_offsets_mapping: bool = False,
        **options: Any,
    ) -> BatchEncoding:
        """Encodes a text or a batch as transformers does, with offsets where they are asked for."""
        padding = {
            "max_length": max_length,
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_attention_mask": return_attention_mask,
        }
        if not isinstance(text, str) or text_pair is not None:
            if return_offsets_mapping:
                if text_pair is not None or not _is_batch_of_texts(text):
                    raise UsageError("offsets need plain texts: give a text, or a list of texts without pairs")
                options["return_offsets_mapping"] = True  # for each text of the batch
            return super()._encode_plus(
                text, text_pair, padding_strategy=padding_strategy, return_tensors=return_tensors, **padding, **options
            )
        ids = self.revlm.encode(text)
        row = super()._encode_plus(ids.tolist() or text, max_length=max_length, return_attention_mask=False, **options)
        if return_offsets_mapping:
            row[_OFFSETS] = self._offsets(text, ids, row["input_ids"])
        padded = self.pad(dict(row), padding=padding_strategy.value, **padding)
        return BatchEncoding(padded, tensor_type=return_tensors, prepend_batch_axis=True)

    def _offsets(self, text: str, ids: Any, row: list[int]) -> list[tuple[int, int]]:
        """Returns the span of characters of each id of a row; a part of a character has its whole span."""
        stops = np.cumsum(self.revlm.byte_lengths[ids])
        starts = stops - self.revlm.byte_lengths[ids]
        content = np.frombuffer(text.encode(), dtype=np.uint8)
        character = np.cumsum((content & 0xC0) != 0x80) - 1  # of each byte
        spans = np.stack([character[starts], character[stops - 1] + 1], axis=1).tolist() if len(ids) else []
        special = int(len(row) > 0 and row[0] == self.bos_token_id)  # text never has it
        kept = len(row) - special
        spans = spans[len(spans) - kept :] if self.truncation_side == "left" else spans[:kept]
        return [(0, 0)] * special + [(start, stop) for start, stop in spans]

    def _pad(self, encoded_inputs: Any, *arguments: Any, padding_side: str | None = None, **options: Any) -> Any:
        before = len(encoded_inputs["input_ids"])
        padded = super()._pad(encoded_inputs, *arguments, padding_side=padding_side, **options)
        if _OFFSETS in padded:
            new = [(0, 0)] * (len(padded["input_ids"]) - before)
            offsets = padded[_OFFSETS]
            padded[_OFFSETS] = new + offsets if (padding_side or self.padding_side) == "left" else offsets + new
        return padded

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Writes the tokenizer's file, and the module that its configuration names; returns its path."""
        write_code(save_directory)
        return (str(self.revlm.save(save_directory)),)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoTokenizer") -> None:
        """Does nothing: saving writes its own short module, not a copy of this one."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *arguments: Any, **options: Any
    ) -> Any:
        """Returns the tokenizer in a folder or on the hub.

        Raises:
            StorageError: the model beside it was trained with another tokenizer.
            DataError: it is damaged.
        """
        tokenizer = super().from_pretrained(pretrained_model_name_or_path, *arguments, **options)
        at_hub = {key: options[key] for key in ("revision", "cache_dir", "token", "subfolder") if key in options}
        place = str(pretrained_model_name_or_path)
        config = cached_file(place, CONFIG, _raise_exceptions_for_missing_entries=False, **at_hub)
        if config is not None:
            section = json.loads(Path(config).read_bytes()).get(SECTION) or {}
            if section.get("tokenizer_sha256") not in (None, "", tokenizer.revlm.fingerprint):
                raise StorageError(
                    f"the tokenizer in {place} is not the one that the model was trained with: restore it, or export "
                    "the checkpoint again"
                )
        return tokenizer


def silent_ids(tokenizer: Tokenizer) -> list[int]:
    """Returns the ids without text, such as the begin token, which are never generated."""
    return np.flatnonzero(tokenizer.byte_lengths == 0).tolist()


def padding_id(tokenizer: Tokenizer) -> int:
    """Returns the id for padding: a token without text, the begin token only if there is no other."""
    return next((token for token in silent_ids(tokenizer) if token != tokenizer.begin_id), tokenizer.begin_id)


def _names(tokenizer: Tokenizer) -> list[str]:
    """Returns a unique name for each id: its text if no other id has the same text, else its bytes or a number."""
    names: dict[str, int] = {}
    for token, content in enumerate(tokenizer.piece_bytes):
        text = content.decode("utf-8", "replace")
        if not content:
            text = "<begin>" if token == tokenizer.begin_id else f"<unused {token}>"
        elif "\ufffd" in text or text in names:
            text = "".join(f"<0x{value:02X}>" for value in content)
        while text in names:
            text = f"{text}#{token}"
        names[text] = token
    return list(names)


def _is_batch_of_texts(text: Any) -> bool:
    return isinstance(text, list | tuple) and all(isinstance(each, str) for each in text)
