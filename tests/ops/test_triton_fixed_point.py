import pytest
import torch
from torch import Tensor

from revlm.ops import backends
from revlm.ops.fixed_point import FixedPoint
from revlm.ops.triton import availability

if not availability.is_available():
    pytest.skip("there is no triton", allow_module_level=True)

from revlm.ops.fixed_point import triton as kernels

BITS = 20


def by_kernel() -> FixedPoint:
    with backends.using("triton"):
        return FixedPoint(BITS, torch.device("cpu"))


def increments(dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    halves = (torch.arange(-9, 10) + 0.5) * 2.0**-BITS  # rounded to even
    return torch.cat([torch.randn(4000, generator=generator), halves, halves / 2, torch.tensor([-100.0])]).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("programs", [2048, 2])
def test_it_does_what_the_plain_operations_do(
    dtype: torch.dtype, programs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_PROGRAMS", programs)
    with backends.using("pytorch"):
        plain = FixedPoint(BITS, torch.device("cpu"))
    fused, increment = by_kernel(), increments(dtype)
    streams = [torch.arange(increment.numel(), dtype=torch.int32) for _ in range(2)]
    for stream, fixed in zip(streams, (plain, fused), strict=True):
        fixed.add_(stream, increment)
        fixed.add_(stream, increment / 3)
    assert torch.equal(*streams)
    assert fused.largest() == plain.largest() > 100
    for fixed in (plain, fused):
        fixed.subtract_(streams[1], increment / 3)
        fixed.subtract_(streams[1], increment)
        fixed.add_(streams[1], increment)
        fixed.add_(streams[1], increment / 3)
    assert torch.equal(*streams)
    assert fused.is_finite()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_noticed(value: float) -> None:
    fixed, increment = by_kernel(), torch.zeros(3000)
    fixed.add_(torch.zeros(3000, dtype=torch.int32), increment)
    assert fixed.is_finite()
    assert fixed.poison() == 0
    increment[2500] = value
    fixed.add_(torch.zeros(3000, dtype=torch.int32), increment)
    assert not fixed.is_finite()
    assert fixed.poison().isnan()


def test_what_it_was_not_made_for_goes_the_plain_way() -> None:
    fixed, stream = by_kernel(), torch.zeros(4, 6, dtype=torch.int32)
    fixed.add_(stream, torch.full((6, 4), 2.0).T)
    fixed.add_(stream, torch.full((4, 6), 1.0, dtype=torch.float64))
    assert fixed.largest() == 3.0
