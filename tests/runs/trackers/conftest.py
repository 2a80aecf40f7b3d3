from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.recipe import Recipe
from revlm.runs import Journal, RunFolder, Trackers
from revlm.runs.trackers import Tracker


def step_record(step: int, loss: float = 0.0) -> dict:
    """What training writes of a step, shortened."""
    return {
        "event": "step",
        "step": step,
        "tokens": 512,
        "loss": loss or 8 / step,
        "grad_norm": None,
        "tokens_per_second": 100.0 * step,
        "memory_baseline_bytes": 2**28,
        "memory_forward_peak_bytes": 2**30,
        "memory_peak_bytes": 2**31,
        "stream_max": 1.5,
        "bucket_fill": 0.5,
        "layers": [
            {"layer": 1, "bucket_fill": 0.25, "sink_share": 0.1},
            {"layer": 3, "bucket_fill": 0.75, "sink_share": 0.2},
        ],
    }


def evaluation_record(step: int) -> dict:
    return {"event": "evaluate", "step": step, "loss": 9 / step, "bits_per_byte": None, "tokens": 7}


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
            record = step_record(number, **loss)
            journal.append(record)
            trackers.append(record)
            if number % 2 == 0:
                self.folder.write_samples(number, samples_of(number))
                journal.append(evaluation_record(number))
                trackers.append(evaluation_record(number), samples_of(number))
        journal.close()


@pytest.fixture
def run_with(tmp_path: Path) -> Callable[..., Run]:
    """Makes a run in a new folder with the trackers of these classes."""
    return lambda *classes: Run(tmp_path / "run", *classes)
