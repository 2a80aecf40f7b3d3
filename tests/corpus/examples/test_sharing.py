"""However many processes share out a stream, together they take what one would, and stand where it stands."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.corpus import Example, Loader, share
from revlm.corpus.examples.corpus import ExampleStream, PendingExample


class Counting(ExampleStream):
    """Examples of one token each, numbered from a place on."""

    def __init__(self, place: int = 0) -> None:
        self.place = place

    def draw(self) -> PendingExample:
        number, self.place = self.place, self.place + 1
        token = np.array([number], dtype=np.int32)
        return PendingExample(1, lambda: Example(token, token, token, (str(number),), 1, 1))

    def state(self) -> dict[str, Any]:
        return {"place": self.place}


steps_and_ranks = st.integers(1, 12).flatmap(
    lambda per_step: st.tuples(
        st.just(per_step), st.lists(st.tuples(st.integers(1, per_step), st.integers(0, 3)), min_size=1, max_size=5)
    )
)


@given(steps_and_ranks, st.integers(0, 2))
def test_nothing_is_lost_or_doubled_while_the_number_of_processes_changes(
    plan: tuple[int, list[tuple[int, int]]], workers: int
) -> None:
    """Runs one after the other, of so many processes and steps each, every one from where the last one stood."""
    per_step, runs = plan
    place, taken = 0, []
    for ranks, steps in runs:
        loaders = [Loader(share(Counting(place), rank, ranks, per_step), workers) for rank in range(ranks)]
        for _ in range(steps):
            numbers = {
                number: int(next(loader).titles[0])
                for rank, loader in enumerate(loaders)
                for number in range(rank, per_step, ranks)
            }
            taken += [numbers[number] for number in sorted(numbers)]
            assert [loader.state() for loader in loaders] == [{"place": len(taken)}] * ranks
        for loader in loaders:
            loader.close()
        place = len(taken)
    assert taken == list(range(per_step * sum(steps for _, steps in runs)))


def test_one_process_has_the_stream_itself() -> None:
    stream = Counting()
    assert share(stream, 0, 1, 4) is stream


def test_an_example_of_another_process_is_never_made() -> None:
    class Making(Counting):
        made: list[str] = []  # noqa: RUF012

        def draw(self) -> PendingExample:
            draft = super().draw()

            def make() -> Example:
                example = draft.make()
                self.made += example.titles
                return example

            return PendingExample(draft.tokens, make)

    stream = share(Making(), 1, 3, 5)
    for _ in range(4):
        next(stream)
    assert Making.made == ["1", "4", "6", "9"]


@pytest.mark.parametrize("ranks", [2, 3])
def test_after_the_last_example_of_a_step_the_place_is_behind_the_step(ranks: int) -> None:
    stream = share(Counting(), 0, ranks, 6)
    for _ in range(6 // ranks):
        next(stream)
    assert stream.state() == {"place": 6}
