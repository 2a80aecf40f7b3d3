"""The shards of a corpus: made once each, by an array of tasks or one after the other, and merged at the end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.scripts.conftest import Project

WORK = "data/books.shards"
TOKENIZER = ["tokenize", "books", "-o", f"{WORK}/tokenizer", "--only-tokenizer"]


def shard(number: int, count: int, tokenizer: str = f"{WORK}/tokenizer") -> list[str]:
    folder = f"{WORK}/{number}-of-{count}"
    return ["tokenize", "books", "-o", folder, "--shard", f"{number}/{count}", "--tokenizer", tokenizer]


def merging(count: int) -> list[str]:
    return ["data", "merge", *(f"{WORK}/{number}-of-{count}" for number in range(1, count + 1)), "-o", "data/books"]


@pytest.fixture
def books(project: Project) -> Project:
    folder = project.folder / "books"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.txt").write_text("It was calm.\n")
    return project


def test_the_tokenizer_is_made_once_then_the_shards_and_the_store(books: Project) -> None:
    done = books.run("tokenize_shards.sh", "-n", "3", "books", "--", "--errors", "skip")
    options = ["--errors", "skip"]
    assert books.calls == [[*TOKENIZER, *options], *([*shard(n, 3), *options] for n in (1, 2, 3)), merging(3)]
    assert done.returncode == 0, done.stderr
    assert [line.split("s  ")[1] for line in done.stdout.splitlines()[:-1]] == [
        "shard 1 of 3",
        "shard 2 of 3",
        "shard 3 of 3",
        "data/books",
    ]
    assert done.stdout.splitlines()[-1] == "4 done, 0 failed"


def test_a_given_tokenizer_is_not_trained_and_duplicates_go_while_merging(books: Project) -> None:
    assert books.run("tokenize_shards.sh", "-t", "bytes", "--deduplicate", "-n", "1", "books").returncode == 0
    assert books.calls == [shard(1, 1, "bytes"), [*merging(1), "--deduplicate"]]


def test_after_a_failure_the_same_command_makes_what_is_missing(books: Project) -> None:
    books.exits = {"2/3": [4, 0]}
    done = books.run("tokenize_shards.sh", "-n", "3", "books")
    assert done.returncode == 1
    assert "failed (exit 4)" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 done, 1 failed"
    assert not any(call[0] == "data" for call in books.calls)
    calls = len(books.calls)
    assert books.run("tokenize_shards.sh", "-n", "3", "books").returncode == 0
    assert books.calls[calls:] == [shard(2, 3), merging(3)]


def test_another_corpus_or_other_options_start_over(books: Project) -> None:
    books.run("tokenize_shards.sh", "-n", "2", "books")
    for change, options in (("", ("--errors", "skip")), ("It was calm at sea.\n", ("--errors", "skip"))):
        calls = len(books.calls)
        if change:
            (books.folder / "books" / "a.txt").write_text(change)
        done = books.run("tokenize_shards.sh", "-n", "2", "books", "--", *options)
        assert "starting again" in done.stderr
        assert books.calls[calls:] == [
            [*TOKENIZER, *options], [*shard(1, 2), *options], [*shard(2, 2), *options], merging(2)
        ]  # fmt: skip


def test_a_circle_of_links_in_the_corpus_is_passed_over(books: Project) -> None:
    (books.folder / "books" / "loop").symlink_to(".")
    for calls in (4, 5):
        done = books.run("tokenize_shards.sh", "-n", "2", "books")
        assert done.returncode == 0, done.stderr
        assert len(books.calls) == calls


def test_a_tokenizer_that_cannot_be_trained_ends_it_with_its_exit_code(books: Project) -> None:
    books.exits = {"--only-tokenizer": [3]}
    assert books.run("tokenize_shards.sh", "-n", "2", "books").returncode == 3
    assert len(books.calls) == 1


def test_a_task_of_an_array_makes_its_shard_alone(books: Project) -> None:
    array = {"SLURM_ARRAY_TASK_COUNT": "2"}
    books.exits = {"2/2": [75, 0]}
    assert books.run("tokenize_shards.sh", "books", **array, SLURM_ARRAY_TASK_ID="2").returncode == 75
    assert books.run("tokenize_shards.sh", "books", **array, SLURM_ARRAY_TASK_ID="1").returncode == 0
    # A single task that is submitted again needs the number of shards.
    again = books.run("tokenize_shards.sh", "-n", "2", "books", SLURM_ARRAY_TASK_COUNT="1", SLURM_ARRAY_TASK_ID="2")
    assert again.returncode == 0
    assert books.calls == [TOKENIZER, shard(2, 2), shard(1, 2), shard(2, 2)]
    done = books.run("tokenize_shards.sh", "books", **array, SLURM_ARRAY_TASK_ID="1")
    assert (done.returncode, len(books.calls)) == (0, 4)
    assert "exists already" in done.stderr
    assert books.run("tokenize_shards.sh", "-n", "2", "books").returncode == 0
    assert books.calls[4:] == [merging(2)]


def test_tasks_that_begin_together_train_one_tokenizer(books: Project) -> None:
    command = [books.folder / "scripts" / "tokenize_shards.sh", "-n", "4", "books"]
    environment = {**books.environment, "PRETEND": '{"exits": {}, "losses": []}'}
    tasks = [
        subprocess.Popen(command, cwd=books.folder, env={**environment, "SLURM_ARRAY_TASK_ID": str(number)})
        for number in range(1, 5)
    ]
    assert [task.wait(60) for task in tasks] == [0, 0, 0, 0]
    assert books.calls[0] == TOKENIZER
    assert sorted(books.calls[1:]) == [shard(number, 4) for number in range(1, 5)]


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (("-n", "0", "books"), {}, "-n is 0"),
        (("-j", "many", "books"), {}, "-j is many"),
        (("books", "more"), {}, "two corpora, books and more"),
        (("nowhere/*.txt",), {}, "for a pattern give the store with -o"),
        (("-n", "2", "books"), {"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_ID is 3 but there are only 2 shards"),
        (("-n", "2", "books"), {"SLURM_ARRAY_TASK_ID": "0"}, "SLURM_ARRAY_TASK_ID is 0"),
    ],
)
def test_wrong_use_is_one_sentence(
    books: Project, arguments: tuple[str, ...], variables: dict[str, str], words: str
) -> None:
    done = books.run("tokenize_shards.sh", *arguments, **variables)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert books.calls == []


def test_a_signal_reaches_the_shards_and_the_rest_is_left_for_the_next_time(books: Project, tmp_path: Path) -> None:
    waiting = tmp_path / "waiting"
    waiting.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, signal, sys, time\n"
        "if '--shard' in sys.argv:\n"
        "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "    pathlib.Path('began-' + sys.argv[6][0]).touch()\n"
        "    time.sleep(50)\n"
    )
    waiting.chmod(0o755)
    command = [books.folder / "scripts" / "tokenize_shards.sh", "-n", "3", "-j", "2", "books"]
    script = subprocess.Popen(
        command, cwd=books.folder, env={**books.environment, "REVLM": str(waiting)}, stdout=subprocess.PIPE, text=True
    )
    while not all((books.folder / f"began-{number}").exists() for number in (1, 2)):
        time.sleep(0.05)
        assert script.poll() is None
    os.kill(script.pid, signal.SIGTERM)
    out, _ = script.communicate(timeout=30)
    assert script.returncode == 75
    assert not (books.folder / "began-3").exists()
    assert out.splitlines()[-1] == "0 done, 2 failed"
