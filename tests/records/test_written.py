"""What training and evaluation write is what the schema says, no less and no more, and the report reads it."""

import json
from pathlib import Path

import pytest

from revlm.cli import main
from revlm.records import (
    PHASES,
    Evaluation,
    LayerUse,
    MemoryPlan,
    Step,
    Validation,
    peak_key,
    read_journal,
    read_record,
    read_rows,
)
from revlm.records.reading import record_of
from revlm.report import read_history, summarize, write_report
from revlm.report.pictures import picture
from tests.tiny_run import write_run

# DESIGN, section 8: the keys of a step, in their order.
STEP_KEYS = [
    "event", "step", "epoch", "tokens", "documents", "loss", "bits_per_byte", "learning_rate", "grad_norm", "seconds",
    "tokens_per_second", "data_seconds", "memory_baseline_bytes", "memory_forward_peak_bytes",
    "memory_backward_peak_bytes", "memory_optimizer_peak_bytes", "memory_peak_bytes", "model_flops_per_second",
    "stream_max", "bucket_fill", "empty_query_share", "sink_share", "layers",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder") / "run"
    run = write_run(folder, "evaluate.every=2", "evaluate.prompts=[the old]", "evaluate.sample_tokens=4")
    small = ("--context-lengths", "16,64", "--samples", "2", "--tokens", "200")
    assert main(["evaluate", "--run", str(run), "--device", "cpu", "--all", *small]) == 0
    return run


def test_the_journal_holds_the_keys_of_the_contract_in_their_order_and_no_other(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    for line in lines:
        record = json.loads(line)
        assert json.dumps(record, ensure_ascii=False) == line
        assert list(record) == (STEP_KEYS if record["event"] == "step" else list(Validation.model_fields))
        assert record_of(record).model_dump(exclude_unset=True) == record
        assert all(list(use) == list(LayerUse.model_fields) for use in record.get("layers", ()))
    assert list(read_rows(run / "metrics.jsonl")) == [json.loads(line) for line in lines]
    assert {peak_key(phase) for phase in PHASES} < set(STEP_KEYS)


def test_plan_and_evaluation_hold_what_the_schema_says_and_no_other_key(run: Path) -> None:
    for kind, name in ((MemoryPlan, "plan.json"), (Evaluation, "evaluation.json")):
        content = json.loads((run / name).read_text())
        found = read_record(kind, run / name)
        assert found.model_dump(mode="json", exclude_unset=True) == content
        assert found.model_fields_set == set(kind.model_fields)


def test_the_report_reads_the_very_folder(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "_data_url", lambda *_: "data:image/png;base64,")
    history = read_history(run)
    assert history.notes == []
    steps = [record for record in read_journal(run / "metrics.jsonl") if isinstance(record, Step)]
    assert history.step_numbers.tolist() == [1, 2, 3]
    assert summarize(history).last_loss == pytest.approx(sum(step.loss or 0 for step in steps) / 3)
    assert [samples.step for samples in history.samples] == [2, 3]
    assert history.setting("model.d_model") == 16
    assert history.plan is not None
    page = write_report(history).page.read_text()
    for words in ("the old", "16 wide", "layer 1 (lsh)", "planned", "Copies", "What the buckets find"):
        assert words in page
