"""The batch scripts call revlm once for each item, go on after a failure, and say what failed."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.scripts.conftest import SCRIPTS, Project


@contextmanager
def interruptible_children() -> Iterator[None]:
    """Lets programs that are started here react to SIGINT, which those of a job in the background would ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "script", ["tokenize_many.sh", "tokenize_shards.sh", "train_many.sh", "sweep.sh", "collect_reports.sh", "demo.sh"]
)
def test_help_and_wrong_use(project: Project, script: str) -> None:
    help_text = project.run(script, "--help")
    assert help_text.returncode == 0
    assert help_text.stdout.startswith(f"Usage: scripts/{script}")
    wrong = project.run(script, "--nonsense")
    assert wrong.returncode == 2
    assert "--nonsense" in wrong.stderr
    assert project.calls == []


@pytest.mark.parametrize("script", ["tokenize_many.sh", "tokenize_shards.sh", "train_many.sh", "sweep.sh"])
def test_nothing_named_is_wrong_use(project: Project, script: str) -> None:
    assert project.run(script).returncode == 2


def test_revlm_is_taken_from_the_environment_then_the_project_then_the_path(project: Project, tmp_path: Path) -> None:
    for name, folder in (("own", project.folder / ".venv/bin"), ("named", tmp_path / "named")):
        folder.mkdir(parents=True)
        (folder / "revlm").write_text(f"#!/bin/sh\necho {name} {folder}\n")
        (folder / "revlm").chmod(0o755)
    named = project.run("train_many.sh", "a", REVLM=str(tmp_path / "named" / "revlm"))
    assert named.stdout.startswith("named")
    assert project.run("train_many.sh", "a").stdout.startswith("own")
    (project.folder / ".venv/bin/revlm").unlink()
    assert project.run("train_many.sh", "a").returncode == 0
    assert project.calls == [["train", "a"]]


def test_tokenize_many_goes_on_and_sums_up(project: Project) -> None:
    project.exits = {"texts/bad one": [3]}
    done = project.run(
        "tokenize_many.sh", "-o", "out", "texts/a", "texts/bad one", "texts/c/", "--", "--vocab-size", "300"
    )
    assert project.calls == [
        ["tokenize", "texts/a", "-o", "out/a", "--vocab-size", "300"],
        ["tokenize", "texts/bad one", "-o", "out/bad one", "--vocab-size", "300"],
        ["tokenize", "texts/c/", "-o", "out/c", "--vocab-size", "300"],
    ]
    assert done.returncode == 1
    assert "failed (exit 3)" in next(line for line in done.stdout.splitlines() if "bad one" in line)
    assert done.stdout.splitlines()[-1] == "2 done, 1 failed"


def test_two_corpora_of_one_name_would_overwrite_each_other(project: Project) -> None:
    done = project.run("tokenize_many.sh", "english/novels", "russian/novels")
    assert done.returncode == 2
    assert "data/novels" in done.stderr
    assert project.calls == []


def test_train_many_starts_an_interrupted_run_again_and_goes_on_after_a_failure(project: Project) -> None:
    project.exits = {"interrupted": [75, 75, 0], "broken": [5]}
    done = project.run("train_many.sh", "broken", "interrupted", "good", "--", "seed=7")
    assert [call[1] for call in project.calls] == [
        "broken",
        "interrupted",
        "interrupted",
        "interrupted",
        "good",
    ]
    assert all(call[2:] == ["seed=7"] for call in project.calls)
    assert done.returncode == 1
    assert "failed (exit 5)" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 done, 1 failed"


def test_train_many_does_not_try_for_ever(project: Project) -> None:
    project.exits = {"interrupted": [75]}
    done = project.run("train_many.sh", "interrupted", TRIES="3")
    assert len(project.calls) == 3
    assert done.returncode == 1
    assert "failed (exit 75)" in done.stdout
    assert project.run("train_many.sh", "a", TRIES="none").returncode == 2


@pytest.mark.parametrize("signal_name", ["INT", "TERM"])
def test_a_signal_stops_the_list_after_the_checkpoint(project: Project, tmp_path: Path, signal_name: str) -> None:
    stopping = tmp_path / "stopping"
    # As in a terminal, where Ctrl-C reaches the script and the training alike.
    stopping.write_text(f'#!/bin/sh\necho "$2" >> asked\nkill -{signal_name} "$PPID"\nexit 75\n')
    stopping.chmod(0o755)
    with interruptible_children():
        done = project.run("train_many.sh", "first", "second", REVLM=str(stopping))
    assert done.returncode == 75
    assert (project.folder / "asked").read_text() == "first\n"
    assert "the same command again" in done.stderr


