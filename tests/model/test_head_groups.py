"""Attention over many tokens takes some heads at a time: the same function, with less memory."""

import pytest
import torch
from torch import Tensor, nn

from revlm.model import RevLM
from revlm.model.decoding import CachedStack
from revlm.model.parts.sublayer import Sublayer
from revlm.recipe import LayerKind
from tests.allocations import peaks
from tests.head_groups import take_heads_in
from tests.model.decoded import network, tokens
from tests.model.networks import example, model


def hidden_and_gradients(network: RevLM) -> tuple[Tensor, list[Tensor]]:
    inputs, document = example()
    network.zero_grad()
    hidden = network(inputs, document, step=4, with_statistics=True)
    network.loss(hidden, inputs.roll(-1)).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(each is not None for each in gradients)
    return hidden.detach(), [each.clone() for each in gradients if each is not None]


@pytest.mark.parametrize("reversible", [True, False])
@pytest.mark.parametrize("kind", ["local", "lsh", "full"])
def test_groups_compute_what_all_heads_do(kind: str, reversible: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout: every group drops the same numbers of the increment."""
    found = []
    for groups in (1, 2):
        take_heads_in(groups, monkeypatch)
        network = model((kind,), bits=26, dropout=0.2, reversible=reversible).double()
        found.append((*hidden_and_gradients(network), network.statistics))
    (hidden, gradients, statistics), (in_groups, gradients_in_groups, statistics_in_groups) = found
    torch.testing.assert_close(in_groups, hidden, rtol=0, atol=1e-5)
    for one, other in zip(gradients, gradients_in_groups, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * float(one.abs().max()))
    assert statistics.keys() == statistics_in_groups.keys()
    for layer, expected in statistics.items():
        assert vars(statistics_in_groups[layer]) == pytest.approx(vars(expected), abs=1e-6)


@pytest.mark.parametrize("kind", ["local", "lsh", "full"])
def test_a_group_sees_the_weights_of_its_heads_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, shapes = model((kind,), n_layers=1), []
    of_class = type(network.attention(0).mix)
    forward = of_class.forward

    def seen(self: nn.Module, *read: Tensor, **options: object) -> Tensor:
        shapes.append((len(read[0]), options["heads"]))
        return forward(self, *read, **options)

    monkeypatch.setattr(of_class, "forward", seen)
    take_heads_in(2, monkeypatch)
    hidden_and_gradients(network)
    assert shapes == 2 * [(1, slice(0, 1)), (1, slice(1, 2))]


class Doubling(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def with_adapter(layer: Sublayer) -> None:
    layer.read.project = Doubling(32, layer.read.project.out_features, bias=False)


def with_bias(layer: Sublayer) -> None:
    layer.write.project = nn.Linear(32, 32)


def with_hook(layer: Sublayer) -> None:
    layer.mix.register_forward_hook(lambda module, given, result: result)


def with_backward_hook(layer: Sublayer) -> None:
    layer.write.project.register_full_backward_hook(lambda *_: None)


@pytest.mark.parametrize("change", [with_adapter, with_bias, with_hook, with_backward_hook])
def test_a_module_of_a_user_gets_all_heads(change, monkeypatch: pytest.MonkeyPatch) -> None:
    network = model(("lsh",), n_layers=1)
    layer = network.attention(0)
    assert layer.takes_some_heads
    change(layer)
    assert not layer.takes_some_heads
    expected = hidden_and_gradients(network)
    take_heads_in(2, monkeypatch)
    found = hidden_and_gradients(network)
    assert torch.equal(found[0], expected[0])
    assert all(map(torch.equal, found[1], expected[1]))


def test_frozen_projections_have_no_gradient_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    network = model(("lsh",), n_layers=1)
    frozen = network.attention(0).read.project.weight.requires_grad_(False)
    take_heads_in(2, monkeypatch)
    inputs, document = example()
    network.loss(network(inputs, document), inputs).backward()
    assert frozen.grad is None
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("kind", ["local", "lsh"])
def test_whole_tensors_are_those_of_a_group(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled attention's work space, one row's, is not among the allocations; the streams do not change."""

    def peak(groups: int) -> int:
        take_heads_in(groups, monkeypatch)
        network, (inputs, document) = model((kind,), n_layers=1), example(4096)
        loss = network.loss(network(inputs, document, step=0), inputs)
        return peaks(lambda: loss.backward())[""]

    all_heads = (4 if kind == "local" else 3) * 4096 * 32 * 4  # what attention reads, and its result
    assert peak(1) - peak(2) > 0.45 * all_heads


@pytest.mark.parametrize("kind", ["local", "lsh", "full"])
def test_decoding_writes_all_heads_at_once_and_differs_by_rounding_to_the_grid(
    kind: LayerKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs = network((kind,)).double(), tokens()
    model.stack.fraction_bits = 28
    take_heads_in(2, monkeypatch)
    with torch.no_grad():
        expected = model(inputs)
    found = CachedStack(model, torch.float64).extend(inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=256 * 2.0**-28)
