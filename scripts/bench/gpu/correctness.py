"""Compares the kernels with the reference in float64, on the measured device."""

from collections.abc import Iterator
from math import isnan
from typing import Any, NamedTuple

import torch
from torch import Tensor

from revlm.ops.attention import attention_with_log_sum_exp
from revlm.ops.fixed_point import FixedPoint
from revlm.ops.hashing import draw_rotations, hash_buckets
from revlm.ops.heads import split_heads
from revlm.ops.normalization import rms_norm
from revlm.ops.rotary_table import rotary_table
from revlm.ops.squared_relu import squared_relu

_ROWS, _TOKENS = 3, {"cuda": 999, "cpu": 33}
# Relative error in the 2-norm, of sums in float32 and of results rounded to bfloat16. The gradient of a scale or a sink
# is one number per row, a sum with much cancellation.
_TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2e-2}
_CANCELLED = 10
_LONG_ELEMENTS = 2**31
_FAR = 10**6  # the first position
_RESULTS = ("out", "d_q", "d_k", "d_v", "d_scale", "d_sink")
_OF_ROWS = ("d_scale", "d_sink")


class Check(NamedTuple):
    """The name of a comparison, its largest error and the tolerance."""

    name: str
    error: float
    allowed: float

    @property
    def is_right(self) -> bool:
        """Whether the error is within the tolerance and not NaN."""
        return self.error <= self.allowed


def checks(device: torch.device, backend: str = "auto") -> Iterator[Check]:
    """Yields the checks of attention, hashing, norms, streams and, where they fit, very large tensors."""
    for dtype in (torch.float32, torch.bfloat16):
        for head_dim in (32, 64, 128):
            yield _against_reference(device, backend, dtype, head_dim, rounds=1, include_self=True)
            yield _against_reference(device, backend, dtype, head_dim, rounds=4, include_self=False)
    yield _hashing(device)
    yield _norms(device)
    yield _streams(device)
    yield _repeated(device, backend)
    if device.type == "cuda" and torch.cuda.mem_get_info(device)[0] > 12 * _LONG_ELEMENTS:
        yield _large(device, backend)


