import errno
import os
import shutil
import time
from pathlib import Path

import pytest

pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")

from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from revlm.runs.trackers.tensorboard import TensorBoard


@pytest.fixture
def run(run_with):
    return run_with(TensorBoard)


class Shown:
    """What TensorBoard itself reads from a folder."""

    def __init__(self, folder: Path) -> None:
        self._events = EventAccumulator(str(folder), size_guidance={"tensors": 0})  # 0: all of them
        self._events.Reload()
        self.names = self._events.Tags()["tensors"]

    def numbers(self, name: str) -> list[tuple[int, float]]:
        return [(event.step, float(make_ndarray(event.tensor_proto))) for event in self._events.Tensors(name)]

    def texts(self, name: str) -> list[tuple[int, str]]:
        return [(event.step, make_ndarray(event.tensor_proto).item().decode()) for event in self._events.Tensors(name)]

    def steps(self, name: str) -> list[int]:
        return [event.step for event in self._events.Tensors(name)]


def test_numbers_and_texts_come_back(run):
    run.go_on(0, 4)
    shown = Shown(run.folder.tensorboard)
    assert shown.numbers("train/loss") == [(1, 8.0), (2, 4.0), (3, pytest.approx(8 / 3)), (4, 2.0)]
    assert shown.numbers("memory/forward_peak_bytes") == [(step, 2.0**30) for step in (1, 2, 3, 4)]
    assert shown.numbers("bucket_fill/layer_03") == [(step, 0.75) for step in (1, 2, 3, 4)]
    assert shown.numbers("evaluate/loss") == [(2, 4.5), (4, 2.25)]
    assert "train/grad_norm" not in shown.names
    assert shown.texts("samples/1") == [(step, f"    It was step *{step}*\n    indeed") for step in (2, 4)]
    [(step, recipe)] = shown.texts("recipe")
    assert step == 0
    assert "seq_len: 65536" in recipe


@pytest.mark.parametrize("checkpoint", range(6))
def test_a_killed_run_goes_on_without_doubled_steps(run, checkpoint):
    run.go_on(0, 5)
    run.go_on(checkpoint, 7, loss=0.5)
    shown = Shown(run.folder.tensorboard)
    kept = [(step, pytest.approx(8 / step)) for step in range(1, checkpoint + 1)]
    assert shown.numbers("train/loss") == [*kept, *((step, 0.5) for step in range(checkpoint + 1, 8))]
    assert shown.steps("evaluate/loss") == shown.steps("samples/2") == [2, 4, 6]
    assert shown.steps("recipe") == [0]
    assert run.messages == []


def test_many_kills_leave_every_step_once(run):
    for checkpoint, until in ((0, 3), (2, 6), (4, 5), (4, 9), (0, 2), (2, 12)):
        run.go_on(checkpoint, until)
    assert Shown(run.folder.tensorboard).steps("train/loss") == list(range(1, 13))


def test_a_clock_that_is_set_back_changes_nothing(run, monkeypatch):
    run.go_on(0, 5)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    run.go_on(3, 7)
    assert Shown(run.folder.tensorboard).steps("train/loss") == list(range(1, 8))


def test_the_end_of_a_file_that_was_torn_is_written_again_from_the_journal(run):
    run.go_on(0, 6)
    [file] = run.folder.tensorboard.iterdir()
    whole = file.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 30, 3, 0):
        for later in run.folder.tensorboard.iterdir():
            later.unlink()
        file.write_bytes(whole[:length])
        run.go_on(6, 7)
        shown = Shown(run.folder.tensorboard)
        assert shown.steps("train/loss") == list(range(1, 8)), length
        assert shown.steps("evaluate/loss") == shown.steps("samples/1") == [2, 4, 6], length


@pytest.mark.parametrize("deleted", [False, True])
def test_named_first_by_a_later_recipe_or_deleted_it_shows_the_run_from_its_beginning(run, deleted):
    classes = run.classes
    run.classes = classes if deleted else {}
    run.go_on(0, 4)
    if deleted:
        shutil.rmtree(run.folder.tensorboard)
    run.classes = classes
    run.go_on(4, 5)
    assert Shown(run.folder.tensorboard).steps("train/loss") == [1, 2, 3, 4, 5]


def test_steps_that_a_start_made_void_and_could_not_write_are_written_by_the_next(run, monkeypatch):
    run.go_on(0, 5)
    with monkeypatch.context() as patched:
        patched.setattr(TensorBoard, "write", lambda *_: (_ for _ in ()).throw(OSError("full")))
        run.go_on(2, 4)
    run.go_on(4, 6)
    assert Shown(run.folder.tensorboard).steps("train/loss") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("bytes_left", [0, 10])
def test_a_full_disk_leaves_no_torn_event_and_the_next_start_fills_the_gap(run, monkeypatch, bytes_left):
    real, writes = os.write, []

    def write_until_full(descriptor: int, content: bytes) -> int:
        if "tfevents" not in os.readlink(f"/proc/self/fd/{descriptor}"):
            return real(descriptor, content)
        writes.append(content)
        if len(writes) < 6:
            return real(descriptor, content)
        if len(writes) == 6 and bytes_left:
            return real(descriptor, content[:bytes_left])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write_until_full)
        run.go_on(0, 6)
    assert len(run.messages) == 1
    assert "No space left on device" in run.messages[0]
    [file] = run.folder.tensorboard.iterdir()
    assert file.read_bytes() == b"".join(writes[:5])
    run.go_on(6, 7)
    assert Shown(run.folder.tensorboard).steps("train/loss") == list(range(1, 8))
