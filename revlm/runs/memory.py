"""Measured memory in bytes: resident (CPU) or allocated (CUDA), with the peak of each phase of a step.

On the CPU the peak is the kernel's high-water mark of resident memory, which a process can reset on Linux. On other
systems it never falls, so peaks by phase are not available there and are None.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from revlm.records import PHASES, peak_key

if TYPE_CHECKING:
    import torch

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): writing 5 to clear_refs resets VmHWM to the current VmRSS


class _Gauge(Protocol):
    """Reads a device's memory counters."""

    resettable: bool

    def current_bytes(self) -> int: ...

    def attainable_bytes(self) -> int:
        """Memory in use plus what is free; on the CPU, where free memory is not known, only memory in use."""

    def peak_bytes(self) -> int:
        """The peak since the last reset, or of the whole process if the gauge cannot be reset."""

    def reset_peak(self) -> None: ...

    def reserved_peak_bytes(self) -> int | None: ...

    def retries(self) -> int: ...


class MemoryMeter:
    """Measures the phases of each step; create it after the imports and before the model.

        meter.start_step()
        with meter.phase("forward"): ...
        record |= meter.peaks()

    A phase may occur several times in a step (the largest peak counts), and phases may be nested.
    """

    def __init__(self, device: "torch.device | str" = "cpu") -> None:
        """Takes the current memory use of the device as the baseline."""
        self._gauge: _Gauge = _CudaGauge(device) if str(device).startswith("cuda") else _process_gauge()
        self.baseline_bytes = self._gauge.current_bytes()
        self._active: list[str] = []
        self.start_step()

    @property
    def peaks_by_phase(self) -> bool:
        """Whether peaks by phase are available on this system."""
        return self._gauge.resettable

    def start_step(self) -> None:
        """Resets the peaks for a new step."""
        self._peaks: dict[str, int] = {}
        self._step_peak_bytes = 0
        self._step_reserved_bytes: int | None = None
        self._gauge.reset_peak()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the peak of the block towards the phase `name`."""
        self._note_peak()
        self._active.append(name)
        try:
            yield
        finally:
            self._note_peak()
            self._active.pop()

    def peaks(self) -> dict[str, int | None]:
        """The memory of the step so far, under the keys of the journal.

        `memory_peak_bytes` is the peak of the whole step, between its phases too; if peaks by phase are not available,
        it is that of the process. Only CUDA has `memory_reserved_bytes` and `memory_allocation_retries`, the number of
        times in the run that cached memory had to be freed before an allocation fit.
        """
        self._note_peak()
        measured: dict[str, int | None] = {"memory_baseline_bytes": self.baseline_bytes}
        for name in dict.fromkeys((*PHASES, *self._peaks)):
            measured[peak_key(name)] = self._peaks.get(name) if self.peaks_by_phase else None
        measured["memory_peak_bytes"] = self._step_peak_bytes
        if self._step_reserved_bytes is not None:
            measured["memory_reserved_bytes"] = self._step_reserved_bytes
            measured["memory_allocation_retries"] = self.allocation_retries()
        return measured

    def current_bytes(self) -> int:
        """Resident (CPU) or allocated (CUDA) bytes now."""
        return self._gauge.current_bytes()

    def attainable_bytes(self) -> int:
        """The memory available when it ran out: memory in use, plus free memory on CUDA."""
        return self._gauge.attainable_bytes()

    def allocation_retries(self) -> int:
        """How often CUDA had to free cached memory before an allocation fit; 0 on the CPU."""
        return self._gauge.retries()

    def _note_peak(self) -> None:
        peak_bytes = self._gauge.peak_bytes()
        reserved_bytes = self._gauge.reserved_peak_bytes()
        self._gauge.reset_peak()
        self._step_peak_bytes = max(self._step_peak_bytes, peak_bytes)
        if reserved_bytes is not None:
            self._step_reserved_bytes = max(self._step_reserved_bytes or 0, reserved_bytes)
        for name in self._active:
            self._peaks[name] = max(self._peaks.get(name, 0), peak_bytes)


class _LinuxGauge:
    resettable = True

    def current_bytes(self) -> int:
        return _status_bytes("VmRSS")

    def attainable_bytes(self) -> int:
        return self.current_bytes()

    def peak_bytes(self) -> int:
        return _status_bytes("VmHWM")

    def reset_peak(self) -> None:
        _CLEAR_REFS.write_text(_RESET_PEAK)

    def reserved_peak_bytes(self) -> None:
        return None

    def retries(self) -> int:
        return 0


class _PosixGauge:
    """Resident memory where the high-water mark cannot be reset."""

    resettable = False

    def current_bytes(self) -> int:
        import psutil

        return psutil.Process().memory_info().rss

    def attainable_bytes(self) -> int:
        return self.current_bytes()

    def peak_bytes(self) -> int:
        import resource

        unit_bytes = 1 if sys.platform == "darwin" else 1024  # getrusage(2) counts bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes

    def reset_peak(self) -> None:
        pass

    def reserved_peak_bytes(self) -> None:
        return None

    def retries(self) -> int:
        return 0


class _CudaGauge:
    resettable = True

    def __init__(self, device: "torch.device | str") -> None:
        import torch

        self._cuda = torch.cuda
        self._device = torch.device(device)

    def current_bytes(self) -> int:
        return self._cuda.memory_allocated(self._device)

    def attainable_bytes(self) -> int:
        free, _ = self._cuda.mem_get_info(self._device)
        return free + self._cuda.memory_reserved(self._device)

    def peak_bytes(self) -> int:
        """Memory is counted when it is allocated, before kernels run: a true peak needs no synchronisation."""
        return self._cuda.max_memory_allocated(self._device)

    def reset_peak(self) -> None:
        self._cuda.reset_peak_memory_stats(self._device)

    def reserved_peak_bytes(self) -> int:
        return self._cuda.max_memory_reserved(self._device)

    def retries(self) -> int:
        return self._cuda.memory_stats(self._device).get("num_alloc_retries", 0)


def _status_bytes(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"{_STATUS} has no {key}")


def _process_gauge() -> _Gauge:
    """The gauge that works on this system: some Linux sandboxes have no clear_refs, or do not let it be written."""
    try:
        gauge = _LinuxGauge()
        gauge.reset_peak()
        gauge.peak_bytes()
    except (OSError, RuntimeError):
        return _PosixGauge()
    return gauge
