"""What ranks tell each other, and that all end where one fails."""

import os
from typing import Any

import pytest

from revlm.errors import DataError, RankError, RemoteRankError, UsageError
from revlm.launch import launch_of
from revlm.training.nonfinite import NonFinite
from revlm.training.ranks import Ranks, join_ranks
from revlm.training.trainer import Stopped
from tests.several import Ended, ends_of_ranks, on_ranks


def tell(values: list[Any]) -> tuple[Any, ...]:
    with join_ranks(launch_of(os.environ)) as ranks:
        value = values[ranks.rank]
        gathered = ranks.gather(value)
        in_order = ranks.gather_in_order([number * 10 for number in ranks.example_indices(5)])
        of_first = ranks.broadcast(lambda: f"said by {ranks.rank}")
        return gathered, in_order, of_first, ranks.run_on_all(lambda: ranks.rank)


def test_ranks_tell_each_other_json_of_any_size() -> None:
    values = ["a" * 100_000, {"nats": float("inf"), "title": "Преступление"}, None]
    for rank, (gathered, in_order, of_first, own) in enumerate(on_ranks(3, tell, values)):
        assert gathered == values
        assert in_order == [0, 10, 20, 30, 40]
        assert of_first == "said by 0"
        assert own == rank


def test_alone_nothing_is_told() -> None:
    ranks = Ranks()
    assert ranks.gather(object) == [object]  # not even JSON is asked for
    assert ranks.gather_in_order([1, 2]) == [1, 2]
    assert ranks.broadcast(lambda: 3) == ranks.run_on_all(lambda: 3) == 3
    assert list(ranks.example_indices(3)) == [0, 1, 2]
    with pytest.raises(DataError, match="as it is"):
        ranks.run_on_rank0(lambda: _raise(DataError("as it is")))


def _raise(error: BaseException) -> None:
    raise error


def fail(errors: dict[int, Exception]) -> tuple[str, str, int | None]:
    """What a rank raises where these ranks fail."""
    with join_ranks(launch_of(os.environ)) as ranks:
        try:
            ranks.run_on_all(lambda: _raise(errors[ranks.rank]) if ranks.rank in errors else None)
        except Exception as error:
            return type(error).__name__, str(error), getattr(error, "exit_code", None)
    raise AssertionError("nothing was raised")


def test_where_one_fails_all_do_and_only_that_one_raises_its_error() -> None:
    first, second = on_ranks(2, fail, {1: DataError("no such file")})
    assert second == ("DataError", "no such file", 3)
    assert first == (RemoteRankError.__name__, "rank 1 failed with DataError: no such file", 3)


def test_memory_that_ran_out_elsewhere_keeps_its_exit_code() -> None:
    first, second = on_ranks(2, fail, {0: MemoryError()})
    assert first[0] == "MemoryError"
    assert second == ("RemoteRankError", "rank 0 failed with MemoryError: no message", 4)


def test_of_several_failures_all_take_the_same() -> None:
    stopped, not_finite = Stopped("SIGTERM"), NonFinite("the loss", ["a title"])
    for errors, expected in (
        ({0: not_finite, 1: stopped}, "Stopped"),
        ({1: not_finite}, "NonFinite"),
    ):
        assert [name for name, *_ in on_ranks(2, fail, errors)] == [expected, expected]
    assert [name for name, *_ in on_ranks(2, fail, {0: stopped, 1: DataError("")})] == ["RemoteRankError", "DataError"]


def lose(how: str) -> None:
    """Notices on each rank that rank 1 is gone, well before the minutes after which a wait for a rank ends."""
    with join_ranks(launch_of(os.environ)) as ranks:
        ranks.gather(0)
        if ranks.rank == 1:
            os._exit(1) if how == "exit" else os.kill(os.getpid(), 9)
        with pytest.raises(RankError, match=r"rank 1 of the 3 ranks of this run has ended or does not respond \("):
            ranks.gather(0)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_rank_that_is_gone_is_noticed(how: str) -> None:
    ended: list[Ended] = ends_of_ranks(3, lose, [(how,)] * 3)
    assert [each.code for each in ended] == [0, 1 if how == "exit" else -9, 0], ended


def number() -> str:
    with join_ranks(launch_of(os.environ)) as ranks:
        try:
            return str(list(ranks.example_indices(2)))
        except UsageError as error:
            return str(error)


def test_more_ranks_than_examples_are_refused() -> None:
    assert on_ranks(2, number) == ["[0]", "[1]"]
    for said in on_ranks(3, number):
        assert "train.gradient_accumulation_steps is 2, and each of the 3 ranks" in said
