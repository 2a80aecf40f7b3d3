"""Detects when a run becomes slow, by comparing the tokens per second of its last steps with those of earlier steps."""

from bisect import insort
from collections import deque
from collections.abc import Collection, Mapping
from statistics import median
from typing import Any

LAST_STEPS = 20  # enough that one short example, evaluation or page fault does not move the median
SLOW_SHARE = 0.8  # of the earlier median; shared machines vary by a tenth
RECOVERED_SHARE = 0.9  # above SLOW_SHARE, so that a run at the threshold is not reported again and again


class ThroughputMonitor:
    """Takes the records of a run, oldest first, and reports when its throughput drops.

    The median of the last 20 steps is compared with a baseline: the median of all steps before them, at least 20. While
    the run is slow, the baseline does not change. After each of the steps `changes` the examples have another length,
    and so another throughput: the comparison starts again.
    """

    def __init__(self, changes: Collection[int] = ()) -> None:
        self._changes = changes
        self._last: deque[float] = deque()
        self._earlier: list[float] = []  # sorted
        self._is_slow = False

    def add(self, record: Mapping[str, Any]) -> str | None:
        """Adds a record; returns a sentence if throughput has dropped below 0.8 of the baseline.

        The next sentence comes only after throughput was back at 0.9 of the baseline.
        """
        rate = record.get("tokens_per_second")
        if record.get("event") == "step" and record["step"] - 1 in self._changes:
            self._last.clear()
            self._earlier.clear()
            self._is_slow = False
        if record.get("event") != "step" or rate is None:
            return None
        self._last.append(rate)
        if len(self._last) > LAST_STEPS:
            left = self._last.popleft()
            if not self._is_slow:
                insort(self._earlier, left)
        if len(self._earlier) < LAST_STEPS:
            return None
        now, before = median(self._last), _median_of_sorted(self._earlier)
        if self._is_slow:
            self._is_slow = now < RECOVERED_SHARE * before
            return None
        self._is_slow = now < SLOW_SHARE * before
        if not self._is_slow:
            return None
        return (
            f"step {record['step']}: {now:,.0f} tokens/s, the median of the last {LAST_STEPS} steps, is "
            f"{now / before:.0%} of the {before:,.0f} before: check whether other work or swapping slows this machine"
        )


def _median_of_sorted(values: list[float]) -> float:
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
