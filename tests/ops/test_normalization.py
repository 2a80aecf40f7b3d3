import pytest
import torch
from torch import Tensor
from torch.nn.functional import rms_norm as torch_rms_norm

from revlm.ops import backends
from revlm.ops.compiled import library
from revlm.ops.fixed_point import FixedPoint
from revlm.ops.normalization import rms_norm
from revlm.ops.triton import availability


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_they_are_what_pytorch_says_in_values_and_gradients() -> None:
    x, weight, direction = randn(2500, 12).requires_grad_(), randn(12).requires_grad_(), randn(2500, 12)
    expected = torch_rms_norm(x, (12,), weight, 1e-6)
    torch.testing.assert_close(rms_norm(x, weight), expected, rtol=0, atol=1e-9)
    for one, other in zip(
        torch.autograd.grad(expected, (x, weight), direction),
        torch.autograd.grad(rms_norm(x, weight), (x, weight), direction),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_gradients_are_those_of_the_values() -> None:
    x, weight = randn(5, 6).requires_grad_(), randn(6).requires_grad_()
    assert torch.autograd.gradcheck(rms_norm, (x, weight))


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
@pytest.mark.parametrize("out", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [36, 256])
def test_compiled_or_not_they_are_the_same(width: int, dtype: torch.dtype, out: torch.dtype) -> None:
    # Wider in memory than it is, as a part of a projection is.
    x, weight = randn(300, width + 4)[:, :width].to(dtype), randn(width).float()
    found = []
    for backend in ("compiled", "pytorch"):
        leaves = x.clone().requires_grad_(), weight.clone().requires_grad_()
        with backends.using(backend):
            result = rms_norm(*leaves, out)
        found.append([result, *torch.autograd.grad(result, leaves, result.detach().flip(-2))])
    for one, other in zip(*found, strict=True):
        low = torch.bfloat16 in (dtype, out)
        torch.testing.assert_close(one, other, rtol=2**-6 if low else 1e-5, atol=1e-2 if low else 1e-4)


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    x, weight = randn(1000, 20).float(), randn(20).float()
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaves = x.clone().requires_grad_(), weight.clone().requires_grad_()
            result = rms_norm(*leaves)
            found.append([result, *torch.autograd.grad(result, leaves, x.flip(0))])
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


@pytest.mark.skipif(not availability.is_available(), reason="there is no triton")
@pytest.mark.parametrize(("dtype", "out"), [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)])
def test_kernels_for_cuda_do_the_same(dtype: torch.dtype, out: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Triton's interpreter; on blocks that several programs share, and a width that is no power of two."""
    from revlm.ops.normalization import triton as kernels

    monkeypatch.setattr(kernels, "_PROGRAMS", 2)
    monkeypatch.setattr(kernels, "_ELEMENTS", 256)
    x, weight = randn(37, 44)[:, :36].to(dtype), randn(36).float()
    found = []
    for backend in ("triton", "pytorch"):
        leaves = x.clone().requires_grad_(), weight.clone().requires_grad_()
        with backends.using(backend):
            result = rms_norm(*leaves, out)
        found.append([result, *torch.autograd.grad(result, leaves, randn(*result.shape).to(out))])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2**-7, atol=1e-3)


@pytest.mark.skipif(not availability.is_available(), reason="there is no triton")
def test_a_kernel_takes_what_it_was_made_for() -> None:
    from revlm.ops.normalization.triton import takes

    x, weight = torch.ones(3, 1, 8), torch.ones(8)
    assert takes(x, weight, torch.bfloat16)
    assert takes(x, None, torch.float32)
    for refused in (x.double(), x[:0], x.transpose(0, 2), torch.ones(1, 1, 5000)):
        assert not takes(refused, weight, torch.float32)
    assert not takes(x, weight.double(), torch.float32)


@pytest.mark.parametrize("backend", ["pytorch", "compiled", "triton"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_norm_of_a_stream_is_that_of_its_values(backend: str, dtype: torch.dtype) -> None:
    """The same bits, also of the gradient that it adds where the stream's lies."""
    available = {"pytorch": True, "compiled": library.is_available(), "triton": availability.is_available()}
    if not available[backend]:
        pytest.skip(f"there is no {backend}")
    weight, d_out = randn(36).float(), randn(37, 36).to(dtype)
    numbers = (randn(37, 36) * 2**20).int()
    with backends.using(backend):
        fixed = FixedPoint(20, numbers.device)
        x, learned = fixed.to_float(numbers, torch.float32).requires_grad_(), weight.clone().requires_grad_()
        plain = rms_norm(x, learned, dtype)
        d_x, d_weight = torch.autograd.grad(plain, (x, learned), d_out)
        for into in (None, torch.ones(37, 36)):
            tile = fixed.tile(numbers, torch.float32, differentiable=True)
            tile.gradient = into
            found = rms_norm(tile, learned, dtype)
            assert torch.equal(found, plain)
            with torch.no_grad():
                assert torch.equal(rms_norm(tile, learned, dtype), plain)
            d_leaf, d_learned = torch.autograd.grad(found, (tile.leaf, learned), d_out, allow_unused=True)
            assert torch.equal(d_learned, d_weight)
            if into is None:
                assert torch.equal(d_leaf, d_x)
            else:
                assert d_leaf is None
                assert torch.equal(into, 1 + d_x)


@pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
def test_the_compiled_norm_reads_the_numbers_of_a_stream() -> None:
    """Also of rows that do not lie side by side, and into a gradient that does not; the rest of it stays."""
    from revlm.ops.normalization.compiled import normalize, normalize_backward, takes

    numbers, weight, d_out = (randn(37, 40) * 2**20).int()[:, None, 2:-2], randn(36).float(), randn(1, 37, 36).float()
    assert takes(numbers, weight, torch.bfloat16)
    assert not takes(numbers, weight.double(), torch.bfloat16)
    assert not takes(numbers.long(), weight, torch.bfloat16)
    values, out, expected = numbers.float() * 2**-20, torch.empty(1, 37, 36), torch.empty(1, 37, 36)
    normalize(values, weight, expected, 36, 1e-6)
    normalize(numbers, weight, out, 36, 1e-6, step=2**-20)
    assert torch.equal(out, expected)
    d_x, into = torch.empty(37, 1, 36), torch.full((37, 40), 0.1)
    d_weight = normalize_backward(values, weight, d_out, d_x, 36, 1e-6)
    found = normalize_backward(numbers, weight, d_out, into[:, None, 2:-2], 36, 1e-6, step=2**-20, add=True)
    assert d_weight is not None
    assert found is not None
    assert torch.equal(found, d_weight)
    assert torch.equal(into[:, 2:-2], torch.full((37, 36), 0.1) + d_x[:, 0])
    assert (into[:, :2] == into[:, -2:]).all()


def test_a_layer_may_read_a_stream_as_a_tensor() -> None:
    fixed = FixedPoint(20, torch.device("cpu"))
    tile = fixed.tile(torch.tensor([[2**20, -(2**19)]], dtype=torch.int32), torch.float64, differentiable=True)
    values = tile.to_float()
    assert values.tolist() == [[1.0, -0.5]]
    (gradient,) = torch.autograd.grad(values.square().sum(), tile.leaf)
    assert gradient.tolist() == [[2.0, -1.0]]
