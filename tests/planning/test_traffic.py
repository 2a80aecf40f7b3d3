"""What the plan says that a rank sends is what ranks exchange."""

import pytest
import torch

from revlm.launch import Launch
from revlm.model import RevLM
from revlm.model.sequence import ParallelSequenceGroup, SequenceGroup
from revlm.planning.sizes import sizes_of
from revlm.planning.traffic import sent_bytes
from revlm.recipe import Recipe
from tests.head_groups import take_heads_in
from tests.model.rank_threads import RankThreads

RANKS, TOKENS = 4, 1024


def recipe(ranks: int = RANKS, **model: object) -> Recipe:
    shape = {"d_model": 32, "n_layers": 3, "n_heads": 4, "d_ff": 32, "window": 16, "n_rounds": 2, "n_buckets": 16}
    return Recipe.model_validate(
        {
            "output_dir": "run",
            "model": shape | model,
            "data": {"path": "tokens", "seq_len": TOKENS},
            "train": {"sequence_parallel": ranks, "precision": "fp32"},
        }
    )


def ring(recipe: Recipe, ranks: int) -> int:
    return 2 * (ranks - 1) * 4 * sizes_of(recipe, 50, "cpu").parameters // ranks


@pytest.mark.parametrize(("reversible", "groups"), [(True, 1), (False, 1), (True, 2)])
@pytest.mark.parametrize("layers", [("local",), ("lsh",), ("full", "lsh", "local")])
def test_it_is_what_a_rank_sends(
    layers: tuple[str, ...], reversible: bool, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_heads_in(groups, monkeypatch)
    planned = recipe(layers=layers, reversible=reversible, n_heads=4 * groups)

    def sent(group: SequenceGroup) -> int:
        counted = [0]
        assert isinstance(group, ParallelSequenceGroup)
        exchange = group._all_to_all

        def counting(out: torch.Tensor, given: torch.Tensor, taken_rows: list[int], given_rows: list[int]) -> None:
            rows = sum(number for rank, number in enumerate(given_rows) if rank != group.rank)
            counted[0] += rows * given[0].nbytes if len(given) else 0
            exchange(out, given, taken_rows, given_rows)

        group._all_to_all = counting
        model = RevLM(planned.model, vocab_size=50, seed=1, tile=64).train()
        inputs = torch.arange(TOKENS) % 50
        model.loss(model(inputs, sequence=group), inputs[group.own(TOKENS)]).backward()
        return counted[0]

    of_passes = sent_bytes(sizes_of(planned, 50, "cpu")) - ring(planned, RANKS)
    # Besides, some rows of streams for successor values. Ranks in the middle send in both directions.
    assert max(RankThreads(RANKS).run(sent)) == pytest.approx(of_passes, rel=0.02)


def test_gradients_travel_around_a_ring_and_examples_as_often_as_there_are_some() -> None:
    alone = recipe(1)
    assert sent_bytes(sizes_of(alone, 50, "cpu")) == 0
    assert sent_bytes(sizes_of(alone, 50, "cpu", Launch(world_size=4))) == ring(alone, 4)
    shared = recipe(2)
    twice = shared.model_copy(update={"train": shared.train.model_copy(update={"gradient_accumulation_steps": 2})})
    once, two = (sent_bytes(sizes_of(each, 50, "cpu")) - ring(shared, 2) for each in (shared, twice))
    assert two == 2 * once
