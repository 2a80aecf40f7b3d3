"""Records of a journal as training writes them, for whoever needs some."""

from typing import Any


def step_record(step: int, **changes: Any) -> dict[str, Any]:
    """What a step without hash layers writes on a CPU, but for what is changed."""
    record = {
        "event": "step",
        "step": step,
        "epoch": 1,
        "tokens": 512,
        "documents": 2,
        "loss": 8 / step,
        "bits_per_byte": 4 / step,
        "learning_rate": 3e-4,
        "grad_norm": 1.0,
        "seconds": 0.5,
        "tokens_per_second": 1024.0,
        "data_seconds": 0.01,
        "memory_baseline_bytes": 2**28,
        "memory_forward_peak_bytes": 2**30,
        "memory_backward_peak_bytes": 2**31,
        "memory_optimizer_peak_bytes": 2**29,
        "memory_peak_bytes": 2**31,
        "stream_max": 1.5,
        "bucket_fill": None,
        "empty_query_share": None,
        "sink_share": None,
        "layers": [],
    }
    return record | changes


def validation_record(step: int, **changes: Any) -> dict[str, Any]:
    """What a pass over the held-out documents writes, but for what is changed."""
    record = {
        "event": "evaluate",
        "step": step,
        "loss": 9.0,
        "bits_per_byte": 4.5,
        "tokens": 1024,
        "documents": 3,
        "seconds": 0.25,
    }
    return record | changes
