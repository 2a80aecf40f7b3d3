"""Loss and bits per byte over held-out examples."""

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.corpus import Example
from revlm.model import RevLM

# Tokens whose logits exist at one time.
TILE = 2048


@dataclass(frozen=True)
class Score:
    """A sum of cross-entropies in nats, over how many targets, bytes and documents."""

    nats: float
    tokens: int
    bytes: int
    documents: int

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / max(self.tokens, 1)

    @property
    def bits_per_byte(self) -> float:
        """Bits for each UTF-8 byte of the targets."""
        return self.nats / math.log(2) / max(self.bytes, 1)


@torch.no_grad()
def token_losses(
    model: RevLM, hidden: Float[Tensor, "tokens d_model"], targets: Int[Tensor, "tokens"]
) -> Float[Tensor, "tokens"]:
    """Returns the cross-entropy of each target in nats, float32; only the logits of a tile of tokens exist."""
    losses = [
        torch.nn.functional.cross_entropy(model.logits(rows).float(), target.long(), reduction="none")
        for rows, target in zip(hidden.split(TILE), targets.split(TILE), strict=True)
    ]
    return torch.cat(losses)


@torch.no_grad()
def score(
    model: RevLM, examples: Iterable[Example], autocast: AbstractContextManager[None], max_tokens: int | None = None
) -> Score:
    """Returns the score of the examples, stopping after the example that reaches `max_tokens` targets."""
    device = model.head_weight.device
    was_training = model.training
    model.eval()
    nats, tokens, size, documents = 0.0, 0, 0, 0
    with autocast:
        for example in examples:
            inputs, targets, document = (
                torch.from_numpy(part).to(device) for part in (example.inputs, example.targets, example.document)
            )
            nats += float(model.loss(model(inputs, document), targets))
            tokens, size, documents = (
                tokens + len(example),
                size + example.target_bytes,
                documents + len(example.titles),
            )
            if max_tokens is not None and tokens >= max_tokens:
                break
    model.train(was_training)
    return Score(nats, tokens, size, documents)
