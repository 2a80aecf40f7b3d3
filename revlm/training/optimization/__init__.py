"""The optimizer of a run and its learning rate.

`make_optimizer` chooses the weights' updates by the recipe: AdamW, or `muon` for matrices with AdamW for the rest. The
`Schedule` is the learning rate of each step.
"""

from revlm.training.optimization.optimizer import (
    MuonWithAdamW,
    make_optimizer,
    moment_bytes,
    optimizer_state,
    restore_optimizer,
)
from revlm.training.optimization.schedule import Schedule, jump_notice

__all__ = [
    "MuonWithAdamW",
    "Schedule",
    "jump_notice",
    "make_optimizer",
    "moment_bytes",
    "optimizer_state",
    "restore_optimizer",
]
