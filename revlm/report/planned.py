"""The part of the memory picture that holds the plan against a step: measured peaks over what was planned to be there.

All of it is beyond what the process held before there was a model.
"""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revlm.report.canvas import FONT_SIZE, ROW, Canvas, KeyEntry
from revlm.report.records import Plan, Step
from revlm.report.theme import Theme
from revlm.report.units import human_bytes

_PHASES = ("forward", "backward", "optimizer")
_COLORED = 6  # the categories that hold the most; what is left is one part
_OTHER = "other"
_BAR_HEIGHT, _PHASE_HEIGHT = 0.34, 0.62  # of bars that lie a unit apart; inches


class _Part(NamedTuple):
    """A category of the plan, or all the small ones together: its bytes at the peak of each phase."""

    name: str
    color: str
    sizes: dict[str, int]


def planned_height(plan: Plan, canvas: Canvas) -> float:
    """The inches that `draw_planned` takes."""
    key = canvas.key_height(_key(_parts(plan, canvas.theme)))
    return 2 * ROW + key + len(_phases(plan)) * _PHASE_HEIGHT + 0.25


def draw_planned(figure: Figure, canvas: Canvas, plan: Plan, step: Step, top: float) -> None:
    """Draws, from `top` inches below the top of the figure, two bars for each phase: measured, and planned in parts."""
    parts, phases, theme = _parts(plan, canvas.theme), _phases(plan), canvas.theme
    canvas.write(
        figure,
        0.1,
        top,
        f"beyond the baseline in step {step.step:,}",
        color=theme.muted,
    )
    entries = _key(parts)
    canvas.key(figure, top + ROW + 0.05, entries)
    bars_top = top + ROW + canvas.key_height(entries) + 0.2
    axes = canvas.panel(figure, 0.95, bars_top, canvas.width - 1.35 - 0.95, len(phases) * _PHASE_HEIGHT, "")
    measured = {phase: _measured(step, phase) for phase in phases}
    planned = {phase: sum(part.sizes[phase] for part in parts) for phase in phases}
    axes.set_xlim(0, max(1, *planned.values(), *(size for size in measured.values() if size is not None)))
    axes.set_ylim(len(phases) - 0.4, -0.6)
    for place, phase in enumerate(phases):
        size = measured[phase]
        if size is not None:
            axes.barh(place - 0.19, size, _BAR_HEIGHT, color=theme.muted, alpha=0.45, linewidth=0)
        _label(axes, size, place - 0.19, "measured", theme)
        left = 0
        for part in parts:
            axes.barh(place + 0.19, part.sizes[phase], _BAR_HEIGHT, left=left, color=part.color, linewidth=0)
            left += part.sizes[phase]
        _label(axes, left, place + 0.19, "planned", theme)
    axes.set_yticks(range(len(phases)), list(phases))
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_visible(True)
    axes.spines["left"].set_color(theme.muted)
    axes.set_xticks([])


def _phases(plan: Plan) -> list[str]:
    return [phase for phase in _PHASES if phase in plan.peaks]


def _parts(plan: Plan, theme: Theme) -> list[_Part]:
    phases = _phases(plan)
    largest = {name: max(plan.peaks[phase].get(name, 0) for phase in phases) for name in plan.categories}
    colored = sorted(largest, key=lambda name: -largest[name])[:_COLORED]
    kept = [name for name in plan.categories if name in colored and largest[name] > 0]
    parts = [
        _Part(plan.categories[name], theme.run_color(place), {p: plan.peaks[p].get(name, 0) for p in phases})
        for place, name in enumerate(kept)
    ]
    rest = {p: sum(size for name, size in plan.peaks[p].items() if name not in kept) for p in phases}
    return [*parts, _Part(_OTHER, theme.muted, rest)] if any(rest.values()) else parts


def _key(parts: Sequence[_Part]) -> list[KeyEntry]:
    return [KeyEntry(part.name, part.color, "s") for part in parts]


def _measured(step: Step, phase: str) -> int | None:
    peak = getattr(step, f"memory_{phase}_peak_bytes")
    return None if peak is None else max(0, peak - (step.memory_baseline_bytes or 0))


def _label(axes: Axes, size: int | None, height: float, word: str, theme: Theme) -> None:
    axes.annotate(
        f"{human_bytes(size)} {word}",
        (size or 0, height),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        size=FONT_SIZE,
        color=theme.ink,
        annotation_clip=False,
    )
