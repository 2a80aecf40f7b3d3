"""The batch jobs on a real Slurm: signalled, requeued, gone on with, and done as if nothing had been."""

import sys
import time
from pathlib import Path

import pytest

from revlm.runs import read_journal
from tests.faults.training import assert_undisturbed, outcome, write_recipe
from tests.several import command, ends_of_ranks
from tests.slurm.conftest import Cluster, program
from tests.tiny_run import write_texts

TRAIN, TOKENIZE = "scripts/slurm_train.sbatch", "scripts/slurm_tokenize_array.sbatch"


def fill(folder: Path) -> Path:
    """Puts a recipe and its tokens into a folder that may have something in it."""
    for path in write_recipe(folder.parent / f"{folder.name} before").iterdir():
        path.rename(folder / path.name)
    return folder


@pytest.mark.slow
def test_a_job_that_is_signalled_ends_with_the_weights_of_an_undisturbed_run(cluster: Cluster, tmp_path: Path) -> None:
    undisturbed = write_recipe(tmp_path / "undisturbed")
    ended = ends_of_ranks(2, command, [(undisturbed, "train", "recipe.yaml")] * 2)
    assert [each.value for each in ended] == [0, 0], ended
    fill(cluster.folder)
    revlm = program(cluster.folder / "slow", f'exec {sys.executable} -m tests.slurm.slowly "$@"')
    job = cluster.submit("--ntasks=2", TRAIN, "recipe.yaml", REVLM=str(revlm))
    journal = cluster.folder / "run" / "metrics.jsonl"
    while not any(record["step"] >= 3 for record in read_journal(journal)):
        assert cluster.job(job)["JobState"] in ("PENDING", "RUNNING"), log(cluster, job)
        time.sleep(0.1)
    cluster.call("scancel", "--signal=USR1", job)  # as Slurm does before the time is over
    found = cluster.ended(job)
    said = log(cluster, job)
    assert (found["JobState"], found["Restarts"], found["ExitCode"]) == ("COMPLETED", "1", "0:0"), said
    assert "start 1 of job" in said  # what the second start said comes after it
    assert said.index("stopped by SIGUSR1") < said.index("goes back into the queue") < said.index("start 2 of job")
    assert " from step " in said
    assert_undisturbed(outcome(cluster.folder), outcome(undisturbed), said)


@pytest.mark.slow
def test_the_tasks_of_a_job_share_each_example(cluster: Cluster, tmp_path: Path) -> None:
    undisturbed = write_recipe(tmp_path / "undisturbed")
    train = ("train", "recipe.yaml", "train.sequence_parallel=2")
    ended = ends_of_ranks(2, command, [(undisturbed, *train)] * 2)
    assert [each.value for each in ended] == [0, 0], ended
    fill(cluster.folder)
    job = cluster.submit("--ntasks=2", TRAIN, *train[1:])
    assert cluster.ended(job)["JobState"] == "COMPLETED", log(cluster, job)
    assert_undisturbed(outcome(cluster.folder), outcome(undisturbed), log(cluster, job))


@pytest.mark.parametrize(
    ("exit_code", "tries", "starts"), [pytest.param(75, "2", 2, marks=pytest.mark.slow), (5, "9", 1)]
)
def test_only_an_interrupted_job_is_requeued_and_not_for_ever(
    cluster: Cluster, exit_code: int, tries: str, starts: int
) -> None:
    revlm = program(cluster.folder / "failing", f"exit {exit_code}")
    job = cluster.submit(TRAIN, "recipe.yaml", REVLM=str(revlm), TRIES=tries)
    found = cluster.ended(job)
    assert (found["JobState"], found["ExitCode"]) == ("FAILED", f"{exit_code}:0")
    assert log(cluster, job).count(f"of job {job}, of at most {tries}") == starts


def test_a_job_without_a_recipe_is_wrong_use(cluster: Cluster) -> None:
    job = cluster.submit(TRAIN)
    assert cluster.ended(job)["ExitCode"] == "2:0"
    assert "no recipe was named" in log(cluster, job)


def test_one_process_is_not_told_from_a_run_without_slurm(cluster: Cluster) -> None:
    revlm = program(cluster.folder / "telling", 'echo "$OMP_NUM_THREADS: $*"')
    job = cluster.submit("--cpus-per-task=2", TRAIN, "a recipe", "seed=7", REVLM=str(revlm), OMP_NUM_THREADS="")
    assert cluster.ended(job)["JobState"] == "COMPLETED"
    assert "2: train a recipe seed=7\n" in log(cluster, job)


@pytest.mark.slow
def test_an_array_makes_the_store_of_the_whole_corpus(cluster: Cluster) -> None:
    write_texts(cluster.folder / "books")
    ours = cluster.environment["REVLM"]
    first_time = 'case "$*" in *" 2/3 "*) [ -n "$SLURM_RESTART_COUNT" ] || exit 75 ;; esac'
    revlm = program(cluster.folder / "interrupted", f'{first_time}\nexec {ours} "$@"')
    shards = ("-t", "bytes", "books", "--", "--workers", "1")
    array = cluster.submit("--array=1-3", "--cpus-per-task=1", TOKENIZE, *shards, REVLM=str(revlm))
    merging = f"scripts/tokenize_shards.sh -n 3 {' '.join(shards)}"
    merged = cluster.submit(f"--dependency=afterok:{array}", "--wrap", merging)
    assert cluster.ended(merged)["JobState"] == "COMPLETED"
    assert "task 2 goes back into the queue" in (cluster.folder / f"revlm-tokenize-{array}-2.log").read_text()
    cluster.call(ours, "tokenize", "books", "-o", "whole", "--tokenizer", "bytes")
    found, expected = (cluster.folder / name / "manifest.json" for name in ("data/books", "whole"))
    assert found.read_bytes() == expected.read_bytes()


def test_a_sweep_submits_a_job_for_each_combination(cluster: Cluster) -> None:
    revlm = program(cluster.folder / "telling", 'echo "$*"')
    sweep = ("scripts/sweep.sh", "--slurm", "tiny", "optimizer.lr=1e-2,1e-3", "--", "--time=00:05:00", "seed=7")
    done = cluster.call(*sweep, REVLM=str(revlm))
    assert done.splitlines()[-1] == "2 done, 0 failed"
    for lr in ("1e-2", "1e-3"):
        name = f"optimizer.lr={lr}"
        path = wait_for(cluster.folder, f"{name}-*.log", f"train tiny {name} output_dir=runs/tiny-sweep/{name} seed=7")
        assert cluster.job(path.stem.rpartition("-")[2])["TimeLimit"] == "00:05:00"


def wait_for(folder: Path, pattern: str, line: str) -> Path:
    for _ in range(300):
        for path in folder.glob(pattern):
            if line in path.read_text().splitlines():
                return path
        time.sleep(0.2)
    raise AssertionError(f"no {pattern} has {line}")


def log(cluster: Cluster, job: str) -> str:
    return (cluster.folder / f"revlm-{job}.log").read_text()
