"""Detects when a run becomes slow: compares the tokens per second of its last steps with those of earlier steps."""

from bisect import insort
from collections import deque
from collections.abc import Collection, Mapping
from statistics import median
from typing import Any

LAST_STEPS = 20  # enough that one short example, evaluation or page fault does not move the median
SLOW_SHARE = 0.8  # of the earlier median; shared machines vary by a tenth
RECOVERED_SHARE = 0.9  # above SLOW_SHARE, so that a run at the threshold is not reported again and again


class ThroughputWatch:
    """Takes the records of a run, oldest first, and reports when its throughput has dropped.

    It compares the median of the last 20 steps with the median of all steps before them, of which there must be at
    least 20; of a resumed run, the last 2,000 records before this start count. While the run is slow, its steps do not
    join the earlier ones: the baseline stays what the run once reached. After the steps `changes` the examples have
    another length, and so another throughput: the comparison starts again.
    """

    def __init__(self, changes: Collection[int] = ()) -> None:
        self._changes = changes
        self._last: deque[float] = deque()
        self._earlier: list[float] = []  # sorted
        self._is_slow = False

    def notice(self, record: Mapping[str, Any]) -> str | None:
        """A sentence when throughput drops below 0.8 of the baseline; the next one only after it was back at 0.9."""
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
