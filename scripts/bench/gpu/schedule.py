"""Chooses the measurements that fit in the available time: short examples first, none that would not finish."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

# The start of a process: imports, compilation of kernels, warm-up.
_START_SECONDS = 25.0
# Steps per measurement, and a margin for underestimates.
_STEPS, _ROOM = 3, 1.3


class Cell(NamedTuple):
    """A system and a length."""

    system: str
    tokens: int


Measure = Callable[[Cell, float], dict[str, Any]]
"""Measures a cell within a number of seconds; `status` of the result is done, out_of_memory, out_of_time or failed."""


def measurements(
    systems: Sequence[str], lengths: Sequence[int], seconds: float, measure: Measure
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Yields the result of each cell; `status` may also be left_out, with a `cause`."""
    deadline = time.monotonic() + seconds
    done: dict[Cell, dict[str, Any]] = {}
    for tokens in sorted(lengths):
        for system in systems:
            cell, left = Cell(system, tokens), deadline - time.monotonic()
            cause = _reason_to_leave_out(cell, done, left)
            result = {"status": "left_out", "cause": cause} if cause else measure(cell, left)
            done[cell] = result
            yield cell, result


def _reason_to_leave_out(cell: Cell, done: dict[Cell, dict[str, Any]], left_seconds: float) -> str | None:
    shorter = [each for each in done if each.system == cell.system and each.tokens < cell.tokens]
    failed = [each for each in shorter if done[each]["status"] in ("out_of_memory", "failed")]
    if failed:
        return f"{done[failed[0]]['status'].replace('_', ' ')} at {failed[0].tokens:,} tokens"
    wanted = _START_SECONDS
    measured = [each for each in shorter if done[each]["status"] == "done"]
    if measured:
        latest = max(measured, key=lambda each: each.tokens)
        growth = (cell.tokens / latest.tokens) ** (2 if cell.system == "exact" else 1)
        step = done[latest]["seconds"] * growth
        wanted += _ROOM * step * (_STEPS if _STEPS * step < 60 else 1)
    elif shorter:
        return "a shorter example was left out"
    return f"about {wanted:,.0f} s, and {max(left_seconds, 0):,.0f} s are left" if wanted > left_seconds else None
