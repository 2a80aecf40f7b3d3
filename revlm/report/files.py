"""Writes reports into run folders: pages and pictures, each written atomically."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from revlm.evaluation.probes import PROBES
from revlm.report.compare import compared_evaluations, comparison_page, comparison_picture
from revlm.report.history import History
from revlm.report.page import POSITIONS, evaluation_sections, loss_picture, memory_picture, run_page
from revlm.report.pictures.picture import Picture, standalone_png
from revlm.report.pictures.plan import Curve, draw_sweep
from revlm.storage import replace_file, storage_errors

_PICTURES = (POSITIONS, *PROBES)
"""The names of the pictures of an evaluation."""


class RunReport(NamedTuple):
    """The files of one run's report; `evaluation` is empty if the run was not evaluated."""

    page: Path
    loss: Path
    memory: Path
    evaluation: dict[str, Path]

    def files(self) -> dict[str, Path]:
        """All of them by name."""
        return {"page": self.page, "loss": self.loss, "memory": self.memory, **self.evaluation}


class Comparison(NamedTuple):
    """The files that compare several runs; `evaluation` has the pictures of their evaluations by name."""

    page: Path
    loss: Path
    evaluation: dict[str, Path]

    def files(self) -> dict[str, Path]:
        """All of them by name."""
        return {"page": self.page, "loss": self.loss, **self.evaluation}


def write_report(history: History) -> RunReport:
    """Writes report.html, loss.png and memory.png, and pictures of an evaluation, into the run's folder.

    Raises:
        StorageError: a file cannot be written.
    """
    folder = history.folder
    sections = evaluation_sections(history.evaluation) if history.evaluation else {}
    pictures = {name: section for name, section in sections.items() if section.picture is not None}
    evaluation = {name: folder / f"{name}.png" for name in pictures}
    report = RunReport(folder / "report.html", folder / "loss.png", folder / "memory.png", evaluation)
    write_whole(report.loss, standalone_png(loss_picture(history), f"{history.name}: loss"))
    write_whole(report.memory, standalone_png(memory_picture(history), f"{history.name}: memory"))
    for name, section in pictures.items():
        assert section.picture is not None
        write_whole(evaluation[name], standalone_png(section.picture, f"{history.name}: {section.heading.lower()}"))
    _remove_old(folder / f"{name}.png" for name in _PICTURES if name not in pictures)
    write_whole(report.page, run_page(history).encode("utf-8"))
    return report


def write_comparison(histories: Sequence[History]) -> Comparison:
    """Writes comparison.html and comparison.png, and pictures of evaluations, where the runs are.

    See `comparison_folder`. Raises StorageError.
    """
    folder = comparison_folder(histories)
    sections = compared_evaluations(histories)
    evaluation = {name: folder / f"comparison-{name}.png" for name in sections}
    comparison = Comparison(folder / "comparison.html", folder / "comparison.png", evaluation)
    write_whole(comparison.loss, standalone_png(comparison_picture(histories), "Loss"))
    for name, section in sections.items():
        assert section.picture is not None
        write_whole(evaluation[name], standalone_png(section.picture, section.heading))
    _remove_old(folder / f"comparison-{name}.png" for name in _PICTURES if name not in sections)
    write_whole(comparison.page, comparison_page(histories).encode("utf-8"))
    return comparison


def write_sweep(file: Path, key: str, curves: Sequence[Curve]) -> None:
    """Writes the picture of a swept memory plan, see `draw_sweep`. Raises StorageError."""
    picture = Picture(lambda canvas: draw_sweep(key, curves, canvas), f"peak memory of a step against {key}")
    write_whole(file, standalone_png(picture, f"Peak memory of a step against {key}"))


def comparison_folder(histories: Sequence[History]) -> Path:
    """The folder that contains all runs, or the working directory if they are in different folders."""
    parents = {history.folder.resolve().parent for history in histories}
    if len(parents) > 1:
        return Path()
    parent = histories[0].folder.parent
    return parent if parent.resolve() in parents else parents.pop()


def _remove_old(pictures: Iterable[Path]) -> None:
    """Removes pictures of an earlier evaluation, which the page no longer shows. Raises StorageError."""
    for picture in pictures:
        with storage_errors(f"removing {picture}, which is of an earlier evaluation,"):
            picture.unlink(missing_ok=True)


def write_whole(file: Path, content: bytes) -> None:
    """Writes a file atomically. Raises StorageError."""
    with storage_errors(f"writing {file}"):
        replace_file(file, content)
