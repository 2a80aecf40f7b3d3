"""Reads pictures: PNG, JPEG and WebP files as their pixels, 8 bits a channel.

A picture is turned as its EXIF orientation says, palettes become colours, and transparency is composed onto white.
Colour profiles are not applied. Nothing else changes a pixel, unless a size or grey is asked for.
"""

import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from revlm.corpus.reading.readers.opened import opened
from revlm.corpus.reading.readers.raw import RawBytes, Reading, UnusableFileError, unreadable, why
from revlm.errors import DataError
from revlm.pictures import LONGEST_SIDE, PictureShape, Pixels, document_of

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("PNG", "JPEG", "WEBP")
_PIECE_BYTES = 1 << 18
# The modes of Pillow with at most 8 bits a channel whose colours need no profile.
_KNOWN_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
_SCAN = b"\xff\xda"
_MAX_SCANS = 100  # progressive files have about ten; a few bytes make a decoder pass over all pixels once more
_PNG_DEPTH_AT = 24  # the bit depth in the IHDR chunk, which comes first


def read_picture(path: Path, reading: Reading) -> Iterator[RawBytes]:
    """Yields the one picture of a file, as `pictures.document_of` has it."""
    reading.raise_if_stopped()
    with opened(path) as file:
        content = picture_in(path, file, reading)
        pieces = (content[start : start + _PIECE_BYTES] for start in range(0, len(content), _PIECE_BYTES))
        yield RawBytes(pieces, path.stat().st_size)


def picture_document(path: Path, shape: PictureShape) -> bytes:
    """Returns the document of the picture in a file; raises DataError where there is none that can be read."""
    try:
        with opened(path) as file:
            return picture_in(path, file, Reading(kind="picture", pictures=shape))
    except (UnusableFileError, OSError) as error:
        problem = error if isinstance(error, UnusableFileError) else unreadable(path, error)
        raise DataError(f"the picture {path} {problem.reason}; {problem.remedy}") from error


def picture_in(path: Path, file: IO[bytes], reading: Reading) -> bytes:
    """Returns the document of the picture in an open file.

    Raises:
        UnusableFileError: it is not a picture, damaged, too large, animated, or of a kind that would lose information.
    """
    from PIL import Image, ImageFile, UnidentifiedImageError

    if ImageFile.LOAD_TRUNCATED_IMAGES:  # another library's choice
        raise UnusableFileError(path, "cannot be read safely", "unset PIL.ImageFile.LOAD_TRUNCATED_IMAGES")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=_FORMATS) as picture:
                _require_usable(path, file, picture, reading)
                return document_of(_channels_last(np.asarray(_converted(picture, reading.pictures))))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            reason = "has too many pixels to be read safely"
            raise UnusableFileError(path, reason, "scale it down") from error
        except UnidentifiedImageError as error:
            raise UnusableFileError(path, "is not a PNG, JPEG or WebP picture", "save it as one of these") from error
        except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:  # Pillow's, for what is damaged
            reason = f"is damaged or truncated ({why(error)})"
            raise UnusableFileError(path, reason, "fetch or save it again") from error


def _require_usable(path: Path, file: IO[bytes], picture: "Image.Image", reading: Reading) -> None:
    """Raises UnusableFileError before anything is decoded."""
    width, height = picture.size
    if max(width, height) > LONGEST_SIDE or 4 * width * height > reading.limits.max_line_bytes:
        limit = f"{reading.limits.max_line_bytes:,} bytes hold at 4 a pixel"
        reason = f"has {width:,} x {height:,} pixels, more than {limit}"
        raise UnusableFileError(path, reason, "scale it down, or pass a higher --max-line-bytes")
    # A JPEG with a second picture, such as a preview, is the first one.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise UnusableFileError(path, "is animated", "save one of its pictures as a file")
    if picture.format in ("JPEG", "MPO") and _scans(file) > _MAX_SCANS:
        reason = f"has more than {_MAX_SCANS} scans, each of which passes over all its pixels"
        raise UnusableFileError(path, reason, "save it again")
    if _has_16_bits(file, picture):
        raise UnusableFileError(path, "has 16 bits a channel", "save it with 8")
    if picture.mode not in _KNOWN_MODES:
        raise UnusableFileError(path, f"has colours that are not RGB ({picture.mode})", "convert it to RGB")


def _scans(file: IO[bytes]) -> int:
    """Returns how often a JPEG's file has the marker of a scan, which its compressed data cannot contain."""
    before = file.tell()
    file.seek(0)
    count, last = 0, b""
    while piece := file.read(_PIECE_BYTES):
        count += (last + piece).count(_SCAN)
        last = piece[-1:]
    file.seek(before)
    return count


def _has_16_bits(file: IO[bytes], picture: "Image.Image") -> bool:
    """Whether a PNG has 16 bits a channel, which Pillow would cut to 8."""
    if picture.format != "PNG":
        return False
    before = file.tell()
    file.seek(_PNG_DEPTH_AT)
    depth = file.read(1)
    file.seek(before)
    return depth == b"\x10"


def _converted(picture: "Image.Image", shape: PictureShape) -> "Image.Image":
    """Returns the picture in the mode L or RGB, as it should be stored."""
    from PIL import Image, ImageOps

    is_grey = shape.is_grey or picture.mode in ("1", "L", "LA")
    picture = _upright(picture)
    if picture.has_transparency_data:
        colours = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    picture = picture.convert("L" if is_grey else "RGB")
    if shape.size is not None and picture.size != (shape.size, shape.size):
        picture = ImageOps.fit(picture, (shape.size, shape.size), Image.Resampling.BOX)
    return picture


def _upright(picture: "Image.Image") -> "Image.Image":
    """Returns the picture turned as its EXIF says. `ImageOps.exif_transpose` fails where it rewrites damaged tags."""
    from PIL import ExifTags, Image

    turns = Image.Transpose
    turn_of: dict[Any, Image.Transpose] = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }
    turn = turn_of.get(picture.getexif().get(ExifTags.Base.Orientation))
    return picture if turn is None else picture.transpose(turn)


def _channels_last(pixels: Pixels) -> Pixels:
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
