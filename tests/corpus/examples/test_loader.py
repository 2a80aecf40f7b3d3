import threading
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from revlm.corpus.examples.corpus import Example, ExampleStream, PendingExample, StreamState
from revlm.corpus.examples.loader import Loader

PATIENCE_SECONDS = 30  # for a thread that is there, but not yet run


class Numbers(ExampleStream):
    """Examples of one token, 0, 1, 2, ...; `make` and `draw` are told the number, where a test wants to know."""

    def __init__(self, make: Callable[[int], object] = lambda n: None, draw: Callable[[int], object] = lambda n: None):
        self.drawn, self.making, self.drawing = 0, make, draw

    def draw(self) -> PendingExample:
        number = self.drawn
        self.drawing(number)
        self.drawn += 1
        return PendingExample(1, lambda: self.example(number))

    def example(self, number: int) -> Example:
        self.making(number)
        return Example(*np.full((3, 1), number, np.int32), titles=(str(number),), epoch=1, target_bytes=1)

    def state(self) -> StreamState:
        return {"next": self.drawn}


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "loader"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> object:
    yield
    assert loader_threads() == []


def numbers(loader: Loader, count: int) -> list[int]:
    return [int(example.targets[0]) for example in islice(loader, count)]


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_examples_come_in_order_with_the_place_after_each(workers: int) -> None:
    with Loader(Numbers(), workers) as loader:
        assert loader.state() == {"next": 0}
        for number in range(50):
            assert numbers(loader, 1) == [number]
            assert loader.state() == {"next": number + 1}


def test_an_example_that_takes_longer_keeps_its_place() -> None:
    """Example 0 is ready only after 1 and 2 are, which only several threads can bring about."""
    others = threading.Semaphore(0)

    def make(number: int) -> None:
        if number == 0:
            for _ in range(2):
                assert others.acquire(timeout=PATIENCE_SECONDS)
        else:
            others.release()

    with Loader(Numbers(make), 3) as loader:
        assert numbers(loader, 10) == list(range(10))


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_examples_are_prepared_ahead_as_there_are_workers(workers: int) -> None:
    reached = threading.Event()
    stream = Numbers(draw=lambda number: reached.set() if number == 4 + workers else None)
    with Loader(stream, workers) as loader:
        assert numbers(loader, 5) == list(range(5))
        assert reached.wait(PATIENCE_SECONDS)
    assert stream.drawn == 5 + workers
    assert loader.state() == {"next": 5}


@pytest.mark.parametrize("workers", [0, 1])
def test_without_workers_the_reader_makes_each_example_when_it_is_asked_for(workers: int) -> None:
    makers = set()
    stream = Numbers(lambda number: makers.add(threading.current_thread().name))
    with Loader(stream, workers) as loader:
        numbers(loader, 3)
    assert makers == {"loader" if workers else threading.current_thread().name}
    assert workers or stream.drawn == 3


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("where", ["make", "draw"])
def test_an_error_comes_as_it_is_in_its_place_and_again(workers: int, where: str) -> None:
    error = OSError("the disk is gone")

    def fail(number: int) -> None:
        if number == 4:
            raise error

    with Loader(Numbers(**{where: fail}), workers) as loader:  # type: ignore[arg-type]
        assert numbers(loader, 4) == [0, 1, 2, 3]
        for _ in range(2):
            with pytest.raises(OSError, match="the disk is gone") as raised:
                next(loader)
            assert raised.value is error
        assert loader.state() == {"next": 4}


@pytest.mark.parametrize("read", [0, 1, 7])
def test_a_closed_loader_has_ended_and_keeps_its_place(read: int) -> None:
    loader = Loader(Numbers(), 2)
    numbers(loader, read)
    assert len(loader_threads()) == (2 if read else 0)
    loader.close()
    loader.close()
    assert loader_threads() == []
    assert list(loader) == []
    assert loader.state() == {"next": read}


def test_closing_waits_for_the_example_in_work() -> None:
    begun, made = threading.Event(), []

    def make(number: int) -> None:
        if number == 1:
            begun.set()
            closing.wait(PATIENCE_SECONDS)
        made.append(number)

    closing = threading.Event()
    loader = Loader(Numbers(make), 1)
    assert numbers(loader, 1) == [0]
    assert begun.wait(PATIENCE_SECONDS)
    threading.Timer(0.05, closing.set).start()
    loader.close()
    assert made == [0, 1]
