"""What the compiled steps of a layer give is what PyTorch's own operations give."""

import pytest
import torch
from torch import Tensor

from revlm.model.decoding import CachedStack
from revlm.model.parts.heads import Rotary
from revlm.ops import backends
from revlm.ops.compiled import library
from revlm.recipe import LayerKind
from tests.model.decoded import HEAD_DIM, WINDOW, network, tokens

pytestmark = pytest.mark.skipif(not library.is_available(), reason="there is no C++ compiler")


def steps(kind: LayerKind, pair_rounds: int, dtype: torch.dtype, products: torch.dtype, samples: int) -> list[Tensor]:
    """What a layer returns for each of many tokens after a prompt."""
    model = network((kind,), n_rounds=3, pair_rounds=pair_rounds, n_layers=1).to(dtype)
    stack = CachedStack(model, products)
    stack.extend(tokens(10))
    stack.fork(samples)
    cache = stack.caches[0]
    generator = torch.Generator().manual_seed(0)
    found = []
    with torch.no_grad(), torch.autocast("cpu", products, enabled=products != dtype):
        for _ in range(8 * WINDOW):
            x = torch.randn(samples, model.recipe.d_model, generator=generator, dtype=torch.float64).to(dtype)
            position = torch.tensor([stack.length + len(found)])
            found.append(cache.step(x, Rotary.of(position, HEAD_DIM, torch.promote_types(dtype, torch.float32))))
    return found


# dtype of the model, of the products, largest difference
ROUNDINGS = [
    (torch.float64, torch.float64, 1e-12),
    (torch.float32, torch.float32, 1e-5),
    (torch.float32, torch.bfloat16, 0.05),
]


@pytest.mark.parametrize(("dtype", "products", "difference"), ROUNDINGS)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("kind", "pair_rounds"), [("local", 0), ("lsh", 0), ("lsh", 2)])
def test_both_ways_agree(
    kind: LayerKind,
    pair_rounds: int,
    samples: int,
    dtype: torch.dtype,
    products: torch.dtype,
    difference: float,
) -> None:
    found = steps(kind, pair_rounds, dtype, products, samples)
    with backends.using("pytorch"):
        expected = steps(kind, pair_rounds, dtype, products, samples)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=0, atol=difference)
