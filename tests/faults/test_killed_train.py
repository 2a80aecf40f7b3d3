"""`revlm train` on a stream, killed in the middle and run again, ends with the weights of an undisturbed run."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from revlm.runs import RunFolder, list_checkpoints
from revlm.storage import sha256_of

WORDS = ("the", "keeper", "counted", "ships", "twice", "at", "dusk", "and", "once", "before", "sleep", "nobody")
RECIPE = """
model: {d_model: 16, n_layers: 2, n_heads: 2, d_ff: 32, window: 8, n_rounds: 2}
data: {stream: texts, tokenizer: bytes, seq_len: 300, validation: 0.2}
train: {max_steps: 60, precision: fp32, device: cpu}
evaluate: {every: 20, sample_tokens: 4}
checkpoint: {every: 4}
"""
PATIENCE_SECONDS = 120


def start(folder: Path, run: str, *overrides: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "revlm", "train", "stream.yaml", f"output_dir={run}", *overrides]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def final_weights(run: Path) -> str:
    newest = list_checkpoints(RunFolder.open(run))[-1]
    assert newest.name == "step-00000060"
    return sha256_of(newest / "model.safetensors")


@pytest.mark.parametrize("packing", ["whole", pytest.param("fixed", marks=pytest.mark.slow)])
def test_a_killed_stream_goes_on_where_it_stood(tmp_path: Path, packing: str) -> None:
    """Killed in its first epoch and in its second, some steps after a checkpoint."""
    chance = random.Random(1)
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(16):
        (texts / f"{number:02d}.txt").write_text(" ".join(chance.choices(WORDS, k=chance.randint(20, 250))))
    (tmp_path / "stream.yaml").write_text(RECIPE)
    override = f"data.packing={packing}"
    assert start(tmp_path, "undisturbed", override).wait(PATIENCE_SECONDS) == 0
    for steps, workers in ((10, 1), (42, 3)):
        running = start(tmp_path, "killed", override, f"data.workers={workers}")
        journal = tmp_path / "killed" / "metrics.jsonl"
        began = time.monotonic()
        while running.poll() is None and not (journal.exists() and journal.read_text().count('"step"') >= 2 * steps):
            assert time.monotonic() - began < PATIENCE_SECONDS
            time.sleep(0.001)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    assert start(tmp_path, "killed", override).wait(PATIENCE_SECONDS) == 0
    assert final_weights(tmp_path / "killed") == final_weights(tmp_path / "undisturbed")
