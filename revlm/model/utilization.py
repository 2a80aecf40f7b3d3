"""The share of a GPU's peak that a training step uses: model FLOPs utilization, mfu."""

import re

import torch

_TERA = 1e12
# Dense products of bfloat16 matrices with sums in float32, without sparsity, by the device's name in CUDA; from
# NVIDIA's data sheets of A100, H100, H200, L4, L40S and B200, and its white papers of Ampere GA102 and Ada.
_BF16_PEAKS = {
    r"A100[- ].*": 312,
    r"H100 80GB HBM3": 989,  # SXM
    r"H100 PCIe": 756,
    r"H200": 989,
    r"L40S": 362,
    r"L4": 121,
    r"GeForce RTX 4090": 165,
    r"GeForce RTX 3090": 71,
    r"B200": 2250,
}


def peak_flops_per_second(device: torch.device, precision: str) -> float | None:
    """Returns the peak of a device at a precision of matrix products; None where it is not known.

    In fp32 there is none: products then do not run on the units that the data sheets quote.
    """
    if device.type != "cuda" or precision != "bf16":
        return None
    return bf16_peak_of(torch.cuda.get_device_name(device))


def bf16_peak_of(name: str) -> float | None:
    """Returns the peak of a GPU by its name in CUDA; None if it is not known, or it is a part of one (MIG)."""
    if "MIG" in name:
        return None
    found = (peak for pattern, peak in _BF16_PEAKS.items() if re.fullmatch(f"NVIDIA {pattern}", name))
    return next((peak * _TERA for peak in found), None)
