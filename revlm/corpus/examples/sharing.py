"""The examples of each step, shared out among the processes of a run.

All draw the same stream and make only their own examples of it, so that after each step all stand at one place,
whatever their number: another number goes on from there and no document is lost or doubled. To draw is quick, except
from texts that are tokenized while they are learned from: each process then tokenizes them all.
"""

from revlm.corpus.examples.corpus import Draft, ExampleStream, Place


class SharedStream(ExampleStream):
    """The examples of one process: of the `per_step` of a step those numbered rank, rank + ranks, rank + 2 ranks, ...

    After the last of them in a step, `state()` is the place after the whole step.
    """

    def __init__(self, stream: ExampleStream, *, rank: int, ranks: int, per_step: int) -> None:
        """`stream` stands at the beginning of a step, of which each process has at least one example."""
        assert 0 <= rank < ranks <= per_step
        self._stream, self._rank, self._ranks, self._per_step = stream, rank, ranks, per_step
        self._number = 0  # in its step, of the next example of the stream

    def draw(self) -> Draft:
        while self._number % self._ranks != self._rank:
            self._next()
        own = self._next()
        if self._number - 1 + self._ranks >= self._per_step:
            while self._number < self._per_step:
                self._next()
            self._number = 0
        return own

    def state(self) -> Place:
        return self._stream.state()

    def _next(self) -> Draft:
        draft = self._stream.draw()
        self._number += 1
        return draft


def share(stream: ExampleStream, rank: int, ranks: int, per_step: int) -> ExampleStream:
    """Returns the examples of one process, which are all where it is alone."""
    return stream if ranks == 1 else SharedStream(stream, rank=rank, ranks=ranks, per_step=per_step)
