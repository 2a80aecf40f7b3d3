"""Pictures on a page: each is drawn light and dark, wide and narrow, and the browser chooses one."""

from base64 import b64encode
from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from revlm.report.pictures.canvas import CSS_PIXELS_PER_INCH, Canvas, to_png
from revlm.report.pictures.theme import DARK, LIGHT

WIDE_INCHES, NARROW_INCHES = 8.6, 3.6
WIDE_PIXELS = round(WIDE_INCHES * CSS_PIXELS_PER_INCH)
NARROW_BELOW_PIXELS = 560


class Picture(NamedTuple):
    """A picture with its alternative text."""

    draw: Callable[[Canvas], Figure]
    description: str


def standalone_png(picture: Picture, title: str) -> bytes:
    """The picture as a file: light, wide, with a title."""
    return to_png(picture.draw(Canvas(LIGHT, WIDE_INCHES, title)))


def sources(picture: Picture) -> list[tuple[str, str]]:
    """The variants of a picture as data URLs, each with its media query; the last has none and always applies."""
    narrow = f"(max-width: {NARROW_BELOW_PIXELS}px)"
    dark = "(prefers-color-scheme: dark)"
    variants = [
        (f"{narrow} and {dark}", Canvas(DARK, NARROW_INCHES)),
        (narrow, Canvas(LIGHT, NARROW_INCHES)),
        (dark, Canvas(DARK, WIDE_INCHES)),
        ("", Canvas(LIGHT, WIDE_INCHES)),
    ]
    return [(media, _data_url(picture, canvas)) for media, canvas in variants]


def _data_url(picture: Picture, canvas: Canvas) -> str:
    return "data:image/png;base64," + b64encode(to_png(picture.draw(canvas))).decode("ascii")
