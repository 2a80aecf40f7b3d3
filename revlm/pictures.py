"""A picture as a document: its height, width and channels, then its pixels row by row, the channels of each in turn."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt

from revlm.errors import DataError

Pixels = npt.NDArray[np.uint8]
"""[height, width, channels]; one channel is grey, three are red, green and blue."""

_HEADER = struct.Struct(">HHB")
HEADER_BYTES = _HEADER.size
LONGEST_SIDE = (1 << 16) - 1
_GAP_PIXELS = 2  # of white between the pictures of a grid


@dataclass(frozen=True)
class PictureShape:
    """What pictures become before they are stored.

    Attributes:
        size: pixels of both sides, scaled to fit and cropped in the middle; None keeps each picture's own.
        is_grey: whether colours become grey.
    """

    size: int | None = None
    is_grey: bool = False


AS_THEY_ARE = PictureShape()


def header_of(height: int, width: int, channels: int) -> bytes:
    """Returns the beginning of the document of a picture."""
    return _HEADER.pack(height, width, channels)


def document_of(pixels: Pixels) -> bytes:
    """Returns the document of a picture."""
    return header_of(*pixels.shape) + np.ascontiguousarray(pixels).tobytes()


def shape_of(document: bytes) -> tuple[int, int, int]:
    """Returns the height, width and channels of the document of a picture, which may break off after them.

    Raises:
        DataError: the bytes do not begin such a document.
    """
    if len(document) >= HEADER_BYTES:
        height, width, channels = _HEADER.unpack(document[:HEADER_BYTES])
        if height and width and channels in (1, 3):
            return height, width, channels
    raise _no_picture()


def document_bytes(document: bytes) -> int:
    """Returns the size of the whole document that begins like this; raises DataError like `shape_of`."""
    height, width, channels = shape_of(document)
    return HEADER_BYTES + height * width * channels


def pixels_of(document: bytes) -> Pixels:
    """Returns the picture of a document.

    Raises:
        DataError: the bytes are not the document of a picture.
    """
    if len(document) != document_bytes(document):
        raise _no_picture()
    return np.frombuffer(document, np.uint8, offset=HEADER_BYTES).reshape(shape_of(document))


def png_of(pictures: Sequence[Pixels]) -> bytes:
    """Returns one picture as a PNG, or several of one size as a grid on white, row by row."""
    from PIL import Image

    height, width, channels = pictures[0].shape
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    down, right = height + _GAP_PIXELS, width + _GAP_PIXELS
    grid = np.full((rows * down - _GAP_PIXELS, columns * right - _GAP_PIXELS, channels), 255, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * down, number % columns * right
        grid[top : top + height, left : left + width] = picture
    written = BytesIO()
    Image.fromarray(grid[:, :, 0] if channels == 1 else grid).save(written, "PNG")
    return written.getvalue()


def _no_picture() -> DataError:
    return DataError("these bytes are not a picture of the tokenizer pixels: give a document that it has encoded")
