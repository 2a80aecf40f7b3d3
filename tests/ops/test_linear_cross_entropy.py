import pytest
import torch
from torch.nn.functional import cross_entropy

from revlm.ops.linear_cross_entropy import linear_cross_entropy, tiled_linear_cross_entropy


@pytest.mark.parametrize("ours", [False, True])
def test_the_loss_and_its_gradients_equal_cross_entropy(ours: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(37, 8, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.randn(11, 8, dtype=torch.float64, generator=generator).requires_grad_()
    targets = torch.randint(0, 11, (37,), generator=generator)
    expected = cross_entropy(hidden @ weight.T, targets, reduction="sum")
    if ours:
        found = tiled_linear_cross_entropy(hidden, weight, targets, 10, torch.float64)
    else:
        found = linear_cross_entropy(hidden, weight, targets, 10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    for one, other in zip(
        torch.autograd.grad(3 * expected, (hidden, weight)),
        torch.autograd.grad(3 * found, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
