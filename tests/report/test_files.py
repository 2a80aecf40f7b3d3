import os
from pathlib import Path

import pytest

from revlm.errors import StorageError
from revlm.report import read_history, write_comparison, write_report
from revlm.report.files import write_whole
from tests.report.builder import build_run, write_evaluation


def test_a_report_is_three_whole_files_and_nothing_else(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", 3)
    before = {file.name for file in run.iterdir()}
    report = write_report(read_history(run))
    assert {file.name for file in run.iterdir()} - before == {"report.html", "loss.png", "memory.png"}
    assert report.page.read_text().startswith("<!doctype html>")
    assert report.page.read_text().endswith("</html>\n")
    assert report.loss.read_bytes().startswith(b"\x89PNG")
    assert report.memory.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("undrawn")
def test_a_comparison_lies_where_the_runs_are(tmp_path: Path) -> None:
    histories = [read_history(build_run(tmp_path / name, 2)) for name in ("a", "b")]
    comparison = write_comparison(histories)
    assert comparison.page == tmp_path / "comparison.html"
    assert comparison.loss.exists()


@pytest.mark.usefixtures("undrawn")
def test_pictures_of_an_earlier_evaluation_go(tmp_path: Path) -> None:
    runs = [write_evaluation(build_run(tmp_path / name, 2)) for name in ("a", "b")]
    histories = [read_history(run) for run in runs]
    old = [*write_report(histories[0]).evaluation.values(), *write_comparison(histories).evaluation.values()]
    assert [file.name for file in old if file.exists()] == [file.name for file in old]
    (runs[0] / "evaluation.json").unlink()
    histories[0] = read_history(runs[0])
    assert write_report(histories[0]).evaluation == write_comparison(histories).evaluation == {}
    assert [file for file in old if file.exists()] == []


@pytest.mark.usefixtures("undrawn")
def test_runs_from_different_folders_are_compared_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = [read_history(build_run(tmp_path / name, 2)) for name in ("x/a", "y/b")]
    monkeypatch.chdir(tmp_path)
    assert write_comparison(histories).page == Path("comparison.html")


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    page = tmp_path / "report.html"
    page.write_text("old")
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(StorageError, match=r"disk full while writing .*report\.html: free space there"):
        write_whole(page, b"new")
    assert page.read_text() == "old"
    assert list(tmp_path.iterdir()) == [page]


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"writing .* failed, No such file"):
        write_whole(tmp_path / "missing" / "report.html", b"")


def test_a_link_of_a_files_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("keep")
    (tmp_path / "report.html").symlink_to(outside)
    write_whole(tmp_path / "report.html", b"new")
    assert (outside.read_text(), (tmp_path / "report.html").read_text()) == ("keep", "new")
