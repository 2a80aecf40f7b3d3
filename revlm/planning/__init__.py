"""The memory of a training step by category and phase, before anything runs."""

from revlm.planning.ledger import CATEGORIES
from revlm.planning.plan import Plan, longest_seq_len, plan_memory, planning_limit_bytes, require_memory

__all__ = ["CATEGORIES", "Plan", "longest_seq_len", "plan_memory", "planning_limit_bytes", "require_memory"]
