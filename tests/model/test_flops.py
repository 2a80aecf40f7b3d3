"""The FLOPs of training are those that PyTorch counts in the plain definition, and pairs of attention are counted."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from revlm.model import training_flops
from revlm.model.kinds import KINDS
from revlm.model.parts.flops import flops_of_pairs, pairs_in_window
from revlm.model.shape import buckets_of_rounds
from revlm.ops.attention import reference
from revlm.ops.attention.reference import window_mask
from revlm.ops.backends import using
from revlm.ops.hashing import directions_of
from revlm.recipe import LayerKind
from tests.model.networks import example, model
from tests.model.test_revlm import plain_hidden


def exact(q: Tensor, k: Tensor, v: Tensor, *, scale: Tensor, sink: Tensor | None) -> Tensor:
    """Exact attention as two plain products."""
    return (scale[:, None, None] * (q @ k.mT)).softmax(-1) @ v


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("successor_values", [True, False])
def test_they_are_those_that_pytorch_counts(
    kind: LayerKind, successor_values: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for attention, whose plain definition computes all pairs and hides some of them."""
    for place in ("local", "lsh"):
        plain = reference.attention_with_log_sum_exp
        monkeypatch.setattr(f"revlm.model.kinds.{place}.attention_with_log_sum_exp", plain)
    monkeypatch.setattr("revlm.model.kinds.full.exact_attention", exact)
    network = model((kind,), n_layers=2, successor_values=successor_values)
    inputs, _ = example(tokens := 40)
    with using("pytorch"), FlopCounterMode(display=False) as counter:
        hidden = plain_hidden(network, inputs, torch.zeros_like(inputs))
        cross_entropy(network.logits(hidden), inputs.roll(-1)).backward()
    pairs = 2 * KINDS[kind].flops(network.recipe, tokens)
    hashes = 2 * 2 * 32 * directions_of(buckets_of_rounds(network.recipe)) * tokens if kind == "lsh" else 0
    of_all_pairs = 2 * flops_of_pairs(32, tokens * tokens)
    assert counter.get_total_flops() == training_flops(network, [tokens]) - pairs + of_all_pairs + hashes


@pytest.mark.parametrize("window", [1, 5, 40, 100])
def test_pairs_in_a_window_are_those_of_its_mask(window: int) -> None:
    one_bucket = torch.zeros(1, 1, 40, dtype=torch.int32)
    assert pairs_in_window(40, window) == int(window_mask(one_bucket, window, True).sum())
    assert pairs_in_window(39, window) == int(window_mask(one_bucket, window, False).sum())
    assert pairs_in_window(0, window) == 0


def test_documents_do_not_see_each_other_and_a_hash_layer_has_at_most_its_windows() -> None:
    network = model(("full", "lsh"))
    one, parts = training_flops(network, [100]), training_flops(network, [60, 40])
    far = flops_of_pairs(32, 60 * 40)
    # The first queries of a document have fewer keys: here 16 of two rounds of 8 at most.
    near = flops_of_pairs(32, pairs_in_window(99, 16) - pairs_in_window(59, 16) - pairs_in_window(39, 16))
    assert one - parts == far + near
    assert training_flops(network, []) == 0
