"""Where the records of a run go: the journal first, then the trackers of the recipe; a falling throughput is said."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from revlm.recipe import Recipe
from revlm.records import Validation, last_records
from revlm.runs import Journal, RunFolder, Trackers
from revlm.runs.trackers import Tracker
from revlm.training.nonfinite import shown_titles
from revlm.training.throughput import ThroughputWatch

Message = Callable[[str], object]
Record = dict[str, Any]
KNOWN_RECORDS = 2000  # the last ones of a run that goes on: enough to know its throughput


class RunLog:
    """The log of a run that is under way."""

    def __init__(self, folder: RunFolder, journal: Journal, trackers: Trackers, message: Message) -> None:
        self._folder, self._journal, self._trackers, self._message = folder, journal, trackers, message
        self._throughput = ThroughputWatch()
        self.evaluated_step = 0
        """step of the last evaluation before this start, 0 where there was none among the last records"""
        self._logged_step = 0
        for record in last_records(folder.metrics, KNOWN_RECORDS):
            self._throughput.notice(record.model_dump())
            if isinstance(record, Validation):
                self.evaluated_step = record.step
            else:
                self._logged_step = record.step

    def say_what_is_missing(self, step: int) -> None:
        """Tells where the records end before the step that the run goes on from, as after the end of a file was cut."""
        if self._logged_step < step:
            missing = f"step {step}" if step == self._logged_step + 1 else f"steps {self._logged_step + 1} to {step}"
            self._message(
                f"{self._folder.metrics} has no record of {missing}, which the run has trained: it was cut or removed, "
                "and what follows is appended to the rest"
            )

    def append(self, record: Record, samples: Sequence[Mapping[str, str]] = ()) -> None:
        """Logs a record, and the samples of an evaluation; raises StorageError where the run folder cannot take it."""
        if samples:
            self._folder.write_samples(record["step"], samples)
        self._trackers.append(self._journal.append(record), samples)
        if "skipped" in record:
            titles = shown_titles(record["skipped_documents"])
            self._message(
                f"step {record['step']} was passed over, {record['skipped']} on {titles}: nothing was updated"
            )
        if notice := self._throughput.notice(record):
            self._message(notice)

    def sync(self) -> None:
        """Returns when every record of the journal is on the disk."""
        self._journal.sync()

    def require_there(self) -> None:
        """Raises StorageError where the journal was removed or replaced while the run wrote to it."""
        self._journal.require_there()


@contextmanager
def open_run_log(
    trackers: Mapping[str, type[Tracker]], folder: RunFolder, recipe: Recipe, step: int, message: Message
) -> Iterator[RunLog]:
    """The log of the run in `folder` for a block, without what was logged after `step`: no step stands there twice."""
    with Journal(folder.metrics) as journal:
        journal.truncate_after(step)
        folder.remove_samples_after(step)
        with Trackers(trackers, folder, recipe, step, message) as opened:
            log = RunLog(folder, journal, opened, message)
            log.say_what_is_missing(step)
            yield log
