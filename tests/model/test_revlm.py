import weakref

import pytest
import torch
from torch import Tensor

from revlm.errors import NonFiniteError
from revlm.model import RevLM
from revlm.ops.hashing import draw_rotations
from tests.model.networks import example, model


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("n_layers", [2, 64])
def test_reversible_and_stored_gradients_are_the_same_bits(n_layers: int, half: bool) -> None:
    inputs, document = example()
    gradients = []
    for reversible in (True, False):
        network = model(reversible=reversible, n_layers=n_layers, dropout=0.1)
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = network.loss(network(inputs, document, step=4), inputs.roll(-1))
        loss.backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert torch.count_nonzero(one) > 0
        assert torch.equal(one, other)


def plain_hidden(network: RevLM, inputs: Tensor, document: Tensor) -> Tensor:
    """The same network on plain float streams, all tokens at once, by plain autograd."""
    from revlm.model import Context

    context = Context(document, lambda layer: network._rotations(layer, 4))
    streams = [network.embedding(inputs), network.embedding(inputs)]
    for turn, sublayer in enumerate(network.stack.sublayers):
        source = streams[1 - turn % 2]
        if sublayer.mix is not None:
            source = sublayer.mix(*sublayer.read(source, context, slice(0, len(inputs))), context=context)
        streams[turn % 2] = streams[turn % 2] + sublayer.write(source)
    return network.norm(streams[0] + streams[1])


def test_gradients_agree_with_plain_autograd_over_float_streams() -> None:
    inputs, document = example()
    # A fine grid, so that its rounding stays below the tolerance and no hash flips.
    network = model(n_layers=3, bits=26).double()
    found = network.loss(network(inputs, document, step=4), inputs.roll(-1))
    expected = network.loss(plain_hidden(network, inputs, document), inputs.roll(-1))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    parameters = list(network.parameters())
    for one, other in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("reversible", [True, False])
def test_the_rotations_of_one_layer_exist_at_a_time(reversible: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, document = example()
    network = model(("lsh",), n_layers=3, reversible=reversible)
    drawn: list[weakref.ref[Tensor]] = []

    def draw(*arguments: int) -> Tensor:
        assert not any(rotations() is not None for rotations in drawn)
        rotations = draw_rotations(*arguments)
        drawn.append(weakref.ref(rotations))
        return rotations

    monkeypatch.setattr("revlm.model.revlm.draw_rotations", draw)
    network(inputs, document, step=4).sum().backward()
    assert len(drawn) == (6 if reversible else 3)


def test_a_second_backward_is_refused() -> None:
    inputs, document = example()
    network = model()
    loss = network(inputs, document).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backwards already"):
        loss.backward()


def test_a_non_finite_increment_makes_the_output_nan() -> None:
    inputs, document = example()
    network = model()
    with torch.no_grad():
        network.stack.sublayers[1].write.narrow.weight[0, 0] = torch.inf
    assert network(inputs, document).isnan().any()


def test_a_stream_that_nears_its_range_names_the_key() -> None:
    inputs, document = example()
    network = model(bits=26)
    with torch.no_grad():
        network.embedding.weight[inputs[0]] = 20.0
    network(inputs, document)
    assert network.fixed is not None
    with pytest.raises(NonFiniteError, match="stream_fraction_bits"):
        network.fixed.check_range()
