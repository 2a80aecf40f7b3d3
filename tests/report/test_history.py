import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from revlm.errors import StorageError
from revlm.report.history import read_history
from tests.report.builder import append_line, build_run


def test_everything_in_the_folder_is_read(tmp_path: Path) -> None:
    history = read_history(build_run(tmp_path / "novels", 45))
    assert [step.step for step in history.steps] == list(range(1, 46))
    assert [evaluation.step for evaluation in history.evaluations] == [20, 40]
    assert [sample.step for sample in history.samples] == [20, 20, 40, 40]
    assert history.name == "novels"
    assert history.setting("model.n_layers") == 4
    assert history.setting("model.no_such_key") is None
    assert history.environment["device"]["cores"] == 2
    assert history.notes == []


def test_a_torn_last_line_is_left_out_and_said(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 5)
    with (run / "metrics.jsonl").open("a") as journal:
        journal.write('{"event": "step", "step": 6, "lo')
    history = read_history(run)
    assert len(history.steps) == 5
    assert "incomplete" in history.notes[0]


def test_a_broken_line_in_the_middle_is_an_error_with_its_number(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 5)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    lines[2] = lines[2][:20]
    (run / "metrics.jsonl").write_text("\n".join(lines))
    with pytest.raises(StorageError, match=r"metrics\.jsonl, line 3 is no JSON object"):
        read_history(run)


def test_a_wrong_type_is_an_error_that_names_the_key(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 2)
    append_line(run, {"event": "step", "step": 3, "loss": "4.2"})
    with pytest.raises(StorageError, match=r"line 3: loss is wrong"):
        read_history(run)


def test_missing_null_and_unknown_keys_are_tolerated(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    append_line(run, {"event": "step", "step": 2, "loss": None, "key_of_a_later_version": 1})
    append_line(run, {"event": "event of a later version"})
    history = read_history(run)
    assert np.isnan(history.series("loss")[1])
    assert np.isnan(history.series("memory_peak_bytes")[1])
    assert not history.on_gpu


def test_a_loss_that_is_not_finite_is_a_gap_and_a_note(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 3)
    append_line(run, {"event": "step", "step": 4, "loss": float("nan")})
    history = read_history(run)
    assert np.isnan(history.series("loss")[3])
    assert "not finite from step 4" in history.notes[0]


def test_steps_that_were_passed_over_are_gaps_and_a_note(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 3)
    for step in (4, 5):
        append_line(run, {"event": "step", "step": step, "loss": None, "skipped": "the loss is not finite"})
    history = read_history(run)
    assert np.isnan(history.series("loss")[3:]).all()
    assert history.notes == ["2 steps were passed over without an update, the first at 4: not finite."]


def test_steps_trained_again_after_a_restart_count_once(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 6)
    append_line(run, {"event": "step", "step": 5, "loss": 1.5, "tokens": 10, "seconds": 1.0})
    history = read_history(run)
    assert [step.step for step in history.steps] == [1, 2, 3, 4, 5, 6]
    assert history.series("loss")[4] == 1.5
    assert "1 step was trained again" in history.notes[0]


def test_a_record_of_every_tenth_step_stands_for_ten(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    records = [{"event": "step", "step": step, "tokens": 100} for step in (10, 20, 30)]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, records)))
    history = read_history(run)
    assert history.running_sum("tokens").tolist() == [1000, 2000, 3000]
    assert not history.every_step_recorded


def test_a_run_without_steps_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    (run / "metrics.jsonl").unlink()
    with pytest.raises(StorageError, match=r"has no steps yet: .*revlm train"):
        read_history(run)


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(StorageError, match="is not a run folder"):
            read_history(folder)


def test_a_broken_recipe_is_an_error(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    (run / "recipe.yaml").write_text("model: [unclosed")
    with pytest.raises(StorageError, match=r"recipe\.yaml cannot be parsed"):
        read_history(run)


def test_a_broken_sample_is_left_out_and_said(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 20)
    (run / "samples" / "step-00000040.json").write_text('[{"prompt": "It')
    (run / "samples" / "step-00000060.json").write_text('[{"prompt": "It"}]')
    history = read_history(run)
    assert [sample.step for sample in history.samples] == [20, 20]
    assert ["step-00000040.json" in history.notes[0], "step-00000060.json" in history.notes[1]] == [
        True,
        True,
    ]


def test_the_recipe_is_read_as_training_reads_it(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    (run / "recipe.yaml").write_text("output_dir: 2024-13-45\noptimizer: {lr: 3e-4}\ndata: {packing: off}\n")
    history = read_history(run)
    assert history.setting("output_dir") == "2024-13-45"
    assert history.setting("optimizer.lr") == 3e-4
    assert history.setting("data.packing") == "off"


@pytest.mark.parametrize("kind", ["pipe", "device", "nested"])
@pytest.mark.parametrize("name", ["metrics.jsonl", "recipe.yaml", "environment.json"])
def test_what_is_no_file_of_a_run_is_neither_waited_for_nor_read(tmp_path: Path, name: str, kind: str) -> None:
    build_run(tmp_path / "run", 2)
    file = tmp_path / "run" / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        file.write_text("[" * 200_000 + "\n{}\n")
    with pytest.raises(StorageError, match=re.escape(str(file))):
        read_history(tmp_path / "run")
