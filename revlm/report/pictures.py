"""Pictures on a page: each is drawn light and dark, wide and narrow, and the browser takes one of them."""

from base64 import b64encode
from collections.abc import Callable
from html import escape
from typing import NamedTuple

from matplotlib.figure import Figure

from revlm.report.canvas import CSS_PIXELS_PER_INCH, Canvas, to_png
from revlm.report.theme import DARK, LIGHT

WIDE_INCHES, NARROW_INCHES = 8.6, 3.6
NARROW_BELOW_PIXELS = 560


class Picture(NamedTuple):
    """A picture with the words that stand for it where it cannot be seen."""

    draw: Callable[[Canvas], Figure]
    description: str


def standalone_png(picture: Picture, title: str) -> bytes:
    """The picture for a file of its own: light, wide, with a title."""
    return to_png(picture.draw(Canvas(LIGHT, WIDE_INCHES, title)))


def picture_html(picture: Picture) -> str:
    """A `picture` element that holds every variant as base64."""
    narrow = f"(max-width: {NARROW_BELOW_PIXELS}px)"
    dark = "(prefers-color-scheme: dark)"
    sources = [
        (f"{narrow} and {dark}", Canvas(DARK, NARROW_INCHES)),
        (narrow, Canvas(LIGHT, NARROW_INCHES)),
        (dark, Canvas(DARK, WIDE_INCHES)),
    ]
    lines = [f'<source media="{media}" srcset="{_data_url(picture, canvas)}">' for media, canvas in sources]
    fallback = _data_url(picture, Canvas(LIGHT, WIDE_INCHES))
    width = round(WIDE_INCHES * CSS_PIXELS_PER_INCH)
    lines.append(f'<img src="{fallback}" alt="{escape(picture.description)}" width="{width}">')
    return "\n".join(["<picture>", *lines, "</picture>"])


def _data_url(picture: Picture, canvas: Canvas) -> str:
    return "data:image/png;base64," + b64encode(to_png(picture.draw(canvas))).decode("ascii")
