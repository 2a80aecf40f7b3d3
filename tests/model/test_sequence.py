"""Ranks that share one example compute what one process does."""

from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from revlm.model import RevLM
from revlm.model.parts.context import LayerStatistics
from revlm.model.parts.dropout import BLOCK, Draw
from revlm.model.sequence import SINGLE, SequenceGroup
from revlm.recipe import Model
from tests.head_groups import take_heads_in
from tests.model.rank_threads import RankThreads

TILE = 64


class Pass(NamedTuple):
    """What a forward and a backward pass give on one rank."""

    hidden: Tensor
    loss: Tensor
    gradients: dict[str, Tensor]
    statistics: dict[int, LayerStatistics]


def pass_of(
    lengths: list[int],
    sequence: SequenceGroup = SINGLE,
    dtype: torch.dtype = torch.float32,
    half: bool = False,
    **model: object,
) -> Pass:
    """One example of documents of these lengths through a new network."""
    shape = {"d_model": 16, "n_heads": 4, "d_ff": 32, "n_layers": 3, "layers": ("local", "lsh", "full"), "window": 24}
    recipe = Model.model_validate(shape | {"n_rounds": 2, "n_buckets": 8, "attention_block": 16} | model)
    network = RevLM(recipe, vocab_size=50, seed=1, tile=TILE).to(dtype).train()
    inputs = torch.randint(0, 50, (sum(lengths),), generator=torch.Generator().manual_seed(2))
    document_ids = torch.arange(len(lengths), dtype=torch.int32).repeat_interleave(torch.tensor(lengths))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        hidden = network(inputs, document_ids, step=3, with_statistics=True, sequence=sequence)
        loss = network.loss(hidden, inputs.roll(-1)[sequence.own(len(inputs))])
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return Pass(hidden.detach(), loss.detach(), gradients, network.statistics)


def assert_alike(shared: list[Pass], alone: Pass, tolerance: float, *, same_bits: bool = True) -> None:
    hidden, loss = torch.cat([each.hidden for each in shared]), sum(each.loss for each in shared)
    if same_bits:
        assert torch.equal(hidden, alone.hidden)
    torch.testing.assert_close(hidden, alone.hidden, rtol=0, atol=tolerance * float(alone.hidden.abs().max()))
    torch.testing.assert_close(loss, alone.loss, rtol=tolerance, atol=0)
    for name, expected in alone.gradients.items():
        found = sum(each.gradients[name] for each in shared)
        assert (found - expected).abs().max() <= tolerance * expected.abs().max(), name
    for layer, expected in alone.statistics.items():
        for field, value in vars(expected).items():
            of_ranks = [getattr(each.statistics[layer], field) for each in shared]
            assert sum(of_ranks) / len(of_ranks) == pytest.approx(value, abs=1e-6), field


@pytest.mark.parametrize(
    ("ranks", "half", "reversible", "groups"),
    [(2, False, True, 1), (4, False, True, 1), (4, True, True, 1), (2, False, False, 1), (2, False, True, 2)],
)
def test_forward_is_that_of_one_process_to_the_bit_where_shares_are_whole_tiles(
    ranks: int, half: bool, reversible: bool, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_heads_in(groups, monkeypatch)
    lengths = [100, 150, 6]
    options = {"half": half, "reversible": reversible, "dropout": 0.1}
    shared = RankThreads(ranks).run(lambda sequence: pass_of(lengths, sequence, **options))
    assert_alike(shared, pass_of(lengths, **options), 2e-2 if half else 1e-5)


ANY = given(
    lengths=st.lists(st.integers(1, 150), min_size=1, max_size=4).filter(lambda lengths: sum(lengths) >= 4),
    layers=st.lists(st.sampled_from(["local", "lsh", "full"]), min_size=1, max_size=3).map(tuple),
    ranks=st.sampled_from([2, 4]),
    window=st.sampled_from([1, 5, 40, 200]),
    block=st.sampled_from([7, 16]),
    successor_values=st.booleans(),
    predecessor_keys=st.booleans(),
    pair_rounds=st.sampled_from([0, 1]),
    dropout=st.sampled_from([0.0, 0.3]),
)


def assert_any(lengths: list[int], ranks: int, window: int, block: int, **model: object) -> None:
    options = model | {"dtype": torch.float64, "window": window, "attention_block": block}
    shared = RankThreads(ranks).run(lambda sequence: pass_of(lengths, sequence, **options))
    assert_alike(shared, pass_of(lengths, **options), 1e-9, same_bits=False)


@settings(max_examples=5, deadline=None)
@ANY
def test_any_documents_in_any_shares_give_what_one_process_gives(**drawn: object) -> None:
    assert_any(**drawn)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@ANY
def test_many_documents_in_any_shares_give_what_one_process_gives(**drawn: object) -> None:
    assert_any(**drawn)


def test_a_rank_holds_its_share_of_the_tokens() -> None:
    def shares(tokens: int) -> list[slice]:
        return RankThreads(3).run(lambda sequence: sequence.own(tokens))

    assert shares(9) == [slice(0, 3), slice(3, 6), slice(6, 9)]
    assert shares(11) == [slice(0, 4), slice(4, 8), slice(8, 11)]
    assert shares(3) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert SINGLE.own(5) == slice(0, 5)


@pytest.mark.parametrize("cuts", [[0, 100, 3000], [0, 1, BLOCK, BLOCK + 1, 3000], [0, 2 * BLOCK, 3000]])
def test_what_is_dropped_depends_on_positions_alone(cuts: list[int]) -> None:
    x = torch.ones(3000, 4)
    whole = Draw(5, 1, 0).kept(0.3, x)
    parts = [Draw(5, 1, start).kept(0.3, x[start:stop]) for start, stop in pairwise(cuts)]
    assert torch.equal(torch.cat(parts), whole)
    assert whole.float().mean() == pytest.approx(0.7, abs=0.02)
    for other in (Draw(6, 1, 0), Draw(5, 2, 0)):
        assert 0.4 < (other.kept(0.3, x) == whole).float().mean() < 0.75
