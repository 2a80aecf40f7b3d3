import pytest
import torch

from revlm.errors import ReversalError, exit_code_of
from revlm.model import Context
from revlm.model.tiles import SublayerPass
from revlm.ops.fixed_point import FixedPoint
from tests.head_groups import take_heads_in
from tests.model.networks import example, model


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("n_layers", "groups"), [(2, 1), (64, 1), (3, 2)])
def test_taking_every_increment_back_gives_the_first_streams_to_the_bit(
    n_layers: int, groups: int, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_heads_in(groups, monkeypatch)
    network = model(n_layers=n_layers, dropout=0.1)
    stack = network.stack
    inputs, document = example()
    context = Context(document, lambda layer: network.get_buffer(f"rotations_{layer}"), dropout_seed=3)
    embedding = network.embedding(inputs).detach()
    fixed = FixedPoint(stack.fraction_bits, embedding.device)
    first = torch.zeros_like(embedding, dtype=torch.int32)
    fixed.add_(first, embedding)
    streams = [first.clone(), first.clone()]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        passes = [
            SublayerPass(layer, number, context, stack.tile, fixed, embedding)
            for number, layer in enumerate(stack.sublayers)
        ]
        for turn, sublayer in enumerate(passes):
            sublayer.add_(streams[1 - turn % 2], streams[turn % 2], keep=False)
    for stream in streams:
        assert torch.count_nonzero(stream - first) > 0.9 * first.numel()
    d_streams = [torch.zeros_like(embedding), torch.zeros_like(embedding)]
    for turn, sublayer in reversed(list(enumerate(passes))):
        source, target = 1 - turn % 2, turn % 2
        sublayer.backward(
            (streams[source], streams[target]), None, d_source=d_streams[source], d_target=d_streams[target]
        )
    for stream in streams:
        assert torch.equal(stream, first)


@pytest.mark.parametrize(("sublayer", "bit"), [(0, 0), (1, 13), (2, 31), (3, 0)])
def test_a_bit_that_flips_between_the_passes_is_noticed(
    sublayer: int, bit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In either stream, while any sublayer is taken back: the gradients of all that follow would be wrong."""
    network = model()
    inputs, document = example()
    subtract, calls = FixedPoint.subtract_, []

    def flip(self: FixedPoint, stream: torch.Tensor, increment: torch.Tensor) -> None:
        subtract(self, stream, increment)
        calls.append(stream)
        if len(calls) == sublayer + 1:
            stream.view(-1)[17] ^= -(2**31) if bit == 31 else 1 << bit

    loss = network.loss(network(inputs, document, step=0), inputs)
    loss.backward()  # nothing flips yet
    monkeypatch.setattr(FixedPoint, "subtract_", flip)
    loss = network.loss(network(inputs, document, step=0), inputs)
    with pytest.raises(ReversalError, match="numbers of a stream differ") as raised:
        loss.backward()
    assert exit_code_of(raised.value) == 7


def test_streams_that_are_alike_but_others_than_at_first_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    network = model(n_layers=1)
    inputs, document = example()
    monkeypatch.setattr(FixedPoint, "checksum", staticmethod(lambda stream: stream.long().sum() + next(counter)))
    counter = iter(range(2))
    loss = network.loss(network(inputs, document, step=0), inputs)
    with pytest.raises(ReversalError, match="both streams differ"):
        loss.backward()


@pytest.mark.parametrize("shape", [(4, 6), (3, 5), (1, 1), (0, 4)])
def test_the_checksum_changes_with_every_bit(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    stream = torch.randint(-(2**31), 2**31, shape, generator=generator).int()
    before = FixedPoint.checksum(stream).item()
    for place in range(stream.numel()):
        for bit in range(32):
            changed = stream.clone()
            changed.view(-1)[place] ^= torch.tensor(1 << bit).int() if bit < 31 else -(2**31)
            assert FixedPoint.checksum(changed).item() != before


@pytest.mark.parametrize("may_overwrite", [False, True])
def test_only_where_it_may_the_gradient_of_the_sum_is_overwritten(may_overwrite: bool) -> None:
    network = model()
    inputs, document = example()
    context = Context(document, lambda layer: network.get_buffer(f"rotations_{layer}"))
    found = []
    for over in (False, may_overwrite):
        embedding = network.embedding(inputs).detach().requires_grad_()
        out, _ = network.stack(embedding, context, may_overwrite=over)
        d_out = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
        given = d_out.clone()
        out.backward(given)
        assert torch.equal(given, d_out) is not over
        found.append(embedding.grad)
    assert torch.equal(*found)