def _inputs(
    device: torch.device, dtype: torch.dtype, head_dim: int, rounds: int, tokens: int
) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(head_dim + rounds)
    qkv = [torch.randn(_ROWS, tokens, head_dim, generator=generator) / head_dim**0.25 for _ in range(3)]
    # In a memory layout that no kernel reads, so that it must be copied.
    bucket = torch.randint(0, max(2, tokens // 40), (rounds, _ROWS, tokens), generator=generator).transpose(0, 1)
    return [x.to(device, dtype) for x in qkv], bucket.to(device)


def _results(qkv: list[Tensor], bucket: Tensor, include_self: bool, backend: str) -> list[Tensor]:
    wide = torch.promote_types(qkv[0].dtype, torch.float32)
    scale = torch.linspace(0.5, 2.0, _ROWS, device=bucket.device, dtype=wide)
    sink = torch.linspace(-1.0, 1.0, _ROWS, device=bucket.device, dtype=wide)
    learned = [x.clone().requires_grad_() for x in (*qkv, scale, sink)]
    q, k, v, scale, sink = learned
    options: dict[str, Any] = {"window": 33, "include_self": include_self, "backend": backend}
    out = attention_with_log_sum_exp(q, k, v, bucket, scale=scale, sink=sink, **options)[0]
    weight = torch.arange(out.numel(), dtype=torch.float64, device=out.device).cos().view_as(out).bfloat16()
    return [out.detach(), *torch.autograd.grad(out, learned, weight.to(out.dtype))]


def _against_reference(
    device: torch.device, backend: str, dtype: torch.dtype, head_dim: int, *, rounds: int, include_self: bool
) -> Check:
    qkv, bucket = _inputs(device, dtype, head_dim, rounds, _TOKENS[device.type])
    exact = _results([x.double() for x in qkv], bucket, include_self, "reference")
    found = _results(qkv, bucket, include_self, backend)
    allowed = {name: _TOLERANCE[dtype] * (_CANCELLED if name in _OF_ROWS else 1) for name in _RESULTS}
    errors = {
        name: float((one.double() - truth).norm() / truth.norm())
        for name, one, truth in zip(_RESULTS, found, exact, strict=True)
    }
    # NaN is the worst error.
    worst = max(_RESULTS, key=lambda name: float("inf") if isnan(errors[name]) else errors[name] / allowed[name])
    word = str(dtype).removeprefix("torch.")
    return Check(f"{word}, head_dim {head_dim}, {rounds} rounds: {worst}", errors[worst], allowed[worst])


def _hashing(device: torch.device) -> Check:
    """Checks the share of tokens that the GPU and the CPU put into different buckets."""
    x = torch.randn(2, 8 * _TOKENS[device.type], 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    n_buckets = (64, 512, 4096, 4096)
    rotations = draw_rotations(0, None, 0, 2, 64, n_buckets)
    found = hash_buckets(x.to(device), rotations.to(device), n_buckets).cpu()
    differ = (found != hash_buckets(x, rotations, n_buckets)).double().mean()
    return Check("hashes that differ from the CPU's", float(differ), 1e-3)


def _norms(device: torch.device) -> Check:
    generator = torch.Generator().manual_seed(0)
    x, direction = (torch.randn(_TOKENS[device.type], 512, generator=generator).to(device) for _ in range(2))

    def found(dtype: torch.dtype) -> list[Tensor]:
        values, weight = x.to(dtype).requires_grad_(), torch.linspace(0.5, 2.0, 512, device=device, dtype=dtype)
        weight.requires_grad_()
        rotary = rotary_table(torch.arange(len(x), device=device) + _FAR, 64, dtype)
        q, v = split_heads([torch.cat([values, values * 2], dim=1)], 8, 512, units=1, rotary=rotary)
        out = rms_norm(values, weight) + (q + v).transpose(0, 1).flatten(1) + squared_relu(values)
        return [out.detach(), *torch.autograd.grad(out, (values, weight), direction.to(dtype))]

    errors = [
        float((one.double() - truth).norm() / truth.norm())
        for one, truth in zip(found(torch.float32), found(torch.float64), strict=True)
    ]
    return Check(
        "token-wise layers, and gradients",
        float("nan") if any(map(isnan, errors)) else max(errors),
        1e-5,
    )


def _streams(device: torch.device) -> Check:
    """Checks that sums on the grid equal the CPU's to the bit, also after subtraction."""
    increments = torch.randn(2, 64 * _TOKENS[device.type], 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    results = []
    for where in (device, torch.device("cpu")):
        fixed, stream = FixedPoint(20, where), torch.zeros(increments.shape[1:], dtype=torch.int32, device=where)
        for increment in increments:
            fixed.add_(stream, increment.to(where))
        summed = stream.cpu()
        for increment in increments:
            fixed.subtract_(stream, increment.to(where))
        results.append((summed, int(stream.count_nonzero()), fixed.largest()))
    (summed, left, largest), (of_cpu, _, largest_of_cpu) = results
    same = torch.equal(summed, of_cpu) and left == 0 and largest == largest_of_cpu
    return Check("streams, bits that differ from the CPU's", 0.0 if same else 1.0, 0.0)


def _repeated(device: torch.device, backend: str) -> Check:
    qkv, bucket = _inputs(device, torch.bfloat16, 64, 4, _TOKENS[device.type])
    first, second = (_results(qkv, bucket, False, backend) for _ in range(2))
    same = all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    return Check("a second time, bits that differ", 0.0 if same else 1.0, 0.0)


def _large(device: torch.device, backend: str) -> Check:
    """Compares the last row of tensors with more than 2^31 elements with the same row alone."""
    tokens, head_dim = 2**20, 64
    options: dict[str, Any] = {"window": 64, "include_self": False, "backend": backend}
    rows = _LONG_ELEMENTS // (tokens * head_dim) + 1
    k = torch.randn(rows, tokens, head_dim, device=device, dtype=torch.bfloat16)
    bucket = torch.randint(0, tokens // 64, (rows, 1, tokens), device=device, dtype=torch.int32)
    with torch.no_grad():
        together = attention_with_log_sum_exp(k, k, k, bucket, **options)[0][-1:].clone()
        alone = attention_with_log_sum_exp(k[-1:], k[-1:], k[-1:], bucket[-1:], **options)[0]
    same = torch.equal(together, alone)
    return Check("beyond 2^31 elements, bits that differ", 0.0 if same else 1.0, 0.0)
