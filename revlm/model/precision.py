"""The precision of matrix products: the one place that turns autocast on."""

import torch


def autocast(precision: str, device: torch.device | str) -> torch.autocast:
    """Returns the context for a precision of `train.precision`, with fp32 one that changes nothing.

    It keeps no weights that it has cast: they would stay in memory from the forward pass to the backward pass.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
