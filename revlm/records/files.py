"""The names of the files of a run folder."""

from pathlib import Path

RECIPE = "recipe.yaml"
ENVIRONMENT = "environment.json"
PLAN = "plan.json"
METRICS = "metrics.jsonl"
EVALUATION = "evaluation.json"
SAMPLES = "samples"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
TRACKIO = "trackio.json"
WANDB = "wandb"
WANDB_RUN = "wandb.json"
STARTED_FROM = "started_from"
"""the key of environment.json for what the run started from: `path` (a checkpoint or exported model) and `step`"""
MEMORY_SNAPSHOT = "memory-snapshot.pickle"


def step_name(step: int) -> str:
    """The name of a step in a run folder: step-00000200."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int | None:
    """The step in a name such as step-00000200 or step-00000200.json; None for any other name."""
    digits = path.stem.removeprefix("step-")
    is_step = digits != path.stem and digits.isascii() and digits.isdigit() and len(digits) <= 18
    return int(digits) if is_step else None


def samples_file(folder: Path, step: int) -> Path:
    """The path of the samples of a step."""
    return folder / SAMPLES / f"{step_name(step)}.json"
