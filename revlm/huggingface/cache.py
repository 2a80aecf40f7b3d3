"""Decoding caches of the rows of a batch, as `generate` and `past_key_values` pass them on."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import Cache

from revlm.errors import UsageError
from revlm.generation import Decoder
from revlm.model import RevLM


class RevlmCache(Cache):
    """One decoder for each row of a batch. Rows differ in length: a masked column adds nothing to its row.

    A batch can be noted without being decoded (`note`), since many callers never continue it; the first continuation
    then decodes it.

    Attributes:
        precision: that of the matrix products, as in train.precision.
    """

    def __init__(self, model: RevLM, rows: int) -> None:
        super().__init__(layers=[])
        self._model, self.precision = model, product_precision(model)
        self._decoders: list[Decoder | None] = [None] * rows
        self._noted: list[list[Tensor]] = [[] for _ in range(rows)]
        # The hidden state of each row's latest token.
        self._last = [model.embedding.weight.new_zeros(1, model.recipe.d_model)] * rows
        self._columns = 0

    def note(self, ids: Int[Tensor, "batch columns"], real: Bool[Tensor, "batch columns"]) -> None:
        """Adds columns to the rows, to be decoded once the rows are continued."""
        self._columns += ids.shape[1]
        for noted, row, of_row in zip(self._noted, ids, real, strict=True):
            noted.append(row[of_row])

    def extend(
        self, ids: Int[Tensor, "batch columns"], real: Bool[Tensor, "batch columns"], keep: int
    ) -> Float[Tensor, "batch some d_model"]:
        """Adds columns to the rows; returns the hidden states at the last `keep` of them.

        At a masked column it is that of the row's latest token, zero before its first.
        """
        self.note(ids, real)
        return torch.stack([self._of_row(row, of_row[ids.shape[1] - keep :]) for row, of_row in enumerate(real)])

    def _of_row(self, row: int, real: Bool[Tensor, "some"]) -> Float[Tensor, "some d_model"]:
        """Returns the hidden states of a row at its last columns, after its noted tokens are decoded."""
        [tokens] = noted if len(noted := self._noted[row]) == 1 else [torch.cat(noted)]
        self._noted[row] = []
        last, needed = self._last[row], int(real.sum())
        if (decoder := self._decoders[row]) is None:
            decoder = self._decoders[row] = Decoder(self._model, precision=self.precision)
        hidden, is_masked = last, needed < len(real)
        kept = needed + is_masked  # with the one before the needed ones, for masked columns in front of them
        for block in decoder.extend_in_blocks(tokens):
            hidden = block if len(block) >= kept else torch.cat([hidden, block])[-kept:]
        self._last[row] = hidden[-1:] if len(hidden) == 1 else hidden[-1:].clone()
        if is_masked:
            return hidden[real.cumsum(0) + len(hidden) - 1 - needed]
        return hidden[len(hidden) - needed :]

    @property
    def is_linear(self) -> list[bool]:
        """Of no layer: `generate` then passes only the new tokens on."""
        return [False]

    @property
    def is_compileable(self) -> bool:
        """False."""
        return False

    @property
    def is_croppable(self) -> bool:
        """False: tokens cannot be taken back."""
        return False

    @property
    def batch_size(self) -> int:
        """The number of rows."""
        return len(self._decoders)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Returns the number of columns, masked ones included."""
        return self._columns

    def __len__(self) -> int:
        return self._model.recipe.n_layers

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.batch_size} rows of {self._columns} columns)"

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Raises UsageError: rows cannot be copied."""
        raise UsageError("beam search needs copies of decoding caches, which revlm does not make: give num_beams=1")

    def crop(self, *arguments: Any) -> None:
        """Raises UsageError: tokens cannot be taken back."""
        raise UsageError("tokens cannot be taken back from a decoding cache of revlm: start from an empty one")


def product_precision(model: RevLM) -> str:
    """Returns the precision of the matrix products, bf16 or fp32, which is that of the stack's linear maps."""
    linear = (module for module in model.stack.modules() if isinstance(module, torch.nn.Linear))
    return "bf16" if next(linear).weight.dtype == torch.bfloat16 else "fp32"
