"""Whether a run has become slow: the tokens a second of its last steps beside those of its steps before."""

from bisect import insort
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

LAST_STEPS = 20  # enough that one short example, evaluation or page fault is not their median
SLOW_SHARE = 0.8  # of the earlier median; machines that are shared vary by a tenth
RECOVERED_SHARE = 0.9  # apart from SLOW_SHARE, so that a run at the limit does not say it again and again


class ThroughputWatch:
    """Sees the records of a run, oldest first, and notices when its throughput has fallen.

    The median of the last 20 steps is compared with the median of all steps before them, of which there are 20 too at
    least; of a run that goes on, the last 2,000 records before this start are known. While it is slow, steps do not
    count as earlier ones: the measure stays what the run once did.
    """

    def __init__(self) -> None:
        self._last: deque[float] = deque()
        self._earlier: list[float] = []  # sorted
        self._is_slow = False

    def notice(self, record: Mapping[str, Any]) -> str | None:
        """A sentence when throughput falls below 0.8 of what it was; the next one after it was at 0.9 again."""
        rate = record.get("tokens_per_second")
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
            f"step {record['step']}: {now:,.0f} tokens/s in the median of the last {LAST_STEPS} steps, "
            f"{now / before:.0%} of the {before:,.0f} before: see whether other work or swapping slows this machine"
        )


def _median_of_sorted(values: list[float]) -> float:
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
