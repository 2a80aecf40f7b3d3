from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from revlm.recipe import Recipe
from revlm.runs import Journal, RunFolder, Trackers
from revlm.runs.trackers import Tracker
from tests import journal_records
from tests.journal_records import validation_record


def step_record(step: int, **changes: Any) -> dict[str, Any]:
    """What training writes of a step with two hash layers."""
    layers = [
        {"layer": 1, "bucket_fill": 0.25, "empty_query_share": 0.0, "sink_share": 0.1},
        {"layer": 3, "bucket_fill": 0.75, "empty_query_share": 0.0, "sink_share": 0.2},
    ]
    shown = {"grad_norm": None, "tokens_per_second": 100.0 * step, "bucket_fill": 0.5, "layers": layers}
    return journal_records.step_record(step, **shown, **changes)


def evaluation_record(step: int) -> dict[str, Any]:
    return validation_record(step, loss=9 / step, bits_per_byte=None, tokens=7)


def samples_of(step: int) -> list[dict[str, str]]:
    return [{"prompt": "It was", "text": f" step *{step}*\nindeed"}, {"prompt": "A/", "text": "b"}]


class Run:
    """A run in a folder: its journal, as training writes it, beside its trackers."""

    def __init__(self, folder: Path, *classes: type[Tracker]) -> None:
        self.folder = RunFolder.create(folder)
        self.classes = {kind.__name__.lower(): kind for kind in classes}
        self.recipe = Recipe.model_validate({"output_dir": str(folder), "data": {"path": "tokens"}})
        self.messages: list[str] = []

    def go_on(self, step: int, until: int, **loss: float) -> None:
        """Does the steps after `step`, evaluating at every second one; nothing is closed, as after a kill."""
        journal = Journal(self.folder.metrics)
        journal.truncate_after(step)
        self.folder.remove_samples_after(step)
        trackers = Trackers(self.classes, self.folder, self.recipe, step, self.messages.append)
        for number in range(step + 1, until + 1):
            trackers.append(journal.append(step_record(number, **loss)))
            if number % 2 == 0:
                self.folder.write_samples(number, samples_of(number))
                trackers.append(journal.append(evaluation_record(number)), samples_of(number))
        journal.close()


@pytest.fixture
def run_with(tmp_path: Path) -> Callable[..., Run]:
    """Makes a run in a new folder with the trackers of these classes."""
    return lambda *classes: Run(tmp_path / "run", *classes)
