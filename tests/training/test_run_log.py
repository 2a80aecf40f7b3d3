import sys

import pytest

from revlm.errors import UsageError
from revlm.recipe import Recipe
from revlm.records import Sample, Samples, read_samples
from revlm.runs import RunFolder, read_journal
from revlm.training import train
from revlm.training.run_log import open_run_log
from tests.journal_records import step_record, validation_record
from tests.tiny_run import tiny_recipe, write_tokens


@pytest.fixture
def folder(tmp_path):
    """Where a run will stand, beside its tokens."""
    write_tokens(tmp_path / "tokens")
    return tmp_path / "run"


def test_a_run_that_is_cut_off_goes_on_in_its_event_files(folder):
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = ("logging.backends=[console,jsonl,tensorboard]", "train.max_steps=6", "checkpoint.every=2")
    recipe = tiny_recipe(folder, *settings, "evaluate.every=2", "evaluate.sample_tokens=2")
    cut_off = train(recipe)
    for record in cut_off:
        if record["step"] == 3:
            break
    cut_off.close()
    list(train(recipe))
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    journal = list(read_journal(folder / "metrics.jsonl"))
    for name, event in (("train/bits_per_byte", "step"), ("evaluate/bits_per_byte", "evaluate")):
        assert [(shown.step, shown.value) for shown in events.Scalars(name)] == [
            (record["step"], pytest.approx(record["bits_per_byte"])) for record in journal if record["event"] == event
        ]
    assert "samples/1" in events.Tags()["tensors"]


def test_a_missing_extra_ends_the_run_before_anything_is_there(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    recipe = tiny_recipe(folder, "logging.backends=[jsonl,trackio]")
    with pytest.raises(UsageError, match=r"pip install 'revlm\[trackio\]'"):
        next(train(recipe))
    assert not folder.exists()


def test_a_falling_throughput_is_said_once_also_over_a_resume(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    recipe = Recipe.model_validate({"output_dir": str(run), "data": {"path": "tokens"}})
    messages: list[str] = []
    for start, until, rate in ((0, 40, 1000.0), (40, 60, 500.0), (60, 100, 500.0)):
        with open_run_log({}, run, recipe, start, messages.append) as log:
            for step in range(start + 1, until + 1):
                log.append(step_record(step, tokens_per_second=rate))
    assert [message.partition(":")[0] for message in messages] == ["step 50"]


def test_a_log_that_goes_on_has_no_step_and_no_sample_twice(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    recipe = Recipe.model_validate({"output_dir": str(run), "data": {"path": "tokens"}})
    for start in (0, 2, 1):
        with open_run_log({}, run, recipe, start, print) as log:
            assert log.evaluated_step == min(start, 2) // 2 * 2
            for step in range(start + 1, 4):
                log.append(step_record(step))
                if step == 2:
                    log.append(validation_record(step), [{"prompt": "a", "text": "b"}])
    assert [(r["event"], r["step"]) for r in read_journal(run.metrics)] == [
        ("step", 1), ("step", 2), ("evaluate", 2), ("step", 3)
    ]  # fmt: skip
    [samples] = run.samples.iterdir()
    assert read_samples(samples) == Samples(step=2, samples=[Sample(prompt="a", text="b")])
