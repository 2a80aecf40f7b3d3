"""The numbers of buckets that `n_buckets: auto` stands for."""

import pytest

from revlm.model import automatic_buckets


@pytest.mark.parametrize(
    ("seq_len", "rounds", "expected"),
    [
        (8192, 1, (128,)),
        (8192, 4, (16, 64, 256, 1024)),
        (65536, 4, (16, 128, 1024, 8192)),
        (65536, 2, (16, 8192)),
        (2**20, 3, (16, 1024, 65536)),
        (64, 3, (16, 16, 16)),
        (1, 1, (4,)),
        (2**24, 1, (65536,)),
    ],
)
def test_rounds_reach_from_recent_tokens_to_an_eighth_of_an_example(
    seq_len: int, rounds: int, expected: tuple[int, ...]
) -> None:
    assert automatic_buckets(seq_len, 64, rounds) == expected


@pytest.mark.parametrize("seq_len", [100, 5000, 65537, 300_000])
@pytest.mark.parametrize("rounds", [2, 3, 5, 8])
def test_each_round_has_at_least_as_many_buckets_as_the_one_before(seq_len: int, rounds: int) -> None:
    numbers = automatic_buckets(seq_len, 64, rounds)
    assert len(numbers) == rounds
    assert list(numbers) == sorted(numbers)
    assert all(number & (number - 1) == 0 for number in numbers)
