import json
import os
from pathlib import Path

import pytest

from revlm.errors import StorageError
from revlm.runs import RunFolder, newest_run


def make_run(path: Path, active_at: int) -> RunFolder:
    run = RunFolder.create(path)
    run.write_recipe("seed: 1\n")
    run.metrics.write_text("")
    os.utime(run.metrics, (active_at, active_at))
    return run


def test_a_run_folder_holds_what_the_contract_names(tmp_path):
    run = RunFolder.create(tmp_path / "a" / "b")
    run.write_recipe("seed: 1\n")
    run.write_environment({"python": "3.11"})
    run.write_plan({"seq_len": 512})
    run.write_samples(200, [{"prompt": "It was", "text": "It was late."}])
    assert sorted(path.relative_to(run.path).as_posix() for path in run.path.rglob("*")) == [
        "checkpoints",
        "environment.json",
        "plan.json",
        "recipe.yaml",
        "samples",
        "samples/step-00000200.json",
    ]
    assert json.loads((run.samples / "step-00000200.json").read_text())[0]["prompt"] == "It was"
    assert RunFolder.open(str(run.path)) == RunFolder.create(run) == run


def test_samples_of_later_steps_are_removed_before_a_resume(tmp_path):
    run = RunFolder.create(tmp_path)
    for step in (10, 20, 123456789):
        run.write_samples(step, [])
    run.remove_samples_after(10)
    assert [path.name for path in run.samples.iterdir()] == ["step-00000010.json"]


def test_the_run_that_wrote_last_is_the_newest(tmp_path):
    make_run(tmp_path / "old", 1_000)
    active = make_run(tmp_path / "active", 3_000)
    make_run(tmp_path / "middle", 2_000)
    (tmp_path / "no-run").mkdir()
    assert newest_run(tmp_path) == active


def test_the_newest_run_may_lie_deep_and_is_no_checkpoint_of_one(tmp_path):
    deep = make_run(tmp_path / "rates-sweep" / "lr-1" / "seed-2", 3_000)
    make_run(tmp_path / "old", 1_000)
    make_run(tmp_path / "old" / "checkpoints" / "copied", 4_000)
    assert newest_run(tmp_path) == deep
    linked = tmp_path / "linked" / "runs"
    linked.mkdir(parents=True)
    (linked / "elsewhere").symlink_to(tmp_path / "rates-sweep")
    (linked / "in-a-circle").symlink_to(linked)
    assert newest_run(linked).path == linked / "elsewhere" / "lr-1" / "seed-2"


def test_no_run_is_one_sentence_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=r"no run under \./runs: train one first with `revlm train demo`"):
        newest_run()
    with pytest.raises(StorageError, match=r"no run in .* \(it has no recipe\.yaml\)"):
        RunFolder.open(tmp_path)


def test_a_file_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="creating the run folder"):
        RunFolder.create(tmp_path / "file" / "run")


def test_a_failed_write_keeps_the_old_content(tmp_path, monkeypatch):
    run = make_run(tmp_path, 1_000)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk full"):
        run.write_recipe("seed: 2\n")
    assert run.recipe.read_text().startswith("seed: 1\n")
    assert not list(tmp_path.glob(".*staging"))
