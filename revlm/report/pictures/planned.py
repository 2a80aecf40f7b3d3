"""The part of the memory picture that holds the plan against a step: measured peaks over what was planned to be there.

All of it is beyond what the process held before there was a model.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from revlm.records import PHASES, MemoryPlan, peak_key
from revlm.report.pictures.canvas import Canvas, KeyEntry, legend_below
from revlm.report.pictures.theme import Theme
from revlm.text import human_bytes

_COLORED = 6  # the categories that hold the most; what is left is one part
_OTHER = "other"
_BAR = 0.34  # of bars that lie a unit apart
_PHASE_HEIGHT, _KEY_ROW = 0.62, 0.24  # inches


class _Part(NamedTuple):
    """A category of the plan, or all the small ones together: its bytes at the peak of each phase."""

    name: str
    color: str
    sizes: dict[str, int]


def planned_height(plan: MemoryPlan, canvas: Canvas) -> float:
    """The inches that the bars of a plan take, with their key."""
    parts = len(_parts(plan, canvas.theme))
    return len(_phases(plan)) * _PHASE_HEIGHT + -(-parts // _key_columns(canvas)) * _KEY_ROW


def draw_planned(axes: Axes, canvas: Canvas, plan: MemoryPlan, step: Mapping[str, Any]) -> None:
    """Draws two bars for each phase: what was measured in a step, and what was planned, in parts."""
    parts, phases, theme = _parts(plan, canvas.theme), _phases(plan), canvas.theme
    measured = {phase: _measured(step, phase) for phase in phases}
    planned = {phase: sum(part.sizes[phase] for part in parts) for phase in phases}
    canvas.bars(axes, phases)
    axes.set_xlim(0, max(1, *planned.values(), *(size for size in measured.values() if size is not None)))
    for place, phase in enumerate(phases):
        size = measured[phase]
        if size is not None:
            axes.barh(place - 0.19, size, _BAR, color=theme.muted, alpha=0.45, linewidth=0)
        canvas.mark(axes, f"{human_bytes(size)} measured", size or 0, place - 0.19)
        left = 0
        for part in parts:
            axes.barh(place + 0.19, part.sizes[phase], _BAR, left=left, color=part.color, linewidth=0)
            left += part.sizes[phase]
        canvas.mark(axes, f"{human_bytes(left)} planned", left, place + 0.19)
    legend_below(axes, [KeyEntry(part.name, part.color, "s") for part in parts], _key_columns(canvas))


def _phases(plan: MemoryPlan) -> list[str]:
    return [phase for phase in PHASES if phase in plan.peaks]


def _parts(plan: MemoryPlan, theme: Theme) -> list[_Part]:
    phases = _phases(plan)
    largest = {name: max((plan.peaks[phase].get(name, 0) for phase in phases), default=0) for name in plan.categories}
    colored = sorted(largest, key=lambda name: -largest[name])[:_COLORED]
    kept = [name for name in plan.categories if name in colored and largest[name] > 0]
    parts = [
        _Part(plan.categories[name], theme.run_color(place), {p: plan.peaks[p].get(name, 0) for p in phases})
        for place, name in enumerate(kept)
    ]
    rest = {p: sum(size for name, size in plan.peaks[p].items() if name not in kept) for p in phases}
    return [*parts, _Part(_OTHER, theme.muted, rest)] if any(rest.values()) else parts


def _measured(step: Mapping[str, Any], phase: str) -> int | None:
    peak = step[peak_key(phase)]
    return None if peak is None else max(0, peak - (step["memory_baseline_bytes"] or 0))


def _key_columns(canvas: Canvas) -> int:
    return 1 if canvas.narrow else 4
