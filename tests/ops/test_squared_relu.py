import torch

from revlm.ops.squared_relu import squared_relu


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
