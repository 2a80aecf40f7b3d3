"""How often a step reads numbers from the device, each of which waits for all its work; counted on the CPU."""

from collections import Counter

import pytest
import torch

from bench.host_reads import HostReads
from revlm.model import RevLM
from revlm.recipe import Model


def reads_of_a_step(n_layers: int, documents: int = 2) -> Counter[str]:
    """The reads of a step with statistics, as `revlm.training.step` makes it, except those of the optimizer."""
    shape = {"d_model": 16, "n_heads": 2, "d_ff": 32, "window": 8, "n_rounds": 2, "n_buckets": 8, "pair_rounds": 1}
    recipe = Model.model_validate(shape | {"n_layers": n_layers, "layers": ("local", "lsh")})
    network = RevLM(recipe, vocab_size=20, seed=0, tile=64)
    inputs = torch.arange(128) % 20
    document_ids = torch.arange(documents).repeat_interleave(128 // documents)
    with HostReads() as reads:
        loss = network.loss(network(inputs, document_ids, step=1, with_statistics=True), inputs)
        assert network.fixed is not None
        network.fixed.check_range()
        assert len(network.statistics) == n_layers // 2
        float(loss.detach())
        loss.backward()
    return reads.by_operation


@pytest.mark.parametrize("documents", [1, 2, 8])
def test_a_step_reads_as_often_at_any_depth_and_of_any_documents(documents: int) -> None:
    """The documents' bounds and largest number; the targets' range, the streams', the loss, the statistics at once; and
    whether the streams were restored."""
    expected = {"nonzero": 1, "tolist": 4, "_local_scalar_dense": 3, "equal": 1}
    assert reads_of_a_step(2, documents) == reads_of_a_step(6, documents) == expected
    assert sum(expected.values()) < 10


def test_reads_are_counted() -> None:
    with HostReads() as reads:
        x = torch.arange(3)
        int(x.sum()), x.tolist(), torch.equal(x, x), x.nonzero()
    assert reads.by_operation == {"_local_scalar_dense": 1, "tolist": 1, "equal": 1, "nonzero": 1}
    x.tolist()
    assert reads.count == 4
