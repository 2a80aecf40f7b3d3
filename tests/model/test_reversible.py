import pytest
import torch

from revlm.model import Context
from revlm.model.tiles import SublayerPass
from revlm.ops.fixed_point import FixedPoint
from tests.model.networks import example, model


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("n_layers", [2, 64])
def test_taking_every_increment_back_gives_the_first_streams_to_the_bit(n_layers: int, half: bool) -> None:
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
