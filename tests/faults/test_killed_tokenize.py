"""`revlm tokenize`, killed at any moment and run again, writes the bytes of an undisturbed run and leaves no more."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from revlm.corpus import tokenize_corpus
from revlm.corpus.reading import is_store
from tests.faults import forks
from tests.faults.forks import Copies

WORDS = ("the", "keeper", "counted", "ships", "twice", "at", "dusk", "and", "once", "before", "sleep", "nobody")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def text(seed: int, words: int) -> str:
    chance = random.Random(seed)
    return "".join(chance.choice(WORDS) + chance.choice("    ,.\n") for _ in range(words))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Texts, one that is dropped in the middle, and rows."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(text(number, 400))
    (folder / "1a.txt").write_text(text(7, 300) + "\0")
    rows = "".join(json.dumps({"text": text(10 + number, 50)}) + "\n" for number in range(3))
    (folder / "rows.jsonl").write_text(rows + "no JSON\n")
    return folder


def killed_everywhere(before: Path, step: int, *arguments: str) -> int:
    """Returns how often the command was killed; a store that is there before must be there, whole, after each kill."""
    stores = [path.name for path in before.iterdir() if is_store(path)]
    runs = forks.killed_at_points(Copies(before, before.parent / "copies"), step, *arguments)
    undisturbed = contents(next(runs)[0])
    assert any(name.endswith("manifest.json") for name in undisturbed)
    kills = 0
    for copy, _ in runs:
        kills += 1
        for store in stores:
            assert any(map(is_store, (copy / store, *copy.glob(f".{store}.*.previous")))), copy
        again = forks.run(copy, *arguments)
        assert again.code == 0, again.stderr
        assert contents(copy) == undisturbed, copy
    return kills


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 29])
def test_a_kill_at_any_point_of_the_writing(corpus: Path, tmp_path: Path, step: int) -> None:
    (tmp_path / "before").mkdir()
    arguments = ("tokenize", str(corpus), "-o", "store", "--vocab-size", "330", "--errors", "skip")
    assert killed_everywhere(tmp_path / "before", step, *arguments) > 60 / step


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 29])
def test_a_kill_while_an_older_store_is_replaced(corpus: Path, tmp_path: Path, step: int) -> None:
    tokenize_corpus(corpus / "0.txt", tmp_path / "before" / "store", tokenizer="bytes")
    arguments = ("tokenize", str(corpus / "2.txt"), "-o", "store", "--tokenizer", "bytes", "--replace")
    assert killed_everywhere(tmp_path / "before", step, *arguments) > 60 / step


def start(corpus: Path, store: Path) -> subprocess.Popen[bytes]:
    """Runs it with two workers, in a process group of its own."""
    command = [sys.executable, "-m", "revlm", "tokenize", str(corpus), "-o", str(store), "--workers", "2"]
    return subprocess.Popen(
        [*command, "--vocab-size", "390"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def write_corpus(folder: Path, words: int) -> Path:
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(text(number, words))
    return folder


def kill(running: subprocess.Popen[bytes]) -> None:
    """Kills the parent alone, which ends its workers too."""
    below = psutil.Process(running.pid).children(recursive=True) if running.poll() is None else []
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not psutil.wait_procs(below, timeout=60)[1]


@pytest.mark.parametrize("reached", ["workers", "tokenizer"])
def test_a_kill_with_workers(tmp_path: Path, reached: str) -> None:
    """When they have only just been started, and when they encode; the next run resumes, without workers."""
    corpus, store = write_corpus(tmp_path / "texts", 20_000), tmp_path / "store"
    running = start(corpus, store)
    while running.poll() is None and not (
        (tmp_path / ".store.partial" / "tokenizer").exists()
        if reached == "tokenizer"
        else len(workers_of(running)) == 2
    ):
        time.sleep(0.01)
    kill(running)
    for folder in (store, tmp_path / "undisturbed"):
        tokenize_corpus(corpus, folder, vocab_size=390)
    assert contents(store) == contents(tmp_path / "undisturbed")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_kill_at_20_random_times_with_workers(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "texts", 80_000)
    began = time.monotonic()
    assert start(corpus, tmp_path / "undisturbed").wait() == 0
    seconds = time.monotonic() - began
    undisturbed = contents(tmp_path / "undisturbed")
    chance = random.Random(3)
    for number in range(20):
        store = tmp_path / f"store {number}"
        running = start(corpus, store)
        time.sleep(chance.uniform(0.1, 1.0) * seconds)
        kill(running)
        assert start(corpus, store).wait() == 0
        assert contents(store) == undisturbed
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)])
def test_a_signal_to_all_processes_stops_where_the_same_command_resumes(tmp_path: Path, number: signal.Signals) -> None:
    """As `timeout` and batch systems send it, when the workers have only just been started."""
    corpus = tmp_path / "text.txt"
    corpus.write_text(text(1, 60_000))
    running = start(corpus, tmp_path / "store")
    while len(workers_of(running)) < 2:
        assert running.poll() is None
        time.sleep(0.01)
    os.killpg(running.pid, number)
    assert running.wait() == 75
    tokenize_corpus(corpus, tmp_path / "store", vocab_size=390)
    assert is_store(tmp_path / "store")


def workers_of(running: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [
            each
            for each in psutil.Process(running.pid).children()
            if any("spawn_main" in word for word in each.cmdline())
        ]
    return []
