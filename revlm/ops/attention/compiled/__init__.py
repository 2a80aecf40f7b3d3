"""Bucketed window attention compiled for this machine's CPU."""

from revlm.ops.attention.compiled.function import attention_with_log_sum_exp
from revlm.ops.attention.compiled.library import BuildError, builds, is_available, require
from revlm.ops.attention.compiled.workspace import workspace_bytes

__all__ = ["BuildError", "attention_with_log_sum_exp", "builds", "is_available", "require", "workspace_bytes"]
