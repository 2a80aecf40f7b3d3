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

    `defer` stores a batch without decoding it, since many callers never continue it; the first continuation decodes it.

    Attributes:
        precision: that of the matrix products, as in train.precision.
    """

    def __init__(self, model: RevLM, rows: int) -> None:
        super().__init__(layers=[])
        self._model, self.precision = model, product_precision(model)
        self._decoders: list[Decoder | None] = [None] * rows
        self._deferred: list[list[Tensor]] = [[] for _ in range(rows)]
        # The hidden state of each row's latest token.
        self._last = [model.embedding.weight.new_zeros(1, model.recipe.d_model)] * rows
        self._columns = 0

    def defer(self, ids: Int[Tensor, "batch columns"], real: Bool[Tensor, "batch columns"]) -> None:
        """Appends columns to the rows, to be decoded when the rows are continued."""
        self._columns += ids.shape[1]
        for deferred, row, of_row in zip(self._deferred, ids, real, strict=True):
            deferred.append(row[of_row])

    def extend(
        self, ids: Int[Tensor, "batch columns"], real: Bool[Tensor, "batch columns"], keep: int
    ) -> Float[Tensor, "batch some d_model"]:
        """Appends columns to the rows; returns the hidden states at the last `keep` of them.

        A masked column has the hidden state of the row's latest token, or zeros before the row's first token.
        """
        self.defer(ids, real)
        return torch.stack([self._of_row(row, of_row[ids.shape[1] - keep :]) for row, of_row in enumerate(real)])

    def _of_row(self, row: int, real: Bool[Tensor, "some"]) -> Float[Tensor, "some d_model"]:
        """Returns the hidden states of a row at its last columns, after its deferred tokens are decoded."""
        [tokens] = deferred if len(deferred := self._deferred[row]) == 1 else [torch.cat(deferred)]
        self._deferred[row] = []
        last, needed = self._last[row], int(real.sum())
        if (decoder := self._decoders[row]) is None:
            decoder = self._decoders[row] = Decoder(self._model, precision=self.precision)
        hidden, is_masked = last, needed < len(real)
        kept = needed + is_masked  # masked columns in front of the needed ones show the state before those
        for block in decoder.extend_in_blocks(tokens):
            hidden = block if len(block) >= kept else torch.cat([hidden, block])[-kept:]
        self._last[row] = hidden[-1:] if len(hidden) == 1 else hidden[-1:].clone()
        if is_masked:
            return hidden[real.cumsum(0) + len(hidden) - 1 - needed]
        return hidden[len(hidden) - needed :]

    @property
    def is_linear(self) -> list[bool]:
        """For each layer, whether it is linear attention: none is, so `generate` passes on only the new tokens."""
        return [False]

    @property
    def is_compileable(self) -> bool:
        """False: the decoding cache is not for `torch.compile`."""
        return False

    @property
    def is_croppable(self) -> bool:
        """False: tokens cannot be removed."""
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
        raise UsageError("beam search copies decoding caches, which revlm does not support: give num_beams=1")

    def crop(self, *arguments: Any) -> None:
        """Raises UsageError: tokens cannot be removed."""
        raise UsageError("tokens cannot be removed from a decoding cache of revlm: start from an empty one")


def product_precision(model: RevLM) -> str:
    """Returns the precision of the matrix products, bf16 or fp32, which is that of the stack's linear maps."""
    linear = (module for module in model.stack.modules() if isinstance(module, torch.nn.Linear))
    return "bf16" if next(linear).weight.dtype == torch.bfloat16 else "fp32"
