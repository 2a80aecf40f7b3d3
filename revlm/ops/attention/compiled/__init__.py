"""Bucketed window attention, compiled for the machine's CPU."""

from revlm.ops.attention.compiled.function import attention_with_log_sum_exp, takes, takes_head_dim
from revlm.ops.attention.compiled.workspace import workspace_bytes

__all__ = ["attention_with_log_sum_exp", "takes", "takes_head_dim", "workspace_bytes"]
