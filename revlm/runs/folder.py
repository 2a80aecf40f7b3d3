"""The folder of one run: the paths of its files, and which run was active last."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from revlm.errors import StorageError
from revlm.records import files
from revlm.records.files import CHECKPOINTS, SAMPLES, samples_file, step_name, step_of
from revlm.storage import Folder, FolderLock, folder_lock, json_bytes, replace_file, sealed, storage_errors


@dataclass(frozen=True)
class RunFolder:
    """A run folder on disk; `Path(run_folder)` and `os.fspath` return its path."""

    path: Path

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """The run folder at `path`, created if it does not exist; raises StorageError if it cannot be created."""
        folder = cls(Path(path))
        with storage_errors(f"creating the run folder {folder.path}"):
            folder.path.mkdir(parents=True, exist_ok=True)
            with Folder(folder.path) as opened:
                for name in (CHECKPOINTS, SAMPLES):
                    with opened.inside(name, create=True):
                        pass
        return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """The run folder at `path`; raises StorageError if it holds no run."""
        folder = cls(Path(path))
        if not folder.recipe.is_file():
            raise StorageError(f"no run in {folder.path} (it has no recipe.yaml): give the output_dir of a run")
        return folder

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / files.RECIPE

    @property
    def environment(self) -> Path:
        """Versions and device, as JSON."""
        return self.path / files.ENVIRONMENT

    @property
    def plan(self) -> Path:
        """The planned memory of its steps, as JSON."""
        return self.path / files.PLAN

    @property
    def metrics(self) -> Path:
        """The journal."""
        return self.path / files.METRICS

    @property
    def evaluation(self) -> Path:
        """The results of the latest `revlm evaluate`, as JSON."""
        return self.path / files.EVALUATION

    @property
    def samples(self) -> Path:
        """The folder of texts sampled during training."""
        return self.path / files.SAMPLES

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / files.TENSORBOARD

    @property
    def trackio(self) -> Path:
        """The name of the run in trackio's database, as JSON."""
        return self.path / files.TRACKIO

    @property
    def wandb(self) -> Path:
        """The folder of wandb's files."""
        return self.path / files.WANDB

    @property
    def wandb_run(self) -> Path:
        """The id of the run at wandb and the name of its files, as JSON."""
        return self.path / files.WANDB_RUN

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / files.CHECKPOINTS

    @property
    def memory_snapshot(self) -> Path:
        """CUDA's allocations when it ran out of memory, for pytorch.org/memory_viz."""
        return self.path / files.MEMORY_SNAPSHOT

    def lock(self) -> AbstractContextManager[FolderLock]:
        """Locks the folder for the block; raises StorageError if another process holds the lock."""
        return folder_lock(self.path, "run folder", "give another output_dir")

    def remove_unfinished(self) -> None:
        """Removes files that a killed process left unfinished; the caller must hold the folder's lock."""
        with (
            storage_errors(f"removing unfinished files in {self.path}"),
            Folder(self.path) as folder,
            folder.inside(SAMPLES) as samples,
        ):
            folder.remove_unfinished()
            samples.remove_unfinished()

    def write_recipe(self, text: str) -> None:
        """Writes recipe.yaml atomically, with its own sha256."""
        self._write(self.recipe, sealed(text).encode())

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Writes environment.json atomically."""
        self._write(self.environment, json_bytes(dict(environment)))

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Writes plan.json atomically."""
        self._write(self.plan, json_bytes(dict(plan)))

    def write_evaluation(self, evaluation: Mapping[str, Any]) -> None:
        """Writes evaluation.json atomically."""
        self._write(self.evaluation, json_bytes(dict(evaluation)))

    def write_samples(self, step: int, samples: Sequence[Mapping[str, Any]]) -> Path:
        """Writes the prompts and samples of a step to a file such as samples/step-00000200.json; returns its path."""
        path = samples_file(self.path, step)
        with storage_errors(f"writing {path}"), Folder(self.path) as folder, folder.inside(SAMPLES) as inner:
            inner.replace(path.name, json_bytes([dict(sample) for sample in samples]))
        return path

    def remove_samples_after(self, step: int) -> None:
        """Removes the samples of later steps, before a resumed run writes them again."""
        with (
            storage_errors(f"removing samples in {self.path}"),
            Folder(self.path) as folder,
            folder.inside(SAMPLES) as samples,
        ):
            for name in samples.names():
                found = step_of(Path(name))
                if found is not None and found > step and name == f"{step_name(found)}.json":
                    samples.remove(name)

    def _write(self, path: Path, content: bytes) -> None:
        with storage_errors(f"writing {path}"):
            replace_file(path, content)

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)


def newest_run(root: str | os.PathLike[str] = "runs") -> RunFolder:
    """The run in `root`, at any depth, that wrote to its journal last; raises StorageError if there is none."""
    newest = max(_runs_in(root), key=_last_activity, default=None)
    if newest is None:
        shown = Path(root) if Path(root).is_absolute() else f"./{Path(root).as_posix()}"
        raise StorageError(f"no run under {shown}: train one first with `revlm train demo`, or give a run folder")
    return newest


def _runs_in(root: str | os.PathLike[str]) -> Iterator[RunFolder]:
    """Yields every run in a folder once, including those behind symbolic links."""
    seen = set()
    for folder, inner, names in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        inner[:] = [] if place in seen else [name for name in inner if name != files.CHECKPOINTS]
        if place not in seen and files.RECIPE in names:
            yield RunFolder(Path(folder))
        seen.add(place)


def _last_activity(run: RunFolder) -> tuple[int, Path]:
    """When the run last wrote its journal, in nanoseconds; the path breaks ties."""
    written = run.metrics if run.metrics.is_file() else run.recipe
    return written.stat().st_mtime_ns, run.path
