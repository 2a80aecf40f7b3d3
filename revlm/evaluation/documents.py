"""Scores whole documents, one at a time: loss, bits per byte, and losses by position."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from revlm.corpus import Example
from revlm.evaluation.held_out import Score, token_losses
from revlm.model import RevLM, evaluating


@dataclass
class PositionLosses:
    """Sums of cross-entropies by the position in a document, from 1, in bins 1, 2-3, 4-7, 8-15 and so on.

    Attributes:
        nats: the sum of each bin.
        tokens: the tokens of each bin.
    """

    nats: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def add(self, losses: Float[Tensor, "tokens"], start: int) -> None:
        """Adds the losses of tokens that begin `start` tokens into their document."""
        first, last = start + 1, start + len(losses)
        for number in range(last.bit_length()):
            low, high = max(2**number, first), min(2 ** (number + 1) - 1, last)
            if number == len(self.tokens):
                self.nats.append(0.0)
                self.tokens.append(0)
            if low <= high:
                self.nats[number] += float(losses[low - first : high - first + 1].double().sum())
                self.tokens[number] += high - low + 1

    def bins(self) -> Iterator[tuple[int, int, int, float]]:
        """Yields the first and last position of each nonempty bin, its number of tokens and its nats a token."""
        for number, (nats, tokens) in enumerate(zip(self.nats, self.tokens, strict=True)):
            if tokens:
                yield 2**number, 2 ** (number + 1) - 1, tokens, nats / tokens


@torch.no_grad()
def score_document(
    model: RevLM,
    pieces: Iterable[tuple[int, Example]],
    autocast: AbstractContextManager[None],
    by_position: PositionLosses,
    header_bytes: int = 0,
) -> Score:
    """Returns the score of one document, and adds the losses of its tokens by their position.

    `pieces` yields the offset of each piece in the document, in tokens, and an example that holds only that piece.
    Every token is scored once, given the tokens before it in its piece. `header_bytes` is the size of a picture's
    header at the beginning of the document, where each token is a byte.
    """
    device = model.head_weight.device
    nats, tokens, size, in_header = 0.0, 0, 0, 0
    for start, example in pieces:
        inputs, targets = (torch.from_numpy(part).to(device) for part in (example.inputs, example.targets))
        with evaluating(model), autocast:
            losses = token_losses(model, model(inputs), targets)
        by_position.add(losses, start)
        nats += float(losses.double().sum())
        tokens, size = tokens + len(example), size + example.target_bytes
        in_header += max(0, min(header_bytes - start, len(example)))
    return Score(nats, tokens, size, 1, in_header)
