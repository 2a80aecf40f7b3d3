"""The operations of the model: attention inside hash buckets, hashing, fixed-point streams, the fused loss."""

from revlm.ops.attention import bucketed_window_attention
from revlm.ops.linear_cross_entropy import linear_cross_entropy

__all__ = ["bucketed_window_attention", "linear_cross_entropy"]
