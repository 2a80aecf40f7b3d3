"""The colours of pages and pictures, light and dark; after Okabe and Ito's set for colour-blind readers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Theme:
    """The colours of a page and of the pictures on it."""

    paper: str
    ink: str
    muted: str
    rule: str
    blue: str
    orange: str
    green: str
    runs: tuple[str, ...]
    depth_range: tuple[float, float]  # the part of the viridis colour map that stands out from the paper

    def run_color(self, place: int) -> str:
        """The colour of the run at a place; colours repeat after the last."""
        return self.runs[place % len(self.runs)]

    def depth_colors(self, count: int) -> list[str]:
        """That many colours from dark to light, for lines with an order."""
        from matplotlib import colormaps  # a page without pictures needs no matplotlib
        from matplotlib.colors import to_hex

        return [to_hex(colormaps["viridis"](place)) for place in np.linspace(*self.depth_range, count)]


LIGHT = Theme(
    paper="#ffffff",
    ink="#1c2127",
    muted="#5f6873",
    rule="#e2e5e9",
    blue="#0072b2",
    orange="#d55e00",
    green="#00865f",
    runs=("#0072b2", "#d55e00", "#00865f", "#b5528f", "#a87400", "#4b8fc0", "#1c2127"),
    depth_range=(0.05, 0.65),
)
DARK = Theme(
    paper="#15181c",
    ink="#e4e7ea",
    muted="#98a2ad",
    rule="#2c3239",
    blue="#56b4e9",
    orange="#ff8d4d",
    green="#2cc495",
    runs=("#56b4e9", "#ff8d4d", "#2cc495", "#e29ac6", "#e6b93f", "#a5cdf0", "#e4e7ea"),
    depth_range=(0.45, 0.95),
)
