"""The parts of the benchmark, and what of them fits in the available time: short examples first."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

# The start of a process: imports, compilation of kernels, warm-up.
_START_SECONDS = 25.0
# Steps per measurement, and a margin for underestimates.
_STEPS, _ROOM = 3, 1.3
# Whether a part fits does not depend on when it is tried, so these are final.
_FINAL = ("done", "out_of_memory")
_ROUNDS, _WINDOWS = (1, 2, 8), (32, 128)
_DOCUMENTS = 8


class Part(NamedTuple):
    """A measurement in a process of its own; `work` is a key of `bench.gpu.worker.WORKS`."""

    work: str
    system: str
    tokens: int
    rounds: int = 4
    window: int = 64
    documents: int = 1

    @property
    def is_plain_step(self) -> bool:
        """Whether it measures a step with the default rounds and window, on one document."""
        return self == Part("step", self.system, self.tokens)


Result = dict[str, Any]
Measure = Callable[[Part, float], Result]
"""Measures a part within a number of seconds; `status` of the result is done, out_of_memory, out_of_time or failed."""


def planned(systems: Sequence[str], lengths: Sequence[int], detail_tokens: int) -> list[Part]:
    """Returns the parts: steps at each length; at one length, launches, operations and other rounds and windows; and
    an example of several documents, four times as long."""
    details = [
        Part("launches", "revlm", detail_tokens),
        Part("operations", "revlm", detail_tokens),
        *[Part("step", "revlm", detail_tokens, rounds=rounds) for rounds in _ROUNDS],
        *[Part("step", "revlm", detail_tokens, window=window) for window in _WINDOWS],
    ]
    steps = [Part("step", system, tokens) for tokens in lengths for system in systems]
    several = [Part("step", system, 4 * detail_tokens, documents=_DOCUMENTS) for system in ("revlm", "flex")]
    return sorted([*steps, *details, *several], key=lambda part: part.tokens)


def measurements(
    parts: Sequence[Part], seconds: float, part_seconds: float, measure: Measure, known: Mapping[Part, Result]
) -> Iterator[tuple[Part, Result]]:
    """Yields the result of each part; `status` may also be left_out, with a `cause`. Known final ones stand."""
    deadline = time.monotonic() + seconds
    done: dict[Part, Result] = {}
    for part in parts:
        left = min(deadline - time.monotonic(), part_seconds)
        if part in known and known[part]["status"] in _FINAL:
            result = known[part]
        elif cause := _reason_to_leave_out(part, done, left):
            result = {"status": "left_out", "cause": cause}
        else:
            result = measure(part, left)
        done[part] = result
        yield part, result


def _reason_to_leave_out(part: Part, done: dict[Part, Result], left_seconds: float) -> str | None:
    shorter = [each for each in done if each == part._replace(tokens=each.tokens) and each.tokens < part.tokens]
    failed = [each for each in shorter if done[each]["status"] in ("out_of_memory", "failed")]
    if failed:
        return f"{done[failed[0]]['status'].replace('_', ' ')} at {failed[0].tokens:,} tokens"
    wanted = _START_SECONDS
    measured = [each for each in shorter if done[each]["status"] == "done"]
    if measured:
        latest = max(measured, key=lambda each: each.tokens)
        growth = (part.tokens / latest.tokens) ** (2 if part.system == "exact" else 1)
        step = done[latest]["seconds"] * growth
        wanted += _ROOM * step * (_STEPS if _STEPS * step < 60 else 1)
    elif shorter:
        return "a shorter example was left out"
    return f"about {wanted:,.0f} s, and {max(left_seconds, 0):,.0f} s are left" if wanted > left_seconds else None
