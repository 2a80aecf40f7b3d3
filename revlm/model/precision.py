"""The precision of matrix products: the only place that enables autocast."""

import torch


def autocast(precision: str, device: torch.device | str) -> torch.autocast:
    """Returns the autocast context for a `train.precision`, which for fp32 has no effect.

    It does not cache cast weights, which would stay in memory from the forward to the backward pass.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
