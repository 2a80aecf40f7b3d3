"""A small run for the faults of training, and what must be equal at its end however it came there."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.faults.forks import Copies
from tests.tiny_run import write_texts, write_tokens

RECIPE = """
output_dir: run
model: {d_model: 16, n_layers: 2, n_heads: 2, d_ff: 32, window: 8, n_rounds: 2, dropout: 0.1}
data: {path: tokens, seq_len: 256, packing: fixed, validation: 0.2}
optimizer: {lr: 1e-2}
lr_scheduler: {warmup_steps: 2}
train: {max_steps: 6, precision: fp32, device: cpu, gradient_accumulation_steps: 2}
evaluate: {every: 3, max_tokens: 512, sample_tokens: 3}
checkpoint: {every: 2, keep_last: 1, keep_every: 4}
"""
TRAIN = ("train", "recipe.yaml")
TIMELESS = ("event", "step", "epoch", "tokens", "documents", "loss", "bits_per_byte", "learning_rate", "grad_norm")


def write_recipe(folder: Path) -> Path:
    """A new folder with a recipe and its tokens, for `TRAIN`."""
    folder.mkdir()
    write_tokens(folder / "tokens", seed=1)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def copies_of_recipe(folders: pytest.TempPathFactory) -> Copies:
    """Copies of a folder with a recipe and its tokens."""
    place = folders.mktemp("copies")
    return Copies(write_recipe(place / "before"), place / "copies")


def write_streaming_recipe(folder: Path, packing: str) -> Path:
    """The same on the texts themselves, which all copies of the folder share."""
    folder.mkdir()
    texts = write_texts(folder.parent / "texts", seed=1)
    stream = f"{{stream: {texts}, tokenizer: bytes, seq_len: 256, packing: {packing}, validation: 0.5}}"
    (folder / "recipe.yaml").write_text(re.sub("(?m)^data: .*", f"data: {stream}", RECIPE))
    return folder


def outcome(folder: Path) -> dict[str, Any]:
    """What a finished run must share with an undisturbed one: checkpoints and samples to the byte, records less times.

    Raises where a line of the journal is torn, or where a file is left that an undisturbed run has not.
    """
    run = folder / "run"
    files = {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in {"metrics.jsonl", ".lock"}
    }
    journal = (run / "metrics.jsonl").read_bytes()
    assert journal.endswith(b"\n")
    records = [json.loads(line) for line in journal.splitlines()]
    return {"files": files, "records": [{key: record.get(key) for key in TIMELESS} for record in records]}


def assert_undisturbed(found: dict[str, Any], expected: dict[str, Any], place: object) -> None:
    """Compares two outcomes; `place` says which one this is."""
    assert found["files"] == expected["files"], place
    assert found["records"] == expected["records"], place
