"""Run folders as training writes them, with invented but realistic numbers."""

import json
import math
import random
from pathlib import Path
from typing import Any

from revlm.records import PHASES
from tests import journal_records

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
    "process_bytes": 320 * MEGABYTE,
    "sequence_parallel": 1,
    "sent_bytes": 0,
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
        "model_flops_per_second": 6e11 / seconds,
        **({"mfu": 6e11 / seconds / 989e12} if on_gpu else {}),
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


def write_evaluation(
    folder: Path,
    *,
    layers: int = 4,
    hashed: bool = True,
    documents: int = 5,
    gain: float = 0.1,
    longest: int = 120_000,
    first: int = 1,
) -> Path:
    """An evaluation as `revlm evaluate --all` leaves it; the folder, again.

    The longest document held out has `longest` tokens, and `first` is the first position of the first bin.
    """
    loss = 4.2
    positions = [
        {"first": 2**n, "last": 2 ** (n + 1) - 1, "tokens": min(documents * 2**n, 90_000), "loss": loss + 2 / (n + 1)}
        for n in range(17)
        if 2**n >= first
    ]
    lengths = [256, 1024, 4096, 16384, 65536, None]
    gains = [gain * place for place in range(len(lengths))]
    kinds = ["lsh" if hashed and layer % 2 else "local" for layer in range(layers)]
    found = {"accuracy": 0.6, "rank": 31.0, "loss": 2.0}
    own_rounds = 4
    rounds = [1, 2, 4, 8, 16]
    record = {
        "step": 200,
        "data": "data/novels",
        "seq_len": 65536,
        "total": {"tokens": 412_345, "bytes": 1_234_567, "loss": loss, "bits_per_byte": 2.1},
        "documents": [{"title": "one", "tokens": longest, "bytes": 3 * longest, "loss": loss, "bits_per_byte": 2.1}],
        "positions": positions,
        "context": {
            "lengths": [
                {
                    "context": context,
                    "documents": documents,
                    "targets": 2048 * documents,
                    "seen": 1.1 * (context or 120_000),
                    "loss": loss - its_gain,
                    "gain": its_gain,
                    "interval": [0.5 * its_gain, 1.5 * its_gain] if documents > 1 else None,
                }
                for context, its_gain in zip(lengths, gains, strict=True)
            ],
            "too_short": [],
        },
        "repeats": {
            "context": 3,
            "most_earlier": 3,
            "total": {"documents": documents, "tokens": 412_345, "loss": loss, "interval": _around(loss, documents)},
            "distances": [
                {
                    "first": 256 * 4**n // 4 if n else 1,
                    "last": 256 * 4**n - 1,
                    "documents": documents,
                    "tokens": 9000 // 4**n,
                    "loss": loss - 2 + n / 4,
                    "interval": _around(loss - 2 + n / 4, documents),
                }
                for n in range(6)
            ],
        },
        "ablations": {
            "documents": 1,
            "tokens": 65536,
            "loss": loss,
            "layers": [
                {"kind": kind, "layers": [layer], "loss": loss + 0.9 / (layer + 1), "increase": 0.9 / (layer + 1)}
                for layer, kind in enumerate(kinds)
            ],
            "kinds": [
                {
                    "kind": kind,
                    "layers": [layer for layer, its_kind in enumerate(kinds) if its_kind == kind],
                    "loss": loss + 1.5,
                    "increase": 1.5,
                }
                for kind in dict.fromkeys(kinds)
                if kinds.count(kind) > 1
            ],
            "own_rounds": own_rounds,
            "rounds": [
                {"rounds": n, "loss": loss + 0.1 * (own_rounds - n) / n, "increase": 0.1 * (own_rounds - n) / n}
                for n in rounds
            ]
            if hashed
            else [],
        },
        "recall": {
            "queries": 128,
            "tokens": 65536,
            "layers": [
                {"layer": layer, "found": 0.31, "best": 0.62, "chance": 0.004, "keys": 180.5}
                for layer, kind in enumerate(kinds)
                if kind == "lsh"
            ],
        },
        "copying": {
            "chance": 1 / 1900,
            "own_rounds": own_rounds,
            "accuracies": [
                {"length": length, "rounds": n, "accuracy": min(1.0, (n or 1) * 64 / length)}
                for length in (128, 512, 2048, 8192)
                for n in (rounds if hashed else [None])
            ],
        },
        "needle": {
            "chance": {"accuracy": 1 / 1900, "rank": 1024.5, "loss": 7.5},
            "distances": [
                {"distance": distance, "needles": 16, "found": found, "without": {**found, "accuracy": 0.01}}
                for distance in lengths[:-1]
            ],
            "too_short": [],
        },
        "answers": {
            "documents": 8,
            "accuracies": [
                {
                    "kind": kind,
                    "distance": distance,
                    "answers": 64,
                    "accuracy": 0.9,
                    "token_accuracy": 0.95,
                    "loss": 0.2,
                }
                for kind in ("keys", "mqar")
                for distance in lengths[:-1]
            ],
        },
    }
    (folder / "evaluation.json").write_text(json.dumps(record))
    return folder


def _around(loss: float, documents: int) -> list[float] | None:
    return [loss - 0.1, loss + 0.1] if documents > 1 else None


def _loss(step: int, speed: float) -> float:
    return 3.6 + 2.8 * math.exp(-speed * step / 60) + 0.7 * math.exp(-speed * step / 900)


def append_line(run: Path, record: dict[str, Any] | str) -> None:
    """Adds a record, or a line as it is, to a run's metrics."""
    line = record if isinstance(record, str) else json.dumps(record)
    with (run / "metrics.jsonl").open("a") as journal:
        journal.write(line + "\n")


def bare_step(step: int) -> dict[str, Any]:
    """The line of a step without an update, on a system that cannot tell memory."""
    nothing = ("loss", "bits_per_byte", "grad_norm", "seconds", "tokens_per_second")
    memory = {f"memory_{name}_bytes": None for name in ("baseline", *(f"{phase}_peak" for phase in PHASES), "peak")}
    return journal_records.step_record(step, **dict.fromkeys(nothing), **memory, skipped="the loss is not finite")
