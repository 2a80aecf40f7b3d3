"""Prefetches examples in threads during the training step, and shards a stream over ranks.

Threads, not processes: most time goes to NumPy's copies out of memory-mapped files, which release the GIL, and the
result is already in this process's memory. Processes would map the files again and send each example through a pipe,
a second copy of a whole book. A streamed corpus tokenizes in `draw`, so one thread at a time while the others wait.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import Self

from revlm.corpus.examples.corpus import CorpusStream, Example, ExampleStream, PendingExample, StreamState
from revlm.storage import Closing

_Prepared = Future[tuple[Example, StreamState]]


class Loader(Closing):
    """The examples of a stream, in order; `workers` threads prefetch up to as many examples, 0 prefetches none.

    A worker's exception is raised at its example's position, each time that example is requested. The threads start
    with the first example and end with `close`, or with the `with` block.
    """

    def __init__(self, stream: ExampleStream, workers: int) -> None:
        self._stream, self._state = stream, stream.state()
        self._prepared: SimpleQueue[_Prepared] = SimpleQueue()
        self._next: _Prepared | None = None
        self._drawing, self._room, self._closed = Lock(), Semaphore(workers), Event()
        self._workers, self._threads = workers, list[Thread]()

    def state(self) -> StreamState:
        """Returns the position after the last example returned, regardless of prefetched ones."""
        return self._state

    def close(self) -> None:
        """Ends the iteration and joins the threads, each after at most its current example."""
        self._closed.set()
        self._room.release(self._workers or 1)
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Example:
        if self._closed.is_set():
            raise StopIteration
        while len(self._threads) < self._workers:
            # A daemon thread: a loader that was never closed does not keep the process alive.
            thread = Thread(target=self._work, name="loader", daemon=True)
            thread.start()
            self._threads.append(thread)
        if self._next is None:
            if self._workers == 0:
                self._prepare()
            self._next = self._prepared.get()
        example, self._state = self._next.result()
        self._next = None
        self._room.release()
        return example

    def _work(self) -> None:
        while not self._closed.is_set():
            self._room.acquire()
            self._prepare()

    def _prepare(self) -> None:
        """Draws and makes the next example; drawing is serialized, so the queue is in stream order."""
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


class ScheduledStream(ExampleStream):
    """The examples of a corpus, of which each step has its own length; `per_step` examples make a step."""

    def __init__(self, stream: CorpusStream, seq_len_after: Callable[[int], int], *, per_step: int, steps: int) -> None:
        """`seq_len_after(n)` is the length of examples after n steps; `steps` steps come before the next example."""
        self._stream, self._seq_len_after, self._per_step = stream, seq_len_after, per_step
        self._drawn = steps * per_step

    def draw(self) -> PendingExample:
        self._stream.set_seq_len(self._seq_len_after(self._drawn // self._per_step))
        pending = self._stream.draw()
        self._drawn += 1
        return pending

    def state(self) -> StreamState:
        return self._stream.state()


class SharedStream(ExampleStream):
    """The examples of one rank: of the `per_step` of a step, those numbered rank, rank + ranks, rank + 2 ranks, ...

    After the last of them in a step, `state()` is the position after the whole step.
    """

    def __init__(self, stream: ExampleStream, *, rank: int, ranks: int, per_step: int) -> None:
        """`stream` is at the beginning of a step; each rank has at least one example per step."""
        assert 0 <= rank < ranks <= per_step
        self._stream, self._rank, self._ranks, self._per_step = stream, rank, ranks, per_step
        self._number = 0  # of the stream's next example within its step

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
    """Returns the examples of one rank; all of them where there is only one."""
    return stream if ranks == 1 else SharedStream(stream, rank=rank, ranks=ranks, per_step=per_step)
