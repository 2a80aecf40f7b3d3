"""A whole model on the kernels for CUDA, in Triton's interpreter."""

import pytest
import torch
from torch import Tensor

from revlm.model.precision import autocast
from revlm.ops import backends
from revlm.ops.triton import availability
from tests.model.networks import model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not availability.is_available(), reason="there is no triton"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
]


def gradients(backend: str, precision: str, *, reversible: bool, dropout: float = 0.0) -> list[Tensor]:
    network = model(("local", "lsh"), reversible=reversible, dropout=dropout)
    inputs, document_ids = torch.arange(61) % 50, (torch.arange(61) >= 20).int()
    with backends.using(backend), autocast(precision, "cpu"):
        loss = network.loss(network(inputs, document_ids, step=1), inputs)
        return [loss.detach(), *torch.autograd.grad(loss, list(network.parameters()))]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_reversible_and_stored_gradients_are_the_same_bits(precision: str) -> None:
    """Also with dropout, and with two tiles and a last one that is shorter; the reversal is checked in each pass."""
    found = [gradients("triton", precision, reversible=each, dropout=0.1) for each in (True, False)]
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_it_is_the_model_on_pytorch_operations() -> None:
    exact, found = (gradients(backend, "fp32", reversible=True) for backend in ("pytorch", "triton"))
    for one, other in zip(exact, found, strict=True):
        assert (one - other).norm() <= 1e-4 * one.norm() + 1e-6
