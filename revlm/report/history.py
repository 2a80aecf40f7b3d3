"""Everything a report knows about a run, read from its folder alone.

A run may still be training, and may have been killed in the middle of a line. The journal and the recipe must be
intact; any other file that cannot be read is left out, and `History.notes` says so.
"""

import re
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import JsonValue

from revlm.errors import StorageError
from revlm.recipe.of_run import TRAINED_IN
from revlm.recipe.yaml_text import read_yaml
from revlm.records import (
    PHASES,
    Evaluation,
    LayerUse,
    MemoryPlan,
    Samples,
    peak_key,
    read_file,
    read_record,
    read_row_blocks,
    read_samples,
)
from revlm.records.files import CHECKPOINTS, ENVIRONMENT, EVALUATION, METRICS, PLAN, RECIPE, SAMPLES, STARTED_FROM
from revlm.report.bins import Bins, FloatArray
from revlm.report.settings import Settings, settings_of
from revlm.storage import storage_errors

LAST_LOSSES = 5
SAMPLED_STEPS = 20
"""The newest steps whose samples are shown."""
USES = tuple(key for key in LayerUse.model_fields if key != "layer")
"""What is recorded of each hash layer."""
_PAIR = re.compile(r"\[([0-9]{1,15}), ([0-9]{1,15})\]")
_MAX_MARKS = 8  # of changes of seq_len: more are not told apart in a picture
_MAX_RECIPE_BYTES = 1 << 18
_MAX_CHANGES = 100  # of the hash layers of a run: each resume with another recipe may bring one

_COLUMNS = (
    "step", "tokens", "loss", "bits_per_byte", "seconds", "tokens_per_second",
    "memory_baseline_bytes", *map(peak_key, PHASES), "memory_peak_bytes",
)  # fmt: skip
_RESERVED = "memory_reserved_bytes"  # on CUDA alone
_SOMETIMES = (_RESERVED, "model_flops_per_second", "mfu")
_VALIDATION_COLUMNS = ("step", "loss", "bits_per_byte")

Kind = TypeVar("Kind")


