"""Every single bit of a checkpoint and of a run's recipe and tokenizer: a flip is named, none passes unnoticed."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from revlm.corpus import Tokenizer
from revlm.errors import DataError, StorageError
from revlm.generation import load_model
from revlm.runs import list_checkpoints, load_checkpoint, load_run_recipe, save_checkpoint, verify_checkpoint
from revlm.runs.folder import RunFolder
from tests.tiny_run import write_run

pytestmark = pytest.mark.slow


def flipped(path: Path) -> Iterator[None]:
    """Yields after each flip of one bit of a file, and at the end gives the file back."""
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        yield
    path.write_bytes(whole)


def count_named(path: Path, read: Callable[[], object]) -> Counter[str]:
    """How many flips of a file `read` named, with which error."""
    counts: Counter[str] = Counter()
    for _ in flipped(path):
        try:
            read()
        except (StorageError, DataError) as error:
            counts[f"exit {error.exit_code}"] += 1
        else:
            counts["unnoticed"] += 1
    print(f"{path.name}: {sum(counts.values()):,} flips, {dict(counts)}")
    return counts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose checkpoint is small enough to read it for each of its bits."""
    run = write_run(tmp_path / "run")
    state = load_checkpoint(list_checkpoints(run)[-1], groups=()).state
    shutil.rmtree(run / "checkpoints")
    tensors = {"model": {"weight": torch.arange(6.0)}, "random": {"cpu": torch.arange(9, dtype=torch.uint8)}}
    save_checkpoint(run, 3, tensors, state, keep_last=1)
    return run


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "model.safetensors", "random.safetensors"])
def test_every_bit_of_a_checkpoint(run: Path, name: str) -> None:
    [checkpoint] = list_checkpoints(run)
    counts = count_named(checkpoint / name, lambda: load_checkpoint(checkpoint))
    assert set(counts) == {"exit 6"}
    assert verify_checkpoint(checkpoint) == []


def test_every_bit_of_a_recipe(run: Path) -> None:
    counts = count_named(run / "recipe.yaml", lambda: load_run_recipe(RunFolder(run)))
    assert set(counts) == {"exit 6"}


def test_every_bit_of_a_tokenizer(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    own = Tokenizer.load(run).fingerprint

    def read() -> None:
        if Tokenizer.load(run).fingerprint != own:  # what `load_model` compares after it
            raise StorageError("another tokenizer")

    counts = count_named(run / "tokenizer.json", read)
    assert set(counts) <= {"exit 3", "exit 6"}
    load_model(run, "cpu")
