"""Renders HTML templates: every value is escaped, control characters are made visible, and no page loads anything."""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

from jinja2 import Environment

from revlm.report.pictures.picture import WIDE_PIXELS, sources
from revlm.report.pictures.sampled import draw_sample
from revlm.report.pictures.theme import DARK, LIGHT, Theme
from revlm.templates import template_environment
from revlm.text import figure_text, human_bytes, human_count, human_duration, human_flops_per_second, visible_text


def page(template: str, **values: Any) -> str:
    """Renders a template, such as `run.html.j2`."""
    colors = {"light": _colors(LIGHT), "dark": _colors(DARK)}
    return _environment().get_template(template).render(sources=sources, **colors, **values)


@cache
def _environment() -> Environment:
    environment = template_environment(
        "revlm.report",
        autoescape=True,
        finalize=lambda value: visible_text(value) if type(value) is str else value,
    )
    helpers: dict[str, Callable[..., Any]] = {
        "bytes": human_bytes,
        "count": human_count,
        "duration": human_duration,
        "figure": figure_text,
        "flops_per_second": human_flops_per_second,
    }
    environment.filters |= helpers
    environment.globals |= {
        "wide_pixels": WIDE_PIXELS,
        "run_colors": len(LIGHT.runs),
        "sampled_picture": draw_sample,
    }
    return environment


def _colors(theme: Theme) -> dict[str, str]:
    """The colours of a theme as variables of CSS."""
    colors = {name: value for name, value in asdict(theme).items() if isinstance(value, str)}
    return colors | {f"run-{place}": color for place, color in enumerate(theme.runs)}