@dataclass
class Journal:
    """What a journal records, aggregated while it is read.

    `largest` is the step with the highest peak memory, `best` the validation with the fewest bits per byte, both as
    records; `first_skipped` is the first step without an update, `changes` counts the steps that record other layers
    than the step before.
    """

    steps: Bins = field(default_factory=lambda: Bins([*_COLUMNS, *_SOMETIMES]))
    uses: Bins = field(default_factory=lambda: Bins(["step"]))
    validations: Bins = field(default_factory=lambda: Bins(_VALIDATION_COLUMNS))
    n_steps: int = 0
    last_step: int = 0
    first_loss: float | None = None
    last_losses: deque[float | None] = field(default_factory=lambda: deque(maxlen=LAST_LOSSES))
    largest: Mapping[str, Any] = field(default_factory=dict)
    best: Mapping[str, Any] | None = None
    skipped: int = 0
    first_skipped: int = 0
    changes: int = 0
    _most_bytes: float = -1.0

    def take(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds the next records."""
        steps = [row for row in rows if row["event"] == "step"]
        if steps:
            self._take_steps(steps)
        validations = [row for row in rows if row["event"] != "step"]
        if validations:
            self.validations.add(_table(map(_of_validation, validations), len(_VALIDATION_COLUMNS)))
        known = [row for row in validations if row["bits_per_byte"] is not None]
        self.best = min([*filter(None, [self.best]), *known], key=itemgetter("bits_per_byte"), default=None)

    def _take_steps(self, steps: Sequence[Mapping[str, Any]]) -> None:
        if not self.n_steps:
            self.first_loss = steps[0]["loss"]
        self.n_steps += len(steps)
        self.last_step = steps[-1]["step"]
        self.last_losses.extend(row["loss"] for row in steps[-LAST_LOSSES:])
        known = _table(map(_of_step, steps), len(_COLUMNS))
        sometimes = _table(([row.get(key) for key in _SOMETIMES] for row in steps), len(_SOMETIMES))
        self.steps.add(np.column_stack([known, sometimes]))
        peaks = np.nan_to_num(known[:, _PEAKS]).max(axis=1)
        if peaks.max() > self._most_bytes:
            self._most_bytes, self.largest = peaks.max(), steps[int(peaks.argmax())]
        if skipped := [row["step"] for row in steps if "skipped" in row]:
            self.skipped += len(skipped)
            self.first_skipped = self.first_skipped or skipped[0]
        self._take_uses(known[:, 0], [row.get("layers", ()) for row in steps])

    def _take_uses(self, numbers: FloatArray, uses: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """The uses of the layers of some steps: of each its number, `[steps]`, and what it recorded, if anything."""
        recorded = np.array([len(each) > 0 for each in uses])
        layers = [use["layer"] for use in next(filter(None, uses), ())]
        values = _table(map(_of_use, chain.from_iterable(uses)), 1 + len(USES))
        n_recorded = int(recorded.sum())
        if len({len(each) for each in uses if each}) > 1 or (values[:, 0] != layers * n_recorded).any():
            in_force: list[list[int]] = []
            for each in uses:
                in_force.append([use["layer"] for use in each] or (in_force[-1] if in_force else []))
            for _, some in groupby(enumerate(in_force), key=itemgetter(1)):
                steps = [step for step, _ in some]
                self._take_uses(numbers[steps], [uses[step] for step in steps])
            return
        columns = [(layer, key) for layer in layers for key in USES]
        if layers and self.uses.columns[1:] != columns:
            self.changes += 1
            self.uses.widen(columns)
        place_of: dict[Hashable, int] = {column: place for place, column in enumerate(self.uses.columns)}
        table = np.full((len(uses), len(place_of)), np.nan)
        table[:, 0] = numbers
        of_columns = np.fromiter((place_of[column] for column in columns), np.intp)
        table[np.ix_(recorded, of_columns)] = values[:, 1:].reshape(n_recorded, len(columns))
        self.uses.add(table)


def _table(rows: Iterable[Iterable[float | None]], columns: int) -> FloatArray:
    """Numbers as a table, `[rows, columns]`; None is NaN."""
    return np.fromiter(chain.from_iterable(rows), np.float64).reshape(-1, columns)


_of_step = itemgetter(*_COLUMNS)
_of_use = itemgetter("layer", *USES)
_of_validation = itemgetter(*_VALIDATION_COLUMNS)
_PEAKS = [_COLUMNS.index(peak_key(phase)) for phase in PHASES]


@dataclass(frozen=True)
class History:
    """Everything known about one run; `settings` are the keys of its recipe, such as train.lr."""

    folder: Path
    journal: Journal
    samples: Sequence[Samples] = ()
    settings: Settings = field(default_factory=dict)
    recipe_text: str | None = None
    environment: Settings = field(default_factory=dict)
    plan: MemoryPlan | None = None
    evaluation: Evaluation | None = None
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.folder.resolve().name

    @property
    def step_numbers(self) -> FloatArray:
        """The last step of each bin, `[bins]`."""
        return self.journal.steps.highs("step")

    @property
    def tokens_seen(self) -> FloatArray:
        """The tokens of all steps up to the end of each bin, `[bins]`."""
        return np.cumsum(self.journal.steps.sums("tokens"))

    @property
    def seconds_passed(self) -> FloatArray:
        """The seconds of all steps up to the end of each bin, `[bins]`."""
        return np.cumsum(np.nan_to_num(self.journal.steps.sums("seconds")))

    @property
    def on_gpu(self) -> bool:
        """Whether memory is what CUDA's allocator allocated, rather than the resident memory of the process."""
        return bool(np.isfinite(self.peaks(_RESERVED)).any())

    @property
    def started_from(self) -> tuple[str, int] | None:
        """The checkpoint or exported model that the run started from, and its step; None if it started from nothing."""
        path, step = (self.environment.get(f"{STARTED_FROM}.{key}") for key in ("path", "step"))
        return (path, step) if isinstance(path, str) and type(step) is int else None

    @property
    def seq_len_changes(self) -> list[tuple[int, int]]:
        """The first step of each further length of `data.seq_len_schedule`, as far as the run got, and the length.

        Only as many as a picture has room for.
        """
        pairs = _PAIR.findall(str(self.setting("data.seq_len_schedule") or ""))
        changes = [(int(step) + 1, int(seq_len)) for step, seq_len in pairs[1:]]
        return [each for each in changes if each[0] <= self.journal.last_step][:_MAX_MARKS]

    def series(self, key: str) -> FloatArray:
        """The means of `key` over the steps, `[bins]`; NaN where it was not recorded."""
        return self.journal.steps.means(key)

    def peaks(self, key: str) -> FloatArray:
        """The largest values of `key` over the steps, `[bins]`; NaN where it was not recorded."""
        return self.journal.steps.highs(key)

    def setting(self, path: str) -> Any:
        """The value of a recipe key such as `model.n_layers`, or None where the recipe has none."""
        return self.settings.get(path)


def read_history(folder: Path) -> History:
    """Reads the history of the run in `folder`. Raises StorageError if it is not a run or has no step yet."""
    journal_file, recipe_file = folder / METRICS, folder / RECIPE
    with storage_errors(f"reading {folder}"):
        has_recipe = recipe_file.exists()
        if not has_recipe and not journal_file.exists():
            raise StorageError(
                f"{folder} is not a run folder, it holds neither recipe.yaml nor metrics.jsonl: "
                "name the output_dir of a recipe that was trained"
            )
        sampled = sorted((folder / SAMPLES).glob("step-*.json"))
    journal = _read_journal(journal_file)
    if not journal.n_steps:
        raise StorageError(
            f"the run in {folder} has no steps yet: wait for its first step, or go on with `revlm train {recipe_file}`"
        )
    notes = []
    if journal.skipped:
        steps_were = "1 step was" if journal.skipped == 1 else f"{journal.skipped:,} steps were"
        notes.append(f"{steps_were} passed over without an update, the first at {journal.first_skipped:,}: not finite.")
    if len(sampled) > SAMPLED_STEPS:
        notes.append(
            f"Samples are of the newest {SAMPLED_STEPS} of {len(sampled):,} steps; the folder samples has the others."
        )
    recipe_text = _recipe_text(recipe_file) if has_recipe else None
    samples = [_optional(partial(read_samples, file), file, notes) for file in sampled[-SAMPLED_STEPS:]]
    environment = folder / ENVIRONMENT
    return History(
        folder=folder,
        journal=journal,
        samples=[each for each in samples if each is not None],
        settings=_recipe_settings(recipe_file, recipe_text) if recipe_text is not None else {},
        recipe_text=recipe_text,
        environment=_optional(lambda: _environment(environment), environment, notes) or {},
        plan=_optional(lambda: read_record(MemoryPlan, folder / PLAN), folder / PLAN, notes),
        evaluation=_optional(lambda: read_record(Evaluation, folder / EVALUATION), folder / EVALUATION, notes),
        notes=notes,
    )


def read_origin(history: History) -> History | None:
    """The history of the run that a run started from; None if it started from none, or if that cannot be read."""
    if history.started_from is None:
        return None
    checkpoint = Path(history.started_from[0])
    if checkpoint.parent.name != CHECKPOINTS:
        return None
    run = checkpoint.parent.parent
    trained_in = history.environment.get(TRAINED_IN)
    places = [run] if not isinstance(trained_in, str) else [run, history.folder / trained_in / run]
    for place in places:
        with suppress(StorageError, OSError, ValueError):
            return read_history(place)
    return None


def _read_journal(file: Path) -> Journal:
    journal = Journal()
    for rows in read_row_blocks(file):
        steps = [journal.last_step, *(row["step"] for row in rows if row["event"] == "step")]
        for before, step in pairwise(steps):
            if step <= before:
                raise StorageError(
                    f"{file}: step {step:,} stands after step {before:,}: remove its line, or restore the file"
                )
        journal.take(rows)
        if journal.changes > _MAX_CHANGES:
            raise StorageError(
                f"{file}: the layers that its steps record change more than {_MAX_CHANGES} times: restore the file"
            )
    return journal


def _optional(read: Callable[[], Kind], file: Path, notes: list[str]) -> Kind | None:
    """The content of an optional file: None if it is missing, or with a note if it is damaged."""
    try:
        return read() if file.exists() else None
    except (StorageError, OSError) as error:
        cause = str(error).removeprefix(f"{file} ").rpartition(":")[0]
        notes.append(f"{file.name} is left out: it {cause}." if cause else f"{file.name} is left out: {error}.")
        return None


def _recipe_text(file: Path) -> str:
    content = read_file(file, _MAX_RECIPE_BYTES)
    return content.decode("utf-8", errors="replace")


def _recipe_settings(file: Path, text: str) -> Settings:
    try:
        return settings_of(read_yaml(text))
    except Exception as error:  # whatever a parser raises on a file that was damaged or made to harm
        cause = " ".join(str(error).split())[:200]
        raise StorageError(f"{file} cannot be parsed ({cause}): restore it, or remove it") from error


def _environment(file: Path) -> Settings:
    try:
        return settings_of(read_record(dict[str, JsonValue], file))
    except ValueError as error:
        raise StorageError(f"{file} {error}: remove it") from error
