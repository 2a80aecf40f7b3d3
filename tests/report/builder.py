"""Run folders as training writes them, with invented but realistic numbers."""

import json
import math
import random
from pathlib import Path
from typing import Any

RECIPE = """\
output_dir: runs/{name}
seed: 42
model: {{d_model: 256, n_layers: 4, n_heads: 4, d_ff: 1024, layers: [local, lsh], window: 64, n_rounds: 4}}
data: {{path: data/novels, seq_len: 65536, packing: whole, validation: 0.05}}
train: {{max_steps: {max_steps}, gradient_accumulation_steps: 1, precision: fp32, device: cpu}}
"""
ENVIRONMENT = {"revlm": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "device": {"name": "cpu", "cores": 2}}
MEGABYTE = 10**6
CATEGORIES = ("weights", "optimizer", "streams", "attention", "attention_workspace", "tiles", "loss", "kept", "other")
PLAN = {
    "seq_len": 65536,
    "process_bytes": 375 * MEGABYTE,
    "peaks": {
        phase: {category: share * (place + 1) * MEGABYTE for place, category in enumerate(CATEGORIES)}
        for phase, share in (("forward", 20), ("backward", 33), ("optimizer", 19))
    },
    "categories": {category: f"the {category}".replace("_", " ") for category in CATEGORIES},
}


def build_run(
    folder: Path,
    n_steps: int,
    *,
    max_steps: int | None = None,
    on_gpu: bool = False,
    seed: int = 0,
    speed: float = 1.0,
) -> Path:
    """A run of `n_steps` steps with two hash layers, evaluated every 20 steps, or 200 in long runs."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE.format(name=folder.name, max_steps=max_steps or n_steps))
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (folder / "plan.json").write_text(json.dumps(PLAN))
    generator = random.Random(seed)
    every = 20 if n_steps < 1000 else 200
    lines: list[dict[str, Any]] = []
    for step in range(1, n_steps + 1):
        lines.append(step_record(step, generator, on_gpu=on_gpu, speed=speed))
        if step % every == 0:
            lines.append(evaluation_record(step, speed))
            write_samples(folder, step)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def step_record(step: int, generator: random.Random, *, on_gpu: bool = False, speed: float = 1.0) -> dict[str, Any]:
    """The line of one step."""
    loss = _loss(step, speed) + generator.gauss(0, 0.06)
    seconds = 9.5 + generator.random()
    baseline = 310 * MEGABYTE
    noise = generator.randrange(30 * MEGABYTE)
    layers = [
        {
            "layer": layer,
            "bucket_fill": 0.9 - 0.04 * layer + 0.03 * generator.random(),
            "empty_query_share": 0.02 * layer + 0.05 * math.exp(-step / 300) + 0.002 * generator.random(),
            "sink_share": 0.05 + 0.2 * math.exp(-step / (100 * layer)) + 0.01 * generator.random(),
        }
        for layer in (1, 3)
    ]
    return {
        "event": "step",
        "step": step,
        "epoch": step // 100,
        "tokens": 65536 - generator.randrange(900),
        "documents": 1 + step % 2,
        "loss": loss,
        "bits_per_byte": loss / math.log(2) / (3.05 + 0.02 * generator.random()),
        "learning_rate": 3e-4 * min(1, step / 100),
        "grad_norm": 0.6 + generator.random(),
        "seconds": seconds,
        "tokens_per_second": 65000 / seconds,
        "data_seconds": 0.01,
        "memory_baseline_bytes": baseline,
        "memory_forward_peak_bytes": baseline + 900 * MEGABYTE + noise,
        "memory_backward_peak_bytes": baseline + 1480 * MEGABYTE + noise,
        "memory_optimizer_peak_bytes": baseline + 870 * MEGABYTE + noise,
        "memory_peak_bytes": baseline + 1480 * MEGABYTE + noise,
        "memory_reserved_bytes": 2400 * MEGABYTE if on_gpu else None,
        "stream_max": 41.5,
        "bucket_fill": 0.8,
        "empty_query_share": 0.04,
        "sink_share": 0.1,
        "layers": layers,
    }


def evaluation_record(step: int, speed: float = 1.0) -> dict[str, Any]:
    """The line of one evaluation."""
    loss = _loss(step, speed) + 0.09
    return {
        "event": "evaluate",
        "step": step,
        "loss": loss,
        "bits_per_byte": loss / math.log(2) / 3.06,
        "tokens": 24576,
        "documents": 2,
        "seconds": 8.1,
    }


def write_samples(folder: Path, step: int) -> None:
    """Two samples with a newline, a tag and an escape sequence."""
    samples = [
        {
            "prompt": "It was",
            "text": f" a wet <b>evening</b> & the {step} lamps\nwere out\x1b[31m; nobody came.",
        },
        {
            "prompt": "The door",
            "text": " stood open.\n\n“Who is there?” asked the miller on the long stair.\n",
        },
    ]
    (folder / "samples").mkdir(exist_ok=True)
    (folder / "samples" / f"step-{step:08}.json").write_text(json.dumps(samples))


def _loss(step: int, speed: float) -> float:
    return 3.6 + 2.8 * math.exp(-speed * step / 60) + 0.7 * math.exp(-speed * step / 900)


def append_line(run: Path, record: dict[str, Any]) -> None:
    """Adds a record to a run's metrics."""
    with (run / "metrics.jsonl").open("a") as journal:
        journal.write(json.dumps(record) + "\n")