def test_all_done_is_exit_0(project: Project) -> None:
    done = project.run("train_many.sh", "a", "b")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "2 done, 0 failed"


def test_collect_reports_gathers_pages_and_pictures_with_an_index(project: Project) -> None:
    for name in ("first", "R&D", "broken"):
        (project.folder / "runs" / name).mkdir(parents=True)
        (project.folder / "runs" / name / "metrics.jsonl").touch()
    project.exits = {"runs/broken": [6]}
    done = project.run("collect_reports.sh", "-o", "out")
    assert sorted(call[1] for call in project.calls) == ["runs/R&D", "runs/broken", "runs/first"]
    assert done.returncode == 1
    assert "failed (exit 6)" in done.stdout
    out = project.folder / "out"
    for name in ("first", "R&D"):
        assert {path.name for path in (out / name).iterdir()} == {"report.html", "loss.png", "memory.png"}
    index = (out / "index.html").read_text()
    assert 'href="first/report.html"' in index
    assert 'src="R&amp;D/memory.png"' in index
    assert "broken" not in index


def test_collect_reports_takes_named_runs_and_refuses_none(project: Project) -> None:
    assert project.run("collect_reports.sh").returncode == 2
    (project.folder / "elsewhere").mkdir()
    assert project.run("collect_reports.sh", "elsewhere/").returncode == 0
    assert (project.folder / "reports" / "elsewhere" / "report.html").exists()
    assert project.run("collect_reports.sh", "a/run", "b/run").returncode == 2


def test_a_sweep_trains_every_combination_in_a_folder_of_its_own(project: Project) -> None:
    project.exits = {"seed=2": [5]}
    values = ("model.layers=[local],[local,lsh]", "seed=1,2")
    done = project.run("sweep.sh", "recipes/tiny.yaml", *values, "--", "data.path=tokens")
    chosen = [(layers, seed) for layers in ("[local]", "[local,lsh]") for seed in ("1", "2")]
    assert project.calls == [
        ["train", "recipes/tiny.yaml", f"model.layers={layers}", f"seed={seed}",
         f"output_dir=runs/tiny-sweep/model.layers={layers}_seed={seed}", "data.path=tokens"]
        for layers, seed in chosen
    ]  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "2 done, 2 failed"


def test_a_sweep_needs_a_recipe_and_values(project: Project) -> None:
    for arguments in (("seed=1,2",), ("tiny",), ("tiny", "other", "seed=1")):
        assert project.run("sweep.sh", *arguments).returncode == 2
    assert project.calls == []


def test_a_sweep_is_stopped_by_a_signal(project: Project, tmp_path: Path) -> None:
    stopping = tmp_path / "stopping"
    # To the script that calls it, and to the one which calls that.
    stopping.write_text(
        '#!/bin/sh\necho "$3" >> asked\nkill -TERM "$PPID" "$(ps -o ppid= "$PPID" | tr -d " ")"\nexit 75\n'
    )
    stopping.chmod(0o755)
    done = project.run("sweep.sh", "tiny", "seed=1,2", REVLM=str(stopping))
    assert done.returncode == 75
    assert (project.folder / "asked").read_text() == "seed=1\n"


@pytest.mark.parametrize("script", ["slurm_train.sbatch", "slurm_tokenize_array.sbatch"])
def test_a_batch_job_is_sent_from_the_folder_of_the_project_by_sbatch(
    project: Project, tmp_path: Path, script: str
) -> None:
    command = ["bash", project.folder / "scripts" / script, "tiny"]
    for folder, words in ((tmp_path, "submit"), (project.folder, "start it with sbatch")):
        done = subprocess.run(command, cwd=folder, env=project.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert words in done.stderr
    assert project.calls == []


def test_the_example_for_skypilot_is_whole() -> None:
    """Its keys and shell code; what a cloud makes of it is not tried here."""
    task = yaml.safe_load((SCRIPTS / "skypilot.yaml").read_text())
    assert task.keys() <= {"name", "resources", "num_nodes", "envs", "workdir", "file_mounts", "setup", "run"}
    for code in (task["setup"], task["run"]):
        checked = subprocess.run(
            [shutil.which("shellcheck") or Path(sys.executable).parent / "shellcheck", "--shell=bash", "-"],
            input=code, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout
    used = set(re.findall(r"\$([A-Z_]+)", task["run"]))
    assert used - task["envs"].keys() == {
        "SKYPILOT_NUM_NODES", "SKYPILOT_NODE_RANK", "SKYPILOT_NUM_GPUS_PER_NODE", "SKYPILOT_NODE_IPS"
    }  # fmt: skip
    assert task["envs"].keys() <= used
