"""The precision of matrix products: the only place that chooses it and that enables autocast."""

from functools import cache

import torch

_OF_CPUS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # x86, x86, Arm, Arm
_FIRST_CUDA = (8, 0)


def resolve_precision(precision: str, device: torch.device | str) -> str:
    """Returns bf16 or fp32 for a `train.precision`; auto is bf16 where the device multiplies it natively, else fp32."""
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bf16(torch.device(device)) else "fp32"


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for products in bf16; a GPU that this machine lacks is taken to have them."""
    if device.type == "cuda":
        return not torch.cuda.is_available() or torch.cuda.get_device_capability(device) >= _FIRST_CUDA
    return _cpu_multiplies_bf16()


@cache
def _cpu_multiplies_bf16() -> bool:
    if not hasattr(torch.cpu, "get_capabilities"):  # before PyTorch 2.13, which names x86 alone
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return any(torch.cpu.get_capabilities().get(name, False) for name in _OF_CPUS)


def precision_of_evaluation(precision: str, device: torch.device | str) -> str:
    """Returns the precision in which to score a model that was trained with a `train.precision`, here or elsewhere.

    That is its own, but fp32 on a device that does not multiply bf16 natively, where fp32 is faster and more exact.
    """
    return "fp32" if resolve_precision("auto", device) == "fp32" else resolve_precision(precision, device)


def autocast(precision: str, device: torch.device | str) -> torch.autocast:
    """Returns the autocast context for a `train.precision`, which for fp32 has no effect.

    It does not cache cast weights, which would stay in memory from the forward to the backward pass.
    """
    kind, enabled = torch.device(device).type, resolve_precision(precision, device) == "bf16"
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)
