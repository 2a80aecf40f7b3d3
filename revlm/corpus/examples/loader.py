"""Prepares the next examples while the one before is computed.

Threads, not processes: what takes time is NumPy's copying out of the mapped files, during which other threads run, and
its result lies where training reads it. Processes would map the files again and send each example through a pipe, a
second copy of a whole book. A stream is tokenized while it is drawn, so by one thread at a time, while the others wait.
"""

from concurrent.futures import Future
from queue import SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from types import TracebackType
from typing import Self

from revlm.corpus.examples.corpus import Example, ExampleStream, PendingExample, StreamState

_Prepared = Future[tuple[Example, StreamState]]


class Loader:
    """The examples of a stream in their order, of which `workers` threads prepare as many ahead; 0 prepares none.

    An error of a worker is raised, as it is, in place of the example that it could not make, however often that is
    asked for. The threads start with the first example and end with `close`, or the `with` block.
    """

    def __init__(self, stream: ExampleStream, workers: int) -> None:
        self._stream, self._place = stream, stream.state()
        self._prepared: SimpleQueue[_Prepared] = SimpleQueue()
        self._next: _Prepared | None = None
        self._drawing, self._room, self._closed = Lock(), Semaphore(workers), Event()
        self._workers, self._threads = workers, list[Thread]()

    def state(self) -> StreamState:
        """The place after the last example that was returned, however many are prepared."""
        return self._place

    def close(self) -> None:
        """Ends the threads, at the latest after the example in work, and the stream."""
        self._closed.set()
        self._room.release(self._workers or 1)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Example:
        if self._closed.is_set():
            raise StopIteration
        while len(self._threads) < self._workers:
            # A daemon, so that a loader which nobody closed does not keep the process from ending.
            thread = Thread(target=self._work, name="loader", daemon=True)
            thread.start()
            self._threads.append(thread)
        if self._next is None:
            if self._workers == 0:
                self._prepare()
            self._next = self._prepared.get()
        example, self._place = self._next.result()
        self._next = None
        self._room.release()
        return example

    def _work(self) -> None:
        while not self._closed.is_set():
            self._room.acquire()
            self._prepare()

    def _prepare(self) -> None:
        """Draws the next example and makes it; those of other threads are made meanwhile, and stand in drawn order."""
        prepared: _Prepared = Future()
        try:
            with self._drawing:
                if self._closed.is_set():
                    return
                self._prepared.put(prepared)
                pending, state = self._stream.draw(), self._stream.state()
            prepared.set_result((pending.make(), state))
        except BaseException as error:
            prepared.set_exception(error)


class SharedStream(ExampleStream):
    """The examples of one process: of the `per_step` of a step those numbered rank, rank + ranks, rank + 2 ranks, ...

    After the last of them in a step, `state()` is the place after the whole step.
    """

    def __init__(self, stream: ExampleStream, *, rank: int, ranks: int, per_step: int) -> None:
        """`stream` stands at the beginning of a step, of which each process has at least one example."""
        assert 0 <= rank < ranks <= per_step
        self._stream, self._rank, self._ranks, self._per_step = stream, rank, ranks, per_step
        self._number = 0  # in its step, of the next example of the stream

    def draw(self) -> PendingExample:
        while self._number % self._ranks != self._rank:
            self._next()
        own = self._next()
        if self._number - 1 + self._ranks >= self._per_step:
            while self._number < self._per_step:
                self._next()
            self._number = 0
        return own

    def state(self) -> StreamState:
        return self._stream.state()

    def _next(self) -> PendingExample:
        pending = self._stream.draw()
        self._number += 1
        return pending


def share(stream: ExampleStream, rank: int, ranks: int, per_step: int) -> ExampleStream:
    """Returns the examples of one process, which are all where it is alone."""
    return stream if ranks == 1 else SharedStream(stream, rank=rank, ranks=ranks, per_step=per_step)
