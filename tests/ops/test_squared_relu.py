import pytest
import torch

from revlm.ops import backends
from revlm.ops.compiled import library
from revlm.ops.squared_relu import squared_relu
from revlm.ops.triton import availability

NEEDS_COMPILER = pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")
NEEDS_TRITON = pytest.mark.skipif(not availability.is_available(), reason="there is no triton")


def test_it_is_the_square_of_the_relu_in_values_and_gradients() -> None:
    x = torch.randn(7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert torch.equal(squared_relu(x), x.relu().square())
    assert torch.autograd.gradcheck(squared_relu, (x,))


def test_without_gradients_it_is_the_same_bits_and_leaves_its_input() -> None:
    x = torch.randn(7, 9, generator=torch.Generator().manual_seed(0))
    before, expected = x.clone(), squared_relu(x)
    with torch.no_grad():
        assert torch.equal(squared_relu(x), expected)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("backend", "shape"),
    [
        *(pytest.param("compiled", shape, marks=NEEDS_COMPILER) for shape in ((0, 3), (1, 1), (7, 33), (1100, 1024))),
        *(pytest.param("triton", shape, marks=NEEDS_TRITON) for shape in ((0, 3), (1, 1), (70, 33))),
    ],
)
def test_every_backend_gives_the_same_bits(backend: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, d_out = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    x.view(-1)[:1] = torch.nan

    def found(backend: str, d_out: torch.Tensor) -> list[torch.Tensor]:
        given = x.clone().requires_grad_()
        with backends.using(backend):
            out = squared_relu(given)
        return [out.detach(), *torch.autograd.grad(out, given, d_out)]

    for gradient in (d_out, d_out.T.contiguous().T):
        for one, other in zip(found("pytorch", gradient), found(backend, gradient), strict=True):
            assert torch.equal(one.isnan(), other.isnan())
            if backend == "triton" and dtype == torch.bfloat16:  # its interpreter truncates
                torch.testing.assert_close(one.nan_to_num(), other.nan_to_num(), rtol=2**-7, atol=0)
            else:
                assert torch.equal(one.nan_to_num(), other.nan_to_num())
