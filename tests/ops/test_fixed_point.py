import platform

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from revlm.errors import NonFiniteError
from revlm.ops import backends
from revlm.ops.compiled import library
from revlm.ops.fixed_point import FixedPoint
from tests.allocations import peaks

BITS = 20
CPU = torch.device("cpu")
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]
DTYPES = [torch.float32, torch.bfloat16]
compiled_only = pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")


def fixed_point(*, compiled: bool, fraction_bits: int = BITS) -> FixedPoint:
    with backends.using("compiled" if compiled else "pytorch"):
        return FixedPoint(fraction_bits, CPU)


def increments(size: int) -> Tensor:
    """Numbers of every size up to those that a stream holds, and what lies halfway between two steps of the grid."""
    generator = torch.Generator().manual_seed(size)
    numbers = torch.randn(size, generator=generator) * 2.0 ** torch.randint(-40, 7, (size,), generator=generator)
    halves = (torch.randint(-300, 300, (size,), generator=generator) + 0.5) * 2.0**-BITS
    return torch.where(torch.rand(size, generator=generator) < 0.5, numbers, halves)


def watched(fixed: FixedPoint) -> tuple[float, float]:
    largest_increment, largest_stream = map(float, fixed._watched())
    return largest_increment, largest_stream


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
# Vectors and what is left over, in one task and in several.
@pytest.mark.parametrize("size", [1, 15, 256, 1000, 2**21 + 37])
def test_compiled_or_not_the_streams_are_the_same(size: int, dtype: torch.dtype) -> None:
    fixed = [fixed_point(compiled=compiled) for compiled in (True, False)]
    first, second = increments(size).to(dtype), increments(size + 1)[1:].to(dtype)
    streams = [torch.arange(size, dtype=torch.int32) - size // 2 for _ in fixed]
    for each, stream in zip(fixed, streams, strict=True):
        each.add_(stream, first)
        each.add_(stream, second.requires_grad_())
    assert torch.equal(*streams)
    assert watched(fixed[0]) == watched(fixed[1])
    for each, stream in zip(fixed, streams, strict=True):
        each.subtract_(stream, second)
    assert torch.equal(*streams)
    for kind in (torch.float32, torch.float64, torch.bfloat16):
        assert torch.equal(*(each.to_float(stream, kind) for each, stream in zip(fixed, streams, strict=True)))
    fixed[0].subtract_(streams[0], first)
    assert torch.equal(streams[0], torch.arange(size, dtype=torch.int32) - size // 2)


@compiled_only
@given(
    numbers=st.lists(
        st.one_of(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.integers(-(2**12), 2**12).map(lambda half: (half + 0.5) * 2.0**-BITS),
            st.sampled_from([0.0, -0.0, 2.0**11, -(2.0**11), 2.0**11 - 2.0**-13, 2.0**-149, -(2.0**-126), 3e38]),
        ),
        min_size=1,
        max_size=40,
    ),
    start=st.integers(-(2**31), 2**31 - 1),
    dtype=st.sampled_from(DTYPES),
    subtracted=st.booleans(),
)
def test_so_they_are_for_every_finite_number(
    numbers: list[float], start: int, dtype: torch.dtype, subtracted: bool
) -> None:
    """Also where a sum wraps: it is for the watch to stop there."""
    increment = torch.tensor(numbers).to(dtype)
    if platform.machine() not in ("x86_64", "AMD64"):  # elsewhere PyTorch makes other integers of what has no integer
        increment.clamp_(-(2.0**10), 2.0**10)
    found, watches = [], []
    for compiled in (True, False):
        fixed = fixed_point(compiled=compiled)
        stream = torch.full((len(numbers),), start, dtype=torch.int32)
        (fixed.subtract_ if subtracted else fixed.add_)(stream, increment)
        found.append(stream)
        watches.append(watched(fixed)[: 1 if subtracted else 2])
    assert torch.equal(*found)
    assert watches[0] == watches[1]


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_half_is_rounded_to_the_even_step(dtype: torch.dtype) -> None:
    stream = torch.zeros(6, dtype=torch.int32)
    fixed_point(compiled=True).add_(stream, torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], dtype=dtype) * 2.0**-BITS)
    assert stream.tolist() == [-2, -2, 0, 0, 2, 2]


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=compiled_only), False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("place", [3, 999])
def test_what_is_not_finite_is_noticed_and_not_forgotten(
    value: float, place: int, dtype: torch.dtype, compiled: bool
) -> None:
    fixed, increment = fixed_point(compiled=compiled), torch.ones(1000, dtype=dtype)
    stream = torch.zeros(1000, dtype=torch.int32)
    fixed.add_(stream, increment)
    assert fixed.is_finite()
    assert fixed.poison() == 0
    increment[place] = value
    fixed.add_(stream, increment)
    fixed.add_(torch.zeros(1000, dtype=torch.int32), torch.ones(1000, dtype=dtype))
    assert not fixed.is_finite()
    assert fixed.poison().isnan()


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=compiled_only), False])
@pytest.mark.parametrize("increment", [700.0, -700.0])
def test_a_stream_that_nears_the_range_is_an_error_that_names_the_key(increment: float, compiled: bool) -> None:
    fixed, stream = fixed_point(compiled=compiled), torch.zeros(100, dtype=torch.int32)
    fixed.add_(stream, torch.full((100,), increment))
    fixed.check_range()
    assert fixed.largest() == 700.0
    fixed.add_(stream, torch.full((100,), increment))
    with pytest.raises(NonFiniteError, match=r"1,400, beyond the range of 1,024 .*model\.stream_fraction_bits: 20"):
        fixed.check_range()


@compiled_only
def test_what_is_not_in_one_piece_or_of_another_kind_goes_the_plain_way_under_the_same_watch() -> None:
    fixed, whole = fixed_point(compiled=True), torch.zeros(4, 12, dtype=torch.int32)
    stream = whole[:, ::2]
    fixed.add_(stream, torch.arange(24.0).reshape(6, 4).T)
    fixed.add_(stream, torch.full((4, 6), 1.0, dtype=torch.float64))
    assert torch.equal(fixed.to_float(stream, torch.float32), torch.arange(24.0).reshape(6, 4).T + 1)
    assert not whole[:, 1::2].any()
    in_one_piece = torch.zeros(4, 6, dtype=torch.int32)
    fixed.add_(in_one_piece, torch.arange(24.0).reshape(6, 4).T)
    assert torch.equal(fixed.to_float(in_one_piece, torch.float32), torch.arange(24.0).reshape(6, 4).T)
    fixed.add_(torch.zeros(5, dtype=torch.int32), torch.full((5,), 30.0))
    assert fixed.largest() == 30.0
    fixed.subtract_(stream, torch.full((4, 6), float("nan"), dtype=torch.float64))
    fixed.add_(torch.zeros(5, dtype=torch.int32), torch.zeros(5))
    assert not fixed.is_finite()


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_can_be_added_to_nothing(dtype: torch.dtype) -> None:
    fixed = fixed_point(compiled=True)
    fixed.add_(torch.zeros(0, 8, dtype=torch.int32), torch.zeros(0, 8, dtype=dtype))
    assert watched(fixed) == (0, 0)


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_it_asks_for_no_memory_as_the_plan_has_it(dtype: torch.dtype) -> None:
    fixed, stream, increment = fixed_point(compiled=True), torch.zeros(4096, dtype=torch.int32), torch.ones(4096)
    increment = increment.to(dtype)
    for change in (fixed.add_, fixed.subtract_):
        assert peaks(lambda change=change: change(stream, increment))[""] == 0
