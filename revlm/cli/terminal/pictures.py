"""`revlm generate` with a model of pictures: whole ones, or the lower rows of one."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from revlm.corpus.pictures import HEADER_BYTES, Pixels, document_bytes, header_of, pixels_of
from revlm.errors import DataError, UsageError

if TYPE_CHECKING:
    from revlm.corpus import Tokenizer
    from revlm.generation import TextGenerator

_GAP_PIXELS = 2  # of white between the samples of a grid


def picture_prompt(tokenizer: "Tokenizer", picture: Path | None, rows: int | None) -> bytes:
    """Returns the beginning of a picture's document: the first rows of a file, by default half of them, or none.

    The picture is scaled and converted like those of training.

    Raises:
        UsageError: the file has no further rows, or there is none and the pictures of training were of several sizes.
        DataError: the file is not a picture that can be read.
    """
    shape = tokenizer.pictures
    if picture is None:
        if shape.size is None:
            raise UsageError(
                "the model was trained on pictures of their own sizes: give one to complete with --picture"
            )
        return header_of(shape.size, shape.size, 1 if shape.is_grey else 3)
    document = _document(picture, tokenizer)
    height, width, channels = pixels_of(document).shape
    given = height // 2 if rows is None else rows
    if given >= height:
        raise UsageError(f"--rows {given} leaves nothing to complete of {picture}, which has {height} rows: give fewer")
    return document[: HEADER_BYTES + given * width * channels]


def sample_pictures(
    generator: "TextGenerator", tokenizer: "Tokenizer", prompt: bytes, message: Callable[[str], object]
) -> list[Pixels]:
    """Returns a picture for each sample that continues the prompt; `message` is told what is missing of them."""
    from revlm.generation import Sample, draw_samples

    generator.append(tokenizer.encode_bytes(prompt))
    missing = document_bytes(prompt) - len(prompt)
    message(f"sampling {missing:,} values of each picture")
    samples = [Sample(tokenizer, ()) for _ in range(generator.samples)]
    draw_samples(generator, samples, missing)
    return [pixels_of(prompt + sample.content()) for sample in samples]


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


def _document(picture: Path, tokenizer: "Tokenizer") -> bytes:
    from revlm.corpus.reading.readers import Reading, UnusableFileError, unreadable
    from revlm.corpus.reading.readers.picture import read_picture

    try:
        [found] = read_picture(picture, Reading(kind="picture", pictures=tokenizer.pictures))
        return b"".join(found.pieces)
    except (UnusableFileError, OSError) as error:
        problem = error if isinstance(error, UnusableFileError) else unreadable(picture, error)
        raise DataError(f"the picture {picture} {problem.reason}; {problem.remedy}") from error
