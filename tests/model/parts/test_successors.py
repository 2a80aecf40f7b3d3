"""Keys and values of tokens and their successors: one pass, whether or not values are computed."""

import pytest
import torch
from torch import Tensor, nn

from revlm.model.parts.context import Context
from revlm.model.parts.successors import ReadKeysValues
from revlm.recipe import Model

TOKENS = 20


def read(*, successor_values: bool) -> ReadKeysValues:
    torch.manual_seed(0)
    return ReadKeysValues(Model(d_model=12, n_heads=2, successor_values=successor_values)).double()


def context(*lengths: int) -> Context:
    ids = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    return Context(document_ids=ids, rotations=lambda layer: torch.empty(0))


def stream(rows: slice) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(TOKENS, 12, generator=generator, dtype=torch.float64)[rows].requires_grad_()


def gradients(layer: ReadKeysValues, x: Tensor, out: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    d_out = [torch.linspace(-1, 1, each.numel(), dtype=each.dtype).view(each.shape) for each in out]
    return torch.autograd.grad(out, (x, *layer.parameters()), d_out, allow_unused=True)


# In the midst of a document, at the end of one, and at that of the sequence, where the last token has none after it.
SPANS = [slice(2, 7), slice(2, 9), slice(3, 15), slice(11, 20)]


@pytest.mark.parametrize("successor_values", [True, False])
@pytest.mark.parametrize("span", SPANS, ids=str)
def test_it_is_what_its_linear_maps_compute(span: slice, successor_values: bool) -> None:
    """A map with a hook is called as a module, and differentiated by PyTorch."""
    layer, documents = read(successor_values=successor_values), context(9, 11)
    x = stream(slice(span.start, span.stop + 1))
    found = layer(x, documents, span)
    d_found = gradients(layer, x, found)
    layer.project.register_forward_hook(lambda *_: None)
    expected = layer(x, documents, span)
    for one, other in zip((*found, *d_found), (*expected, *gradients(layer, x, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("successor_values", [True, False])
@pytest.mark.parametrize("span", SPANS, ids=str)
def test_a_graph_alone_has_the_same_gradients_to_the_bit(span: slice, successor_values: bool) -> None:
    layer, documents = read(successor_values=successor_values).float(), context(9, 11)
    x = stream(slice(span.start, span.stop + 1)).float().detach().requires_grad_()
    d_full = gradients(layer, x, layer(x, documents, span))
    d_alone = gradients(layer, x, layer(x, documents, span, only_graph=True))
    for one, other in zip(d_full, d_alone, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_a_frozen_map_has_no_gradient() -> None:
    layer, x = read(successor_values=True), stream(slice(0, 6))
    assert layer.successor is not None
    layer.project.requires_grad_(False)
    out = layer(x, context(TOKENS), slice(0, 5))
    d_x, d_norm, d_successor = torch.autograd.grad(
        out, (x, layer.norm.weight, layer.successor.weight), [torch.ones_like(each) for each in out]
    )
    assert all(each.abs().sum() > 0 for each in (d_x, d_norm, d_successor))


def test_an_adapter_in_place_of_a_map_is_applied() -> None:
    class Doubling(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    layer, x = read(successor_values=True), stream(slice(0, 6))
    _, plain = layer(x, context(TOKENS), slice(0, 5))
    doubled = Doubling(12, 24, bias=False)
    doubled.weight = layer.project.weight
    layer.project = doubled
    _, v = layer(x, context(TOKENS), slice(0, 5))
    assert layer.successor is not None
    following = (layer.norm(x)[1:] @ layer.successor.weight.T).unflatten(1, (2, 6)).transpose(0, 1)
    torch.testing.assert_close(v - following, 2 * (plain - following))
