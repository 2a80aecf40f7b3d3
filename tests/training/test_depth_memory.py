"""Peak memory of a training step beyond weights, gradients and optimizer: flat in depth.

What may grow are a layer's Python objects, rotations and random states, under 100 KiB each layer whatever the tokens,
and what the allocator loses between small tensors. At these sizes that is about 2% of the peak; one more stream for
each layer would be 140%.
"""

import pytest
import torch

from revlm.model import RevLM, resolve_model
from revlm.recipe import Data, Model, Recipe
from revlm.training.optimization import make_optimizer
from revlm.training.ranks import Ranks
from tests.apart import peak_bytes, run_apart

TOKENS, FEW = 65536, 256
VOCABULARY = 64

pytestmark = pytest.mark.slow


def train(n_layers: int, reversible: bool, tokens: int) -> int:
    """Does one step on few tokens, which makes the moments, and one on all; returns the weights' bytes."""
    shape = Model(
        d_model=64, n_layers=n_layers, n_heads=2, d_ff=128, window=16, n_rounds=2, dropout=0.1, reversible=reversible
    )
    recipe = Recipe(output_dir="unused", model=resolve_model(shape, TOKENS), data=Data(path="unused"))
    model = RevLM(recipe.model, vocab_size=VOCABULARY, seed=1)
    optimizer = make_optimizer(model, recipe, Ranks())
    for step, length in enumerate((FEW, tokens)):
        inputs = torch.arange(length) ** 2 % VOCABULARY
        loss = model.loss(model(inputs, step=step), inputs.roll(-1)) / length
        loss.backward()
        del loss
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return sum(parameter.nbytes for parameter in model.parameters())


def peak_beyond_state(n_layers: int, reversible: bool) -> int:
    """Returns the peak less weights, gradients and two moments, in bytes."""
    train(2, reversible, FEW)  # loads what a first step loads
    weights: list[int] = []
    peak = peak_bytes(lambda: weights.append(train(n_layers, reversible, TOKENS)))
    return peak - 4 * weights[0]


def test_the_peak_is_flat_in_depth() -> None:
    shallow, deep = (run_apart(peak_beyond_state, n_layers, True) for n_layers in (4, 32))
    print(f"beyond weights, gradients and optimizer: {shallow:,} bytes with 4 layers, {deep:,} with 32")
    assert abs(deep - shallow) < 0.05 * shallow


def test_the_peak_of_the_stored_mode_grows_with_depth() -> None:
    shallow, deep = (run_apart(peak_beyond_state, n_layers, False) for n_layers in (2, 4))
    print(f"beyond weights, gradients and optimizer: {shallow:,} bytes with 2 layers, {deep:,} with 4")
    assert deep > 1.8 * shallow
