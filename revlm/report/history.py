"""Everything a report knows about a run, read from its folder alone.

A run that is still going, was interrupted in the middle of a line, or was written by an older version is read
as far as it goes; what was passed over is listed in `History.notes`, so that the page can say it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from revlm.errors import StorageError
from revlm.recipe.yaml_text import read_yaml
from revlm.report.evaluated import Evaluated
from revlm.report.records import Evaluation, Plan, Record, Sample, Step
from revlm.storage import Folder

FloatArray = NDArray[np.float64]
Kind = TypeVar("Kind", bound=Record)


@dataclass(frozen=True)
class History:
    """The records of one run, in order of their steps, and what the run was made of."""

    folder: Path
    steps: Sequence[Step]
    evaluations: Sequence[Evaluation] = ()
    samples: Sequence[Sample] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    recipe_text: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    plan: Plan | None = None
    evaluated: Evaluated | None = None
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.folder.resolve().name

    @property
    def step_numbers(self) -> FloatArray:
        """The steps that were recorded, `[records]`."""
        return np.array([record.step for record in self.steps], dtype=np.float64)

    @property
    def on_gpu(self) -> bool:
        """Whether memory is what CUDA's allocator gave out, not the resident memory of the process."""
        return any(record.memory_reserved_bytes is not None for record in self.steps)

    @property
    def every_step_recorded(self) -> bool:
        """Whether sums over the run are exact: no step is missing between the records."""
        return bool(np.all(self._steps_per_record == 1))

    def series(self, key: str) -> FloatArray:
        """The values of `key` at every recorded step, `[records]`; absent and non-finite ones are NaN."""
        return finite_series(self.steps, key)

    def running_sum(self, key: str) -> FloatArray:
        """The sum of `key` from the start up to each recorded step, `[records]`.

        Where only every n-th step was recorded, a record stands for the steps since the one before it.
        """
        return np.cumsum(self.series(key) * self._steps_per_record)

    @property
    def _steps_per_record(self) -> FloatArray:
        return np.diff(self.step_numbers, prepend=0.0)

    def setting(self, path: str) -> Any:
        """The value of a recipe key such as `model.n_layers`, or None where the recipe has none."""
        value: Any = self.recipe
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value


def finite_series(records: Sequence[Record], key: str) -> FloatArray:
    """The values of `key` over records, `[records]`; absent and non-finite ones are NaN."""
    values = np.array([getattr(record, key) for record in records], dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def read_history(folder: Path) -> History:
    """The history of the run in `folder`. Raises StorageError where it is no run or has no step yet."""
    journal, recipe_file = folder / "metrics.jsonl", folder / "recipe.yaml"
    if not journal.exists() and not recipe_file.exists():
        raise StorageError(
            f"{folder} is not a run folder, it holds neither recipe.yaml nor metrics.jsonl: "
            "name the output_dir of a recipe that was trained"
        )
    notes: list[str] = []
    steps, evaluations = _read_journal(journal, notes) if journal.exists() else ([], [])
    if not steps:
        raise StorageError(
            f"the run in {folder} has no steps yet: wait for its first step, or go on with `revlm train {recipe_file}`"
        )
    non_finite = [record.step for record in steps if record.loss is not None and not np.isfinite(record.loss)]
    if non_finite:
        notes.append(f"The loss was not finite from step {non_finite[0]:,} on ({len(non_finite):,} steps).")
    if skipped := [record.step for record in steps if record.skipped]:
        steps_were = "1 step was" if len(skipped) == 1 else f"{len(skipped):,} steps were"
        notes.append(f"{steps_were} passed over without an update, the first at {skipped[0]:,}: not finite.")
    recipe_text = _read_text(recipe_file) if recipe_file.exists() else None
    return History(
        folder=folder,
        steps=steps,
        evaluations=evaluations,
        samples=_read_samples(folder / "samples", notes),
        recipe=_read_mapping(recipe_file, read_yaml),
        recipe_text=recipe_text,
        environment=_read_mapping(folder / "environment.json", json.loads),
        plan=_read_typed(Plan, folder / "plan.json", "a plan", notes),
        evaluated=_read_typed(Evaluated, folder / "evaluation.json", "an evaluation", notes),
        notes=notes,
    )


def _read_journal(journal: Path, notes: list[str]) -> tuple[list[Step], list[Evaluation]]:
    lines = _read_text(journal).split("\n")
    last_line = max((number for number, line in enumerate(lines, 1) if line.strip()), default=0)
    steps: dict[int, Step] = {}
    evaluations: dict[int, Evaluation] = {}
    repeated = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content: dict[str, Any] = dict(json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            if number == last_line:
                notes.append("The last line of metrics.jsonl is incomplete and is left out.")
                continue
            raise StorageError(
                f"{journal}, line {number} is no JSON object ({error}): remove that line, then report again"
            ) from error
        event = content.get("event")
        if event == "step":
            step = _typed(Step, content, journal, number)
            # A run that goes on from a checkpoint trains the steps after it again: the later record counts.
            repeated += step.step in steps
            steps[step.step] = step
        elif event == "evaluate":
            evaluation = _typed(Evaluation, content, journal, number)
            evaluations[evaluation.step] = evaluation
    if repeated:
        steps_were = "1 step was" if repeated == 1 else f"{repeated:,} steps were"
        notes.append(f"{steps_were} trained again after a restart; the later records are shown.")
    return [steps[key] for key in sorted(steps)], [evaluations[key] for key in sorted(evaluations)]


def _typed(kind: type[Kind], content: object, journal: Path, line: int) -> Kind:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise StorageError(
            f"{journal}, line {line}: {key} is wrong ({first['msg']}): remove that line, then report again"
        ) from error


def _read_samples(folder: Path, notes: list[str]) -> list[Sample]:
    samples: list[Sample] = []
    for file in sorted(folder.glob("step-*.json")):
        try:
            step = int(file.stem.removeprefix("step-"))
            samples += [Sample.model_validate({**entry, "step": step}) for entry in json.loads(_read_text(file))]
        except (ValueError, TypeError, RecursionError):
            notes.append(f"samples/{file.name} does not hold samples as they are written and is left out.")
    return sorted(samples, key=lambda sample: sample.step)


def _read_typed(kind: type[Kind], file: Path, noun: str, notes: list[str]) -> Kind | None:
    content = _read_mapping(file, json.loads)
    if not content:
        return None
    try:
        return kind.model_validate(content)
    except ValidationError:
        notes.append(f"{file.name} does not hold {noun} as it is written and is left out.")
        return None


def _read_mapping(file: Path, parse: Any) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        content = parse(_read_text(file))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise StorageError(
            f"{file} cannot be parsed ({' '.join(str(error).split())}): restore it, or remove it"
        ) from error
    if not isinstance(content, dict):
        raise StorageError(f"{file} holds no mapping of keys to values: restore it, or remove it")
    return content


def _read_text(file: Path) -> str:
    """The text of a regular file of the run's folder: no link is followed, and neither pipe nor device is read."""
    try:
        with Folder(file.parent) as folder:
            return folder.read(file.name).decode("utf-8", errors="replace")
    except OSError as error:
        raise StorageError(f"{file} cannot be read ({error.strerror}): check its permissions") from error
