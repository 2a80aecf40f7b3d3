"""A model with the functions that probes need: hidden states, and losses at chosen positions."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from revlm.evaluation.held_out import TILE, token_losses
from revlm.model import RevLM, evaluating

Tokens = NDArray[np.int32]
"""Token ids, [tokens]."""
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Scorer:
    """A model with the precision of its training."""

    model: RevLM
    autocast: AbstractContextManager[None]

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.head_weight.device

    def hidden(self, inputs: Tokens, document_ids: Tokens | None = None) -> Float[Tensor, "tokens d_model"]:
        """Returns the hidden state of each token; documents are concatenated and do not see each other."""
        numbers = None if document_ids is None else torch.from_numpy(document_ids).to(self.device)
        with evaluating(self.model), self.autocast:
            return self.model(torch.from_numpy(inputs).to(self.device), numbers)

    def losses(self, hidden: Float[Tensor, "targets d_model"], targets: Tokens) -> Numbers:
        """Returns the cross-entropy of each target in nats, given the hidden states before them."""
        with self.autocast:
            losses = token_losses(self.model, hidden, torch.from_numpy(targets).to(self.device))
        return losses.double().cpu().numpy()

    def ranks(self, hidden: Float[Tensor, "targets d_model"], targets: Tokens) -> NDArray[np.int64]:
        """Returns how many tokens are at least as likely as each target, itself included: 1 where it is predicted.

        Ties count against the target, so a model that considers all tokens equally likely predicts none.
        """
        expected = torch.from_numpy(targets).to(self.device).long()[:, None]
        ranks = []
        with torch.no_grad(), self.autocast:
            for rows, of_rows in zip(hidden.split(TILE), expected.split(TILE), strict=True):
                logits = self.model.logits(rows).float()
                ranks.append((logits >= logits.gather(1, of_rows)).sum(-1))
        return torch.cat(ranks).cpu().numpy()

    def text_losses(self, inputs: Tokens, targets: Tokens) -> Numbers:
        """Returns the losses of all tokens of one text."""
        return self.losses(self.hidden(inputs), targets)
