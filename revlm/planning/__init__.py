"""Predicts the memory of a training step by category and phase, before anything runs."""

from revlm.planning.fitting import (
    FittedPlan,
    fit_plan,
    longest_seq_len,
    out_of_memory_explained,
    planning_limit,
    require_memory,
)
from revlm.planning.ledger import CATEGORIES
from revlm.planning.plan import plan_memory

__all__ = [
    "CATEGORIES",
    "FittedPlan",
    "fit_plan",
    "longest_seq_len",
    "out_of_memory_explained",
    "plan_memory",
    "planning_limit",
    "require_memory",
]
