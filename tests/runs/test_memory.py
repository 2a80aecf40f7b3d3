import mmap

import pytest
import torch

from revlm.runs import MemoryMeter, memory_snapshot_on_failure
from revlm.runs import memory as memory_module

MIB = 2**20
# What the interpreter and the allocator do besides.
SLACK = 4 * MIB


@pytest.fixture
def meter():
    meter = MemoryMeter("cpu")
    if not meter.peaks_by_phase:
        pytest.skip("this system cannot set the peak of resident memory back")
    return meter


def touch(mebibytes: int) -> mmap.mmap:
    """Fresh pages of the system's, whatever earlier tests left free in the allocator's heap."""
    region = mmap.mmap(-1, mebibytes * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, len(region), mmap.PAGESIZE):
        region[page] = 1
    return region


def test_each_phase_has_its_own_peak(meter):
    before = meter.current_bytes()
    with meter.phase("forward"):
        touch(64)
    with meter.phase("backward"):
        touch(128)
    with meter.phase("optimizer"):
        pass
    peaks = meter.peaks()
    assert abs(peaks["memory_forward_peak_bytes"] - before - 64 * MIB) < SLACK
    assert abs(peaks["memory_backward_peak_bytes"] - before - 128 * MIB) < SLACK
    assert abs(peaks["memory_optimizer_peak_bytes"] - before) < SLACK
    assert peaks["memory_peak_bytes"] == peaks["memory_backward_peak_bytes"]
    assert peaks["memory_baseline_bytes"] == meter.baseline_bytes
    assert "memory_reserved_bytes" not in peaks


def test_a_phase_that_comes_again_keeps_its_largest_peak_until_the_next_step(meter):
    before = meter.current_bytes()
    for mebibytes in (64, 128, 64):
        with meter.phase("forward"):
            touch(mebibytes)
    assert abs(meter.peaks()["memory_forward_peak_bytes"] - before - 128 * MIB) < SLACK
    meter.start_step()
    with meter.phase("forward"):
        touch(64)
    assert abs(meter.peaks()["memory_forward_peak_bytes"] - before - 64 * MIB) < SLACK
    assert meter.peaks()["memory_backward_peak_bytes"] is None


def test_what_lies_between_and_inside_phases_is_counted(meter):
    before = meter.current_bytes()
    touch(160)
    with meter.phase("backward"):
        held = touch(64)
        with meter.phase("recompute"):
            touch(48)
        del held
    peaks = meter.peaks()
    assert abs(peaks["memory_peak_bytes"] - before - 160 * MIB) < SLACK
    assert abs(peaks["memory_backward_peak_bytes"] - before - 112 * MIB) < SLACK
    assert abs(peaks["memory_recompute_peak_bytes"] - before - 112 * MIB) < SLACK


def test_where_peaks_cannot_be_set_back_those_of_phases_are_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_module, "_CLEAR_REFS", tmp_path / "none" / "clear_refs")
    meter = MemoryMeter("cpu")
    assert not meter.peaks_by_phase
    with meter.phase("forward"):
        pass
    peaks = meter.peaks()
    assert peaks["memory_forward_peak_bytes"] is None
    assert peaks["memory_peak_bytes"] > 10 * MIB
    assert meter.allocation_retries() == 0


def test_no_snapshot_is_written_without_cuda(tmp_path):
    with pytest.raises(MemoryError), memory_snapshot_on_failure(None):
        raise MemoryError
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_phases_and_snapshot(tmp_path):
    meter = MemoryMeter("cuda")
    with meter.phase("forward"):
        torch.ones(64 * MIB, dtype=torch.uint8, device="cuda")
    peaks = meter.peaks()
    assert peaks["memory_forward_peak_bytes"] - peaks["memory_baseline_bytes"] == 64 * MIB
    assert peaks["memory_reserved_bytes"] >= peaks["memory_peak_bytes"]
    assert peaks["memory_allocation_retries"] == 0
    with pytest.raises(torch.OutOfMemoryError), memory_snapshot_on_failure(tmp_path / "snapshot"):
        torch.ones(2**50, dtype=torch.uint8, device="cuda")
    assert (tmp_path / "snapshot").stat().st_size > 0
