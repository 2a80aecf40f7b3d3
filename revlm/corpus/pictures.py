"""A picture as a document: its height, width and channels, then its pixels row by row, the channels of each in turn."""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from revlm.errors import DataError

Pixels = npt.NDArray[np.uint8]
"""[height, width, channels]; one channel is grey, three are red, green and blue."""

_HEADER = struct.Struct(">HHB")
HEADER_BYTES = _HEADER.size
LONGEST_SIDE = (1 << 16) - 1


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


def document_bytes(header: bytes) -> int:
    """Returns the size of the document that begins with a header."""
    height, width, channels = _HEADER.unpack(header[:HEADER_BYTES])
    return int(HEADER_BYTES + height * width * channels)


def pixels_of(document: bytes) -> Pixels:
    """Returns the picture of a document.

    Raises:
        DataError: the bytes are not the document of a picture.
    """
    if len(document) < HEADER_BYTES or len(document) != document_bytes(document) or document[4] not in (1, 3):
        raise DataError("these bytes are not a picture of the tokenizer pixels: give a document that it has encoded")
    return np.frombuffer(document, np.uint8, offset=HEADER_BYTES).reshape(_HEADER.unpack(document[:HEADER_BYTES]))
