from pathlib import Path

import numpy as np
import pytest

from revlm.report.history import read_history
from revlm.report.summary import summarize
from tests.report.builder import append_line, build_run


def test_figures_are_those_of_the_records(tmp_path: Path) -> None:
    history = read_history(build_run(tmp_path / "run", 45, max_steps=200))
    summary = summarize(history)
    assert (summary.steps, summary.planned_steps) == (45, 200)
    assert summary.first_loss == history.steps[0].loss
    assert summary.last_loss == pytest.approx(np.mean([step.loss for step in history.steps[-5:]]))
    assert summary.tokens == sum(step.tokens or 0 for step in history.steps)
    assert summary.best_bits_per_byte == history.evaluations[1].bits_per_byte
    assert summary.best_bits_per_byte_step == 40
    assert summary.peak_memory_bytes == max(step.memory_peak_bytes or 0 for step in history.steps)
    assert summary.tokens_exact


def test_what_was_not_recorded_is_none(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    (run / "metrics.jsonl").unlink()
    append_line(run, {"event": "step", "step": 1})
    figures = summarize(read_history(run)).as_dict()
    known = {key for key, value in figures.items() if value is not None}
    assert known == {"steps", "planned_steps", "tokens_exact"}


def test_the_last_loss_is_of_the_finite_ones_among_the_last_five(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 9)
    append_line(run, {"event": "step", "step": 10, "loss": None, "skipped": "the loss is not finite"})
    history = read_history(run)
    expected = np.mean([step.loss for step in history.steps[-5:-1]])
    assert summarize(history).last_loss == pytest.approx(expected)
    for step in range(11, 15):
        append_line(run, {"event": "step", "step": step, "loss": None})
    assert summarize(read_history(run)).last_loss is None
