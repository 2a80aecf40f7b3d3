"""Loss and bits per byte over held-out examples."""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.corpus import Example
from revlm.model import RevLM, evaluating
from revlm.model.sequence import SINGLE, SequenceGroup

# Tokens whose logits are in memory at one time.
TILE = 2048


@dataclass(frozen=True)
class Score:
    """A sum of cross-entropies in nats, and the number of targets, bytes and documents.

    `header_bytes` of the bytes are headers of pictures, which are not pixel values.
    """

    nats: float = 0.0
    tokens: int = 0
    bytes: int = 0
    documents: int = 0
    header_bytes: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.nats + other.nats,
            self.tokens + other.tokens,
            self.bytes + other.bytes,
            self.documents + other.documents,
            self.header_bytes + other.header_bytes,
        )

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / max(self.tokens, 1)

    @property
    def bits_per_byte(self) -> float:
        """Bits per UTF-8 byte of the targets."""
        return self.nats / math.log(2) / max(self.bytes, 1)

    @property
    def bits_per_dimension(self) -> float:
        """Bits per pixel value: the bits of headers count, as they do in a file, but headers have no pixel values."""
        return self.nats / math.log(2) / max(self.bytes - self.header_bytes, 1)


@torch.no_grad()
def token_losses(
    model: RevLM, hidden: Float[Tensor, "tokens d_model"], targets: Int[Tensor, "tokens"]
) -> Float[Tensor, "tokens"]:
    """Returns the cross-entropy of each target in nats, float32; only the logits of one tile are in memory."""
    losses = [
        torch.nn.functional.cross_entropy(model.logits(rows).float(), target.long(), reduction="none")
        for rows, target in zip(hidden.split(TILE), targets.split(TILE), strict=True)
    ]
    return torch.cat(losses)


def score_example(
    model: RevLM, example: Example, autocast: AbstractContextManager[None], sequence: SequenceGroup = SINGLE
) -> Score:
    """Returns the score of one example; if ranks share it, with the nats of this rank's part only."""
    device = model.head_weight.device
    parts = (example.inputs, example.targets[sequence.own(len(example))], example.document_ids)
    inputs, targets, document_ids = (torch.from_numpy(part).to(device) for part in parts)
    with evaluating(model), autocast:
        nats = float(model.loss(model(inputs, document_ids, sequence=sequence), targets))
    return Score(nats, len(example), example.target_bytes, len(example.titles))
