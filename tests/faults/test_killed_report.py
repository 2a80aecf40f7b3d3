"""`report` and `checkpoint export`, killed at any moment: the next call removes what they left, and nothing else."""

from pathlib import Path

import pytest

from tests.faults import forks
from tests.faults.forks import Copies
from tests.report.builder import build_run
from tests.tiny_run import write_run

# Of others, called nearly as staging files are.
FOREIGN = (
    ".report.html.staging",
    ".report.html.12.staging",
    ".report.html.0123456789abcdef.staging.bak",
    ".staging-x",
    "report.html.bak",
)


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def all_killed(before: Path, step: int, *arguments: str) -> int:
    """Kills the command at every `step`-th point; run again, it leaves the names of an undisturbed one, once each."""
    runs = forks.killed_at_points(Copies(before, before.parent / "copies"), step, *arguments)
    undisturbed = left(next(runs)[0])
    kills = unfinished = 0
    for copy, _ in runs:
        kills += 1
        unfinished += any(name.endswith(".staging") and Path(name).name not in FOREIGN for name in left(copy))
        is_done = arguments[0] == "checkpoint" and (copy / "report.html").exists()
        again = forks.run(copy, *arguments)
        assert again.code == 6 * is_done, again.stderr
        assert left(copy) == undisturbed, copy
        for folder in (copy, copy / "run"):
            assert [(folder / name).read_text() for name in FOREIGN] == ["mine"] * len(FOREIGN)
    assert unfinished
    return kills


def with_foreign_files(folder: Path) -> None:
    for name in FOREIGN:
        (folder / name).write_text("mine")
        (folder / "run" / name).write_text("mine")


@pytest.mark.slow
def test_report(tmp_path: Path) -> None:
    before = tmp_path / "before"
    build_run(before / "run", 2)
    with_foreign_files(before)
    assert all_killed(before, 5, "report", "run") > 3


def test_export(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    write_run(before / "run", "train.max_steps=1")
    with_foreign_files(before)
    assert all_killed(before, 1, "checkpoint", "export", "report.html", "--run", "run") > 5
