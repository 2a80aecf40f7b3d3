"""The trackers of one run behind one interface; a failing tracker is reported and disabled, and the run continues."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from revlm.recipe import Recipe
from revlm.records import Sample, Samples, Step, Validation, read_journal, read_samples
from revlm.records.files import samples_file
from revlm.runs.folder import RunFolder
from revlm.runs.trackers.tracker import Shown, Tracker
from revlm.storage import Closing

RECORDS_AT_ONCE = 1000


class Trackers(Closing):
    """Writes records to every tracker; as a context manager, it closes them."""

    def __init__(
        self,
        classes: Mapping[str, type[Tracker]],
        folder: RunFolder,
        recipe: Recipe,
        step: int,
        message: Callable[[str], object],
    ) -> None:
        """Opens the trackers of the run in `folder`, whose journal ends at `step`; writes the records they lack."""
        self._open: dict[str, Tracker] = {}
        self._message = message
        for word, kind in classes.items():
            with self._disabled_on_failure(word):
                tracker = self._open[word] = kind(folder, recipe, step)
                if tracker.held_step < step:
                    _write_history(tracker, folder)

    def append(self, record: Step | Validation, samples: Sequence[Mapping[str, Any]] = ()) -> None:
        """Writes a record of the journal, and the samples of its step."""
        records: list[Shown] = [record, *_samples(record.step, samples)]
        for word, tracker in list(self._open.items()):
            with self._disabled_on_failure(word):
                tracker.write(records)

    def close(self) -> None:
        """Closes every tracker."""
        for word, tracker in list(self._open.items()):
            with self._disabled_on_failure(word):
                tracker.close()
        self._open.clear()

    @contextmanager
    def _disabled_on_failure(self, word: str) -> Iterator[None]:
        """Reports an exception of the tracker once and disables it: nothing that a run needs depends on a tracker."""
        try:
            yield
        except Exception as error:
            if tracker := self._open.pop(word, None):
                with suppress(Exception):
                    tracker.close()
            cause = next(iter(str(error).splitlines()), "no message")
            self._message(
                f"{word} failed ({type(error).__name__}: {cause}) and is disabled: the journal has every record, and "
                "the next start of this run writes the missing ones there"
            )


def _write_history(tracker: Tracker, folder: RunFolder) -> None:
    """Writes the records of the journal that the tracker lacks."""
    missing = _history(folder, tracker.held_step)
    while records := list(islice(missing, RECORDS_AT_ONCE)):
        tracker.write(records)


def _history(folder: RunFolder, held_step: int) -> Iterator[Shown]:
    """Yields the records of the journal after a step, and after each evaluation its samples."""
    for record in read_journal(folder.metrics, after=held_step):
        yield record
        samples = samples_file(folder.path, record.step)
        if isinstance(record, Validation) and samples.exists():
            yield read_samples(samples)


def _samples(step: int, samples: Sequence[Mapping[str, Any]]) -> list[Samples]:
    listed = [Sample.model_validate(dict(sample)) for sample in samples]
    return [Samples(step=step, samples=listed)] if listed else []
