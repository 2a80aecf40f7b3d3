import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from revlm.errors import StorageError
from revlm.report.bins import Bins
from revlm.report.history import read_history
from tests.journal_records import step_record
from tests.report.builder import append_line, bare_step, build_run, write_samples


def test_everything_in_the_folder_is_read(tmp_path: Path) -> None:
    history = read_history(build_run(tmp_path / "novels", 45))
    assert history.step_numbers.tolist() == list(range(1, 46))
    assert history.journal.validations.highs("step").tolist() == [20, 40]
    assert [(samples.step, len(samples.samples)) for samples in history.samples] == [(20, 2), (40, 2)]
    assert history.name == "novels"
    assert history.setting("model.n_layers") == 4
    assert history.setting("model.no_such_key") is None
    assert history.environment["device.cores"] == 2
    assert history.notes == []


def test_a_torn_last_line_is_being_written_and_does_not_count(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 5)
    with (run / "metrics.jsonl").open("a") as journal:
        journal.write('{"event": "step", "step": 6, "lo')
    assert read_history(run).journal.n_steps == 5


def test_a_broken_line_in_the_middle_is_an_error_with_its_number(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 5)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    lines[2] = lines[2][:20]
    (run / "metrics.jsonl").write_text("\n".join(lines))
    with pytest.raises(StorageError, match=r"metrics\.jsonl, line 3 is not the JSON that a run writes"):
        read_history(run)


def test_a_step_that_stands_after_a_later_one_is_an_error(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 6)
    append_line(run, step_record(5))
    with pytest.raises(StorageError, match="step 5 stands after step 6"):
        read_history(run)


def test_steps_that_were_passed_over_are_gaps_and_a_note(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 3)
    for step in (4, 5):
        append_line(run, bare_step(step))
    history = read_history(run)
    assert np.isnan(history.series("loss")[3:]).all()
    assert history.notes == ["2 steps were passed over without an update, the first at 4: not finite."]


def test_many_steps_are_read_into_bins_that_lose_no_sum_and_no_peak(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    records = [step_record(step, tokens=step, memory_peak_bytes=step, loss=1 / step) for step in range(1, 10_001)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    history = read_history(run)
    assert history.journal.n_steps == 10_000
    assert history.journal.steps.width == 4
    assert len(history.step_numbers) == 2500
    assert history.step_numbers[-1] == 10_000
    assert history.tokens_seen[-1] == 10_000 * 10_001 / 2
    assert history.peaks("memory_peak_bytes").max() == 10_000
    np.testing.assert_allclose(history.series("loss")[0], np.mean([1, 1 / 2, 1 / 3, 1 / 4]))
    assert (history.journal.steps.lows("loss")[0], history.journal.steps.highs("loss")[0]) == (1 / 4, 1)


def test_layers_that_come_and_go_keep_their_columns(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    (run / "metrics.jsonl").unlink()
    for step, layers in ((1, ()), (2, (1, 3)), (3, (3,)), (4, (1, 3)), (5, (5, 1))):
        uses = [
            {"layer": layer, "bucket_fill": layer / 10, "empty_query_share": None, "sink_share": 0.5}
            for layer in layers
        ]
        append_line(run, step_record(step, layers=uses))
    uses = read_history(run).journal.uses
    np.testing.assert_array_equal(uses.means((1, "bucket_fill")), [np.nan, 0.1, np.nan, 0.1, 0.1])
    np.testing.assert_array_equal(uses.means((3, "bucket_fill")), [np.nan, 0.3, 0.3, 0.3, np.nan])
    np.testing.assert_array_equal(uses.means((5, "bucket_fill")), [np.nan, np.nan, np.nan, np.nan, 0.5])
    assert np.isnan(uses.means((1, "empty_query_share"))).all()


def test_layers_that_change_at_every_step_are_refused_before_they_fill_memory(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    nothing = {"bucket_fill": None, "empty_query_share": None, "sink_share": None}
    records = [step_record(step, layers=[{"layer": step % 1000, **nothing}]) for step in range(1, 300)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(StorageError, match="layers that its steps record change more than 100 times"):
        read_history(run)


def test_thousands_of_columns_have_fewer_bins() -> None:
    bins = Bins(range(5000))
    for row in range(1000):
        bins.add(np.full((1, 5000), float(row)))
    assert len(bins.sums(0)) <= 256
    assert bins.sums(4999).sum() == 999 * 1000 / 2
    assert bins.highs(0).max() == 999


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
    assert [samples.step for samples in history.samples] == [20]
    assert [note.partition(" ")[0] for note in history.notes] == ["step-00000040.json", "step-00000060.json"]
    assert all("is left out: it is not" in note for note in history.notes)


def test_the_samples_of_the_newest_steps_are_read(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    for step in range(1, 31):
        write_samples(run, step)
    history = read_history(run)
    assert [samples.step for samples in history.samples] == list(range(11, 31))
    assert "newest 20 of 30 steps" in history.notes[0]


def test_the_recipe_is_read_as_training_reads_it(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 1)
    (run / "recipe.yaml").write_text("output_dir: 2024-13-45\noptimizer: {lr: 3e-4}\ndata: {packing: off}\n")
    history = read_history(run)
    assert history.setting("output_dir") == "2024-13-45"
    assert history.setting("optimizer.lr") == 3e-4
    assert history.setting("data.packing") == "off"


@pytest.mark.parametrize("kind", ["pipe", "device", "nested"])
@pytest.mark.parametrize("name", ["metrics.jsonl", "recipe.yaml"])
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
