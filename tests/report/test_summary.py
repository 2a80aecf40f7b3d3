from pathlib import Path

import numpy as np
import pytest

from revlm.records import Step, read_journal
from revlm.report.history import read_history
from revlm.report.summary import summarize
from tests.report.builder import append_line, bare_step, build_run


def test_figures_are_those_of_the_records(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 45, max_steps=200)
    records = list(read_journal(run / "metrics.jsonl"))
    steps = [record for record in records if isinstance(record, Step)]
    summary = summarize(read_history(run))
    assert (summary.steps, summary.planned_steps) == (45, 200)
    assert summary.first_loss == steps[0].loss
    assert summary.last_loss == pytest.approx(np.mean([step.loss for step in steps[-5:]]))
    assert summary.tokens == sum(step.tokens for step in steps)
    assert summary.seconds == pytest.approx(sum(step.seconds or 0 for step in steps))
    assert summary.tokens_per_second == np.median([step.tokens_per_second for step in steps])
    flops = np.median([step.model_flops_per_second for step in steps])
    assert (summary.model_flops_per_second, summary.mfu) == (flops, None)
    assert summary.best_bits_per_byte == records[-6].bits_per_byte
    assert summary.best_bits_per_byte_step == 40
    assert summary.peak_memory_bytes == max(step.memory_peak_bytes or 0 for step in steps)


def test_what_was_not_recorded_is_none(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    (run / "metrics.jsonl").unlink()
    append_line(run, bare_step(1))
    figures = summarize(read_history(run)).as_dict()
    known = {key for key, value in figures.items() if value is not None}
    assert known == {"steps", "planned_steps", "tokens", "seconds"}


def test_the_last_loss_is_of_the_finite_ones_among_the_last_five(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 9)
    losses = [record.loss for record in read_journal(run / "metrics.jsonl")]
    append_line(run, bare_step(10))
    assert summarize(read_history(run)).last_loss == pytest.approx(np.mean(losses[-4:]))
    for step in range(11, 15):
        append_line(run, bare_step(step))
    assert summarize(read_history(run)).last_loss is None
