"""Logs a run's records, first to the journal and then to the recipe's trackers, and reports drops in throughput."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from revlm.recipe import Recipe
from revlm.records import Validation, last_records
from revlm.runs import Journal, RunFolder, Trackers
from revlm.runs.trackers import Tracker
from revlm.training.nonfinite import shown_titles
from revlm.training.throughput import ThroughputMonitor

Message = Callable[[str], object]
Record = dict[str, Any]
KNOWN_RECORDS = 2000  # the last records of a resumed run, enough to know its throughput


class RunLog:
    """The log of a run in progress."""

    def __init__(
        self, folder: RunFolder, journal: Journal, trackers: Trackers, changes: Mapping[int, int], message: Message
    ) -> None:
        """`changes` are the steps after which the length of examples changes: `Data.seq_len_changes`."""
        self._folder, self._journal, self._trackers, self._message = folder, journal, trackers, message
        self._changes, self._throughput = changes, ThroughputMonitor(changes)
        self.evaluated_step = 0
        """step of the last evaluation before this start; 0 if there is none among the last records"""
        self._logged_step = 0
        for record in last_records(folder.metrics, KNOWN_RECORDS):
            self._throughput.add(record.model_dump())
            if isinstance(record, Validation):
                self.evaluated_step = record.step
            else:
                self._logged_step = record.step

    def report_missing_records(self, step: int) -> None:
        """Reports records missing before the step that the run resumes from, as after the file was truncated."""
        if self._logged_step < step:
            missing = f"step {step}" if step == self._logged_step + 1 else f"steps {self._logged_step + 1} to {step}"
            self._message(
                f"{self._folder.metrics} has no record of {missing}, which the run has trained: the file was truncated "
                "or removed, and new records are appended to what is left"
            )

    def append(self, record: Record, samples: Sequence[Mapping[str, Any]] = ()) -> None:
        """Logs a record, and the samples of an evaluation; raises StorageError if the run folder cannot be written."""
        if samples:
            self._folder.write_samples(record["step"], samples)
        self._trackers.append(self._journal.append(record), samples)
        if record["event"] == "step" and (seq_len := self._changes.get(record["step"] - 1)):
            self._message(f"step {record['step']}: examples of up to {seq_len:,} tokens from here on")
        if "skipped" in record:
            titles = shown_titles(record["skipped_documents"])
            self._message(
                f"step {record['step']} was skipped, {record['skipped']} on {titles}: the weights were not updated"
            )
        if notice := self._throughput.add(record):
            self._message(notice)

    def sync(self) -> None:
        """Returns once every record of the journal is on disk."""
        self._journal.sync()

    def require_not_replaced(self) -> None:
        """Raises StorageError if the journal was removed or replaced while the run wrote to it."""
        self._journal.require_not_replaced()


@contextmanager
def open_run_log(
    trackers: Mapping[str, type[Tracker]], folder: RunFolder, recipe: Recipe, step: int, message: Message
) -> Iterator[RunLog]:
    """Opens the log of the run in `folder`; drops records after `step`, so that no step is logged twice."""
    with Journal(folder.metrics) as journal:
        journal.truncate_after(step)
        folder.remove_samples_after(step)
        with Trackers(trackers, folder, recipe, step, message) as opened:
            log = RunLog(folder, journal, opened, recipe.data.seq_len_changes, message)
            log.report_missing_records(step)
            yield log
