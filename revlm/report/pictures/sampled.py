"""Pictures that a model completed, each with a bar beside the rows that it was given."""

from base64 import b64encode
from typing import NamedTuple

import numpy as np

from revlm.pictures import png_of
from revlm.records import SampledPicture
from revlm.report.pictures.theme import LIGHT

_BAR_PIXELS, _GAP_PIXELS = 2, 1
_BAR = tuple(bytes.fromhex(LIGHT.orange.removeprefix("#")))
_SHOWN_PIXELS = 192  # of the longer side of a small picture on the page, at most
_MAX_ENLARGED = 8


class DrawnSample(NamedTuple):
    """A sampled picture as a data URL, and its width on the page in CSS pixels."""

    source: str
    width: int


def draw_sample(picture: SampledPicture) -> DrawnSample:
    """Returns a sampled picture with the bar at its left; small pictures are enlarged by a whole factor."""
    height, width, _ = picture.pixels.shape
    drawn = np.full((height, _BAR_PIXELS + _GAP_PIXELS + width, 3), 255, dtype=np.uint8)
    drawn[: picture.rows, :_BAR_PIXELS] = _BAR
    drawn[:, _BAR_PIXELS + _GAP_PIXELS :] = picture.pixels
    factor = min(_MAX_ENLARGED, max(1, _SHOWN_PIXELS // max(height, width)))
    encoded = b64encode(png_of([drawn])).decode("ascii")
    return DrawnSample(f"data:image/png;base64,{encoded}", factor * drawn.shape[1])
