"""Small networks whose layers have their say: documents are many windows long, also within a bucket."""

import torch
from torch import Tensor

from revlm.model import RevLM
from revlm.recipe import LayerKind, Model

TOKENS = 120
WINDOW = 4
HEAD_DIM = 16


def network(
    layers: tuple[LayerKind, ...],
    *,
    n_rounds: int = 2,
    pair_rounds: int = 0,
    successor_values: bool = True,
    predecessor_keys: bool = True,
    n_layers: int = 2,
    window: int = WINDOW,
) -> RevLM:
    recipe = Model(
        d_model=2 * HEAD_DIM,
        n_layers=n_layers,
        n_heads=2,
        d_ff=64,
        layers=layers,
        window=window,
        n_rounds=n_rounds,
        n_buckets=(4, 64, 4, 16)[:n_rounds],
        pair_rounds=pair_rounds,
        successor_values=successor_values,
        predecessor_keys=predecessor_keys,
        attention_block=16,
    )
    model = RevLM(recipe, vocab_size=50, seed=1, tile=24)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            # As if trained: at first what a layer writes is next to nothing.
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def tokens(number: int = TOKENS) -> Tensor:
    return torch.randint(0, 50, (number,), generator=torch.Generator().manual_seed(2))
