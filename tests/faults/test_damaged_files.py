"""Truncated and bit-flipped files are named and never used; what is whole is gone on from."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from revlm.cli import main
from tests.faults import forks
from tests.faults.forks import Copies
from tests.faults.training import TRAIN, assert_undisturbed, outcome, write_recipe


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGES: list[Callable[[Path], None]] = [flip_a_bit, cut, Path.unlink]
CHECKPOINT_FILES = (
    "manifest.json",
    "model.safetensors",
    "optimizer.safetensors",
    "random.safetensors",
    "state.json",
)
STORE_FILES = ("data-00000-of-00001.arrow", "dataset_info.json", "documents.jsonl", "state.json", "tokenizer.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_recipe(tmp_path_factory.mktemp("damaged") / "finished")
    assert forks.run(folder, *TRAIN).code == 0
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Copies(finished, tmp_path / "copies").make("copy")


def test_the_files_are_all_there_are(finished: Path) -> None:
    found = {path.name for path in (finished / "run" / "checkpoints" / "step-00000006").iterdir()}
    assert found == set(CHECKPOINT_FILES)
    found = {path.name for path in (finished / "tokens").iterdir()}
    assert found == {*STORE_FILES, "manifest.json", "skipped.jsonl"}


@pytest.mark.parametrize("file", CHECKPOINT_FILES)
@pytest.mark.parametrize("damage", [flip_a_bit, *(pytest.param(each, marks=pytest.mark.slow) for each in DAMAGES[1:])])
def test_a_damaged_checkpoint_is_passed_over(
    finished: Path, copy: Path, file: str, damage: Callable[[Path], None]
) -> None:
    damage(copy / "run" / "checkpoints" / "step-00000006" / file)
    again = forks.run(copy, *TRAIN)
    assert again.code == 0, again.stderr
    said = " ".join(again.stderr.split())
    assert "skipped the checkpoint run/checkpoints/step-00000006, which is damaged: " in said
    assert file in said or (file == "manifest.json" and "does not have the sha256" in said)
    assert "resuming run from step 4" in said
    assert_undisturbed(outcome(copy), outcome(finished), file)


@pytest.mark.parametrize("file", STORE_FILES)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_damaged_token_store_is_not_used(
    copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str,
    damage: Callable[[Path], None],
    command: str,
) -> None:
    monkeypatch.chdir(copy)
    damage(copy / "tokens" / file)
    before = outcome(copy)
    assert main([*TRAIN, "train.max_steps=7"] if command == "train" else ["evaluate", "--run", "run"]) == 3
    (sentence,) = capsys.readouterr().err.splitlines()
    assert Path(file).stem in sentence
    assert "revlm tokenize" in sentence
    assert_undisturbed(outcome(copy), before, file)


def test_a_changed_manifest_of_tokens_is_damage(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy)
    manifest = copy / "tokens" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"documents": 4', '"documents": 5'))
    assert main([*TRAIN]) == 3
    assert "manifest.json is damaged (its content changed since it was written)" in capsys.readouterr().err


class Planted:
    """What makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("command", ["train", "evaluate", "generate", "report", "checkpoint"])
def test_a_planted_pickle_is_never_loaded(copy: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Under the names of every file that a run or other trainers have, in the place of some of them, and beside."""
    monkeypatch.chdir(copy)
    run, ran = copy / "run", copy / "ran"
    content = pickle.dumps(Planted(ran))
    pickle.loads(content)
    ran.unlink()  # it would be found
    newest = run / "checkpoints" / "step-00000006"
    shutil.copytree(newest, run / "checkpoints" / "step-00000005")
    for folder in (run, run / "checkpoints", newest, run / "samples", copy / "tokens"):
        for name in ("state.pkl", "optimizer.pt", "model.bin", "training_args.bin", "memory-snapshot.pickle"):
            (folder / name).write_bytes(content)
    for name in ("model.safetensors", "state.json"):
        (newest / name).write_bytes(content)
    commands = {
        "train": ["train", "recipe.yaml"],
        "evaluate": ["evaluate", "--run", "run"],
        "generate": ["generate", "--run", "run", "--prompt", "a", "--max-tokens", "2"],
        "report": ["report", "run"],
        "checkpoint": ["checkpoint", "verify", "--run", "run"],
    }
    assert main(commands[command]) == (6 if command == "checkpoint" else 0)
    assert not ran.exists()
