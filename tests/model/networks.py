"""Small networks and examples, shared by the tests of the model."""

import torch
from torch import Tensor

from revlm.model import Context, RevLM, resolve_model
from revlm.recipe import LayerKind, Model

PATTERN: tuple[LayerKind, ...] = ("local", "lsh", "full")


def model(
    layers: tuple[LayerKind, ...] = PATTERN,
    *,
    reversible: bool = True,
    n_layers: int = 2,
    n_rounds: int = 2,
    n_buckets: int | tuple[int, ...] | str = "auto",
    pair_rounds: int = 0,
    successor_values: bool = True,
    predecessor_keys: bool = True,
    dropout: float = 0.0,
    bits: int = 20,
) -> RevLM:
    recipe = Model(
        d_model=32,
        n_layers=n_layers,
        n_heads=2,
        d_ff=64,
        layers=layers,
        window=8,
        n_rounds=n_rounds,
        n_buckets=n_buckets,
        pair_rounds=pair_rounds,
        successor_values=successor_values,
        predecessor_keys=predecessor_keys,
        reversible=reversible,
        dropout=dropout,
        attention_block=16,
        stream_fraction_bits=bits,
    )
    return RevLM(resolve_model(recipe, 256), vocab_size=50, seed=1, tile=48)


def example(tokens: int = 131) -> tuple[Tensor, Tensor]:
    inputs = torch.randint(0, 50, (tokens,), generator=torch.Generator().manual_seed(2))
    return inputs, (torch.arange(tokens) >= 50).int()


def plain_hidden(network: RevLM, inputs: Tensor, document: Tensor) -> Tensor:
    """The same network on plain float streams, all tokens at once, by plain autograd."""
    context = Context(document, lambda layer: network._drawn(layer, 4))
    streams = [network.embedding(inputs), network.embedding(inputs)]
    for turn, sublayer in enumerate(network.stack.sublayers):
        source = streams[1 - turn % 2]
        if sublayer.mix is not None:
            source = sublayer.mix(*sublayer.read(source, context, slice(0, len(inputs))), context=context)
        streams[turn % 2] = streams[turn % 2] + sublayer.write(source)
    return network.norm(streams[0] + streams[1])
