"""Each filter is what its definition says, alone and together, and a sample's draws are its own."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from revlm.errors import UsageError
from revlm.generation.sampling import (
    SampleRng,
    Sampling,
    at_temperature,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    log_probabilities,
    next_tokens,
    penalise_repetition,
)

# Quarters are exact, so that equally likely tokens are common.
ROW = st.lists(st.integers(-20, 20).map(lambda quarters: quarters / 4), min_size=1, max_size=12)
SHARE = st.floats(0.01, 0.99)


def rows(values: list[float]) -> Tensor:
    """The row between two others, which must not matter to it."""
    others = torch.linspace(-3, 3, len(values), dtype=torch.float64)
    return torch.stack([others, torch.tensor(values, dtype=torch.float64), others.flip(0)])


def kept(logits: Tensor) -> set[int]:
    return {token for token, logit in enumerate(logits[1].tolist()) if logit > -math.inf}


def probabilities(values: list[float]) -> list[float]:
    largest = max(values)
    weights = [math.exp(value - largest) for value in values]
    return [weight / math.fsum(weights) for weight in weights]


def by_likelihood(values: list[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda token: (-values[token], token))


@given(ROW, st.integers(1, 15))
def test_top_k_keeps_the_k_likeliest(values: list[float], k: int) -> None:
    logits = keep_top_k(rows(values), k)
    assert kept(logits) == set(by_likelihood(values)[:k])
    assert all(logits[1, token] == values[token] for token in kept(logits))


@given(ROW, SHARE)
def test_top_p_keeps_the_fewest_likeliest_that_reach_p(values: list[float], p: float) -> None:
    logits = keep_top_p(rows(values), p)
    order, share = by_likelihood(values), probabilities(values)
    nucleus = order[: len(kept(logits))]
    assert kept(logits) == set(nucleus)
    assert math.fsum(share[token] for token in nucleus) >= p - 1e-12
    assert math.fsum(share[token] for token in nucleus[:-1]) < p + 1e-12
    assert all(logits[1, token] == values[token] for token in nucleus)


@given(ROW, SHARE)
def test_min_p_keeps_what_is_that_share_as_likely_as_the_likeliest(values: list[float], p: float) -> None:
    share = probabilities(values)
    inside = {token for token, each in enumerate(share) if each >= p * max(share) * (1 + 1e-12)}
    on_or_inside = {token for token, each in enumerate(share) if each >= p * max(share) * (1 - 1e-12)}
    assert inside <= kept(keep_min_p(rows(values), p)) <= on_or_inside


def test_min_p_of_one_keeps_the_likeliest_and_its_equals() -> None:
    assert kept(keep_min_p(rows([1.0, 2.0, 2.0, 0.0]), 1.0)) == {1, 2}


@given(ROW, st.floats(0.1, 10), st.data())
def test_a_temperature_divides_the_differences(values: list[float], temperature: float, data: st.DataObject) -> None:
    logits = at_temperature(rows(values), temperature)[1]
    token = data.draw(st.integers(0, len(values) - 1))
    assert logits[token] == pytest.approx((values[token] - max(values)) / temperature)


@pytest.mark.parametrize("temperature", [1e-308, 5e-324])
def test_the_coldest_temperature_is_the_likeliest_token(temperature: float) -> None:
    logits = at_temperature(rows([700.0, 701.0, -5.0]), temperature)
    assert logits.softmax(-1)[1].tolist() == [0, 1, 0]


@given(ROW, st.floats(0.2, 5), st.data())
def test_the_penalty_moves_seen_tokens_the_same_way_whatever_their_sign(
    values: list[float], penalty: float, data: st.DataObject
) -> None:
    seen = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    penalised = penalise_repetition(rows(values), torch.tensor([seen] * 3), penalty)[1].tolist()
    for before, after, is_seen in zip(values, penalised, seen, strict=True):
        expected = before if not is_seen else before / penalty if before > 0 else before * penalty
        assert after == pytest.approx(expected)
        if is_seen and before:
            assert (after < before) == (penalty > 1) or penalty == 1


@given(ROW)
def test_a_token_is_drawn_as_often_as_it_is_likely(values: list[float]) -> None:
    numbers = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    logits = torch.tensor([values] * 2000, dtype=torch.float64)
    counts = torch.bincount(draw(logits, numbers), minlength=len(values)) / 2000
    assert counts.tolist() == pytest.approx(probabilities(values), abs=1e-3)


def test_what_a_filter_left_out_is_never_drawn() -> None:
    nothing = -torch.inf
    logits = torch.tensor([[nothing, 0.0, nothing, 1.0, nothing]] * 3, dtype=torch.float64)
    extremes = torch.tensor([0.0, 1 - 2.0**-53, 0.5], dtype=torch.float64)
    assert set(draw(logits, extremes).tolist()) == {1, 3}


SAMPLING = st.builds(
    Sampling,
    temperature=st.just(0.0) | st.floats(0.1, 3),
    top_k=st.integers(0, 6),
    top_p=st.just(1.0) | SHARE,
    min_p=st.just(0.0) | SHARE,
    repetition_penalty=st.just(1.0) | st.floats(0.5, 2),
)


def step_by_step(values: list[float], seen: list[bool], sampling: Sampling, number: float) -> int:
    """One token by the definitions, in plain Python; the order is that of the module."""
    penalty = sampling.repetition_penalty
    logits = [
        (value / penalty if value > 0 else value * penalty) if is_seen else value
        for value, is_seen in zip(values, seen, strict=True)
    ]
    order = by_likelihood(logits)
    if sampling.temperature == 0:
        return order[0]
    logits = [logit / sampling.temperature for logit in logits]
    order = order[: sampling.top_k or None]
    share = dict(zip(order, probabilities([logits[token] for token in order]), strict=True))
    reached, nucleus = 0.0, []
    for token in order:
        if reached < sampling.top_p:
            nucleus.append(token)
        reached += share[token]
    remaining = sorted(token for token in nucleus if share[token] >= sampling.min_p * share[order[0]])
    left = number * math.fsum(share[token] for token in remaining)
    for token in remaining:
        left -= share[token]
        if left < 0:
            return token
    return remaining[-1]


@given(ROW, SAMPLING, st.data())
def test_the_filters_together_are_the_definitions_in_their_order(
    values: list[float], sampling: Sampling, data: st.DataObject
) -> None:
    seen = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    number = data.draw(st.integers(0, 999)) / 1000 + 0.00037  # away from the borders of shares
    tokens = next_tokens(
        rows(values), torch.tensor([seen] * 3), sampling, torch.tensor([0.1, number, 0.9], dtype=torch.float64)
    )
    assert tokens[1] == step_by_step(values, seen, sampling, number)


@given(st.lists(ROW, min_size=2, max_size=4).map(lambda each: [row[:1] * 12 + row for row in each]), SAMPLING)
def test_a_row_of_a_batch_is_that_row_alone(batch: list[list[float]], sampling: Sampling) -> None:
    width = min(map(len, batch))
    logits = torch.tensor([row[-width:] for row in batch], dtype=torch.float64)
    seen = torch.arange(width).expand(len(batch), -1) % 3 == 0
    numbers = torch.tensor([SampleRng(5, sample).uniform() for sample in range(len(batch))], dtype=torch.float64)
    together = next_tokens(logits, seen, sampling, numbers).tolist()
    assert together == [
        int(next_tokens(logits[i : i + 1], seen[i : i + 1], sampling, numbers[i : i + 1])) for i in range(len(batch))
    ]


def test_every_sample_has_numbers_of_its_own_that_its_seed_gives_again() -> None:
    def numbers(seed: int, sample: int) -> list[float]:
        chance = SampleRng(seed, sample)
        return [chance.uniform() for _ in range(1000)]

    streams = [numbers(seed, sample) for seed in (0, 1, 2**64 - 1) for sample in range(3)]
    assert len({tuple(stream) for stream in streams}) == 9
    assert numbers(1, 2) == streams[5]
    for stream in streams:
        assert all(0 <= number < 1 for number in stream)
        assert math.fsum(stream) / 1000 == pytest.approx(0.5, abs=0.05)
    assert abs(torch.corrcoef(torch.tensor(streams)).tril(-1)).max() < 0.15


def test_log_probabilities_are_the_models_own() -> None:
    values = [0.5, -1.0, 2.0]
    found = log_probabilities(rows(values), torch.tensor([0, 2, 1]))
    assert math.exp(found[1]) == pytest.approx(probabilities(values)[2])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("temperature", -0.1, "temperature is -0.1: give 0"),
        ("temperature", math.nan, "temperature is nan"),
        ("temperature", math.inf, "temperature is inf"),
        ("top_k", -1, "top-k is -1: give 0"),
        ("top_p", 0.0, "top-p is 0.0: give a probability above 0"),
        ("top_p", 1.5, "top-p is 1.5"),
        ("top_p", math.nan, "top-p is nan"),
        ("min_p", -0.1, "min-p is -0.1: give a share from 0"),
        ("min_p", 1.1, "min-p is 1.1"),
        ("repetition_penalty", 0.0, "repetition-penalty is 0.0: give 1"),
        ("repetition_penalty", math.inf, "repetition-penalty is inf"),
    ],
)
def test_what_is_out_of_range_is_refused(name: str, value: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Sampling(**{name: value})
