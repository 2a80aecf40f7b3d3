"""A token's hidden state is a function of its document up to itself: alone, padded, packed, or in a longer sequence."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from revlm.model import RevLM
from revlm.model.kinds import KINDS
from tests.model.networks import example, model

TOKENS = 181
# Lengths around the window (8), the tiles (48) and the start of the second document (50).
PREFIXES = (1, 2, 8, 9, 10, 47, 48, 49, 50, 51, 52, 96, 97, 150, 180)
# In float64 a sum taken in another order can round to the neighbouring step of the streams' grid; later layers and the
# norm, which divides by streams well below 1, may make that some steps more.
STEPS = 16 * 2.0**-20

PATTERNS = pytest.mark.parametrize(
    "pattern",
    [
        ("local",),
        ("lsh",),
        ("full",),
        ("local", "lsh"),
        ("full", "own values"),
        ("lsh", "own keys"),
        ("lsh", "pairs"),
        ("full", "own keys"),
    ],
    ids="-".join,
)


def network_of(pattern: tuple[str, ...]) -> RevLM:
    """A network whose documents are many windows long, also within a bucket: more members than the window holds."""
    kinds = tuple(kind for kind in pattern if kind in KINDS)
    return model(
        kinds,
        n_layers=4,
        n_rounds=3,
        n_buckets=(4, 64, 16),
        pair_rounds=2 if "pairs" in pattern else 0,
        successor_values="own values" not in pattern,
        predecessor_keys="own keys" not in pattern,
    ).eval()


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=STEPS)


@PATTERNS
def test_a_prefix_alone_gives_the_numbers_of_the_whole(pattern: tuple[str, ...]) -> None:
    network = network_of(pattern).double()
    inputs, document = example(TOKENS)
    with torch.no_grad():
        whole = network(inputs, document)
        for length in PREFIXES:
            hidden = network(inputs[:length], document[:length])
            assert_close(hidden, whole[:length])
            assert_close(network.logits(hidden), network.logits(whole[:length]))


@PATTERNS
def test_other_tokens_behind_change_nothing_and_get_no_gradient(pattern: tuple[str, ...]) -> None:
    network = network_of(pattern).double()
    inputs, document = example(TOKENS)
    other = inputs.clone()
    other[97:] = 3
    embedded: list[Tensor] = []
    network.embedding.register_forward_hook(lambda module, arguments, out: embedded.append(out))
    whole = network(inputs, document)
    assert_close(network(other, document)[:97], whole[:97])
    assert not torch.allclose(network(other, document)[97:], whole[97:], rtol=0, atol=0.1)
    (gradient,) = torch.autograd.grad(whole[50:97].cos().sum(), embedded[:1])
    assert torch.count_nonzero(gradient[:50]) == 0
    assert torch.count_nonzero(gradient[50:97]) > 0.9 * gradient[50:97].numel()
    assert torch.count_nonzero(gradient[97:]) == 0


@PATTERNS
def test_packed_documents_are_as_if_each_were_alone(pattern: tuple[str, ...]) -> None:
    network = network_of(pattern).double()
    inputs, _ = example(TOKENS)
    lengths = torch.tensor([50, 1, 87, 43])
    packed = network(inputs, torch.arange(4).repeat_interleave(lengths))
    alone = torch.cat([network(part) for part in inputs.split(lengths.tolist())])
    assert_close(packed, alone)
    parameters = list(network.parameters())
    for one, other in zip(
        *(torch.autograd.grad(hidden.cos().sum(), parameters, materialize_grads=True) for hidden in (packed, alone)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * float(other.abs().max()))


class Buckets:
    """Notes the buckets of each hash layer of a network; puts given ones in their place."""

    def __init__(self, network: RevLM) -> None:
        self.given: dict[int, Tensor] = {}
        self._noted: dict[int, Tensor] = {}
        for layer in network.hash_layers:
            mix = network.stack.sublayers[2 * layer].mix
            mix.buckets = partial(self._buckets, layer, mix.buckets)

    def _buckets(self, layer: int, own: Callable[..., Tensor], k: Tensor, *rest: Any) -> Tensor:
        self._noted[layer] = bucket = own(k, *rest)
        return self.given[layer][..., : k.shape[1]] if self.given else bucket

    def taken(self) -> dict[int, Tensor]:
        noted, self._noted = self._noted, {}
        return noted


# half, moved, error with the same buckets, share of other hashes, change of the loss in nats a token
ROUNDINGS = [
    (False, False, 1e-5, 0.002, 1e-5),
    (False, True, 1e-3, 0.005, 1e-4),
    (True, True, 2.0**-5, 0.05, 1e-2),
]


@pytest.mark.parametrize(("half", "moved", "error", "share", "change"), ROUNDINGS)
def test_rounding_may_move_some_hashes_and_nothing_more(
    half: bool, moved: bool, error: float, share: float, change: float
) -> None:
    """A prefix against the whole, and, as other kernels might round, with an embedding one step of the grid away."""
    network = network_of(("local", "lsh"))
    inputs, document = example(TOKENS)
    buckets = Buckets(network)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        whole = network(inputs, document)
        of_whole = buckets.taken()
        if moved:
            direction = torch.randn(network.embedding.weight.shape, generator=torch.Generator().manual_seed(0)).sign()
            network.embedding.weight += direction * 2.0**-20
        for length in PREFIXES:
            buckets.given = {}
            own = network(inputs[:length], document[:length])
            of_prefix = buckets.taken()
            other = sum(int((of_prefix[layer] != of_whole[layer][..., :length]).sum()) for layer in of_whole)
            assert other <= share * sum(bucket.numel() for bucket in of_prefix.values())
            losses = [cross_entropy(network.logits(x), inputs[1 : length + 1]) for x in (own, whole[:length])]
            assert abs(losses[0] - losses[1]) <= change
            buckets.given = of_whole
            same = network(inputs[:length], document[:length])
            buckets.taken()
            assert (same - whole[:length]).norm() <= error * whole[:length].norm()
