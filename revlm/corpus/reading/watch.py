"""Reports the progress of reading a corpus and checks for a stop request."""

from collections.abc import Callable, Iterator

from revlm.corpus.reading.events import Dropped, Event, Piece
from revlm.errors import Interrupted

Progress = Callable[[int, int | None, str], object]
Stop = Callable[[], str | None]


class Watch:
    """Reports progress in bytes over one or two passes of a corpus; raises Interrupted on a stop request."""

    def __init__(self, corpus_bytes: int | None, passes: int, progress: Progress, stop: Stop) -> None:
        self._total = None if corpus_bytes is None else passes * corpus_bytes
        self._before_last_pass = (passes - 1) * (corpus_bytes or 0)
        self._progress, self._stop = progress, stop
        self._done = self._within = 0
        progress(0, self._total, "")

    def over(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yields the events of a first pass."""
        for event in events:
            self.saw(event, "vocabulary: ")
            yield event

    def resume_after(self, read_bytes: int) -> None:
        """Counts the first `read_bytes` of the last pass as done."""
        self._done, self._within = self._before_last_pass + read_bytes, 0

    def saw(self, event: Event, prefix: str = "") -> None:
        """Counts an event; raises Interrupted on a stop request."""
        if isinstance(event, Piece):
            self._within += event.read_bytes
        else:
            self._done, self._within = self._done + event.read_bytes, 0
        title = event.skipped.path if isinstance(event, Dropped) else event.title
        self._progress(self._done + self._within, self._total, prefix + title)
        raise_if_stopped(self._stop)


def raise_if_stopped(stop: Stop) -> None:
    """Raises Interrupted where `stop` returns the name of what requests a stop."""
    if name := stop():
        raise Interrupted(f"stopped by {name}: run the same command again to resume")
