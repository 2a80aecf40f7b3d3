"""Makes small grey pictures: a wallpaper of a random tile, and shapes on it that hide parts of some tiles.

    scripts/make_pictures.py -o data/pictures-png
    revlm tokenize data/pictures-png -o data/pictures --tokenizer pixels

The tile is random in each picture, so its first occurrence cannot be predicted, and a model that remembers it predicts
every later one. Prints the bits per dimension of the PNG files, for comparison. The same options and seed give the same
pixels.
"""

from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from bench.command import run
from revlm.pictures import Pixels
from revlm.storage import replace_file, storage_errors

_TILE_PIXELS = 8
_SHADES = 16  # of the 256 values, evenly spaced
_MAX_SHAPES = 3


def wallpaper(generator: np.random.Generator, size: int) -> Pixels:
    """Returns a picture of `size` x `size` pixels and one channel."""
    shades = np.arange(0, 256, 256 // _SHADES, dtype=np.uint8)
    tile = generator.choice(shades, (_TILE_PIXELS, _TILE_PIXELS))
    repeats = -(-size // _TILE_PIXELS) + 1
    down, right = generator.integers(0, _TILE_PIXELS, 2)
    pixels = np.tile(tile, (repeats, repeats))[down : down + size, right : right + size].copy()
    rows, columns = np.mgrid[:size, :size]
    for _ in range(generator.integers(0, _MAX_SHAPES, endpoint=True)):
        row, column = generator.integers(0, size, 2)
        radius = generator.integers(size // 16 + 1, size // 5 + 2)
        is_disc = generator.random() < 0.5
        distances = (
            np.hypot(rows - row, columns - column) if is_disc else np.maximum(abs(rows - row), abs(columns - column))
        )
        pixels[distances <= radius] = generator.choice(shades)
    return pixels[:, :, None]


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the PNG files.")],
    pictures: Annotated[int, typer.Option(min=1, help="Number of pictures.")] = 2000,
    size: Annotated[int, typer.Option(min=_TILE_PIXELS, max=1024, help="Pixels of both sides.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the pixels.")] = 0,
) -> None:
    """Make small grey pictures that repeat a tile."""
    generator = np.random.default_rng(seed)
    n_bytes = 0
    with storage_errors(f"writing {output}"):
        output.mkdir(parents=True, exist_ok=True)
        for number in range(pictures):
            written = BytesIO()
            Image.fromarray(wallpaper(generator, size)[:, :, 0]).save(written, "PNG", optimize=True)
            replace_file(output / f"{number:05d}.png", written.getvalue())
            n_bytes += len(written.getvalue())
    bits = 8 * n_bytes / (pictures * size * size)
    print(f"{output}: {pictures:,} pictures of {size} x {size} pixels, as PNG {bits:.3f} bits per dimension")


if __name__ == "__main__":
    run(main)
