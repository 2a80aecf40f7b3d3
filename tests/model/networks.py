"""Small networks and examples, shared by the tests of the model."""

import torch
from torch import Tensor

from revlm.model import RevLM, resolve_model
from revlm.recipe import LayerKind, Model

PATTERN: tuple[LayerKind, ...] = ("local", "lsh", "full")


def model(
    layers: tuple[LayerKind, ...] = PATTERN,
    *,
    reversible: bool = True,
    n_layers: int = 2,
    n_rounds: int = 2,
    n_buckets: int | tuple[int, ...] | str = "auto",
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
