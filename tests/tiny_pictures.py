"""Small pictures, and a model that was trained on them for a step."""

from pathlib import Path

import numpy as np
from PIL import Image

from revlm.corpus import tokenize_corpus
from revlm.training import train
from tests.tiny_run import tiny_recipe

SIDE = 6


def write_pictures(folder: Path) -> Path:
    """Four grey pictures of stripes, 6 x 6 pixels each, in a new folder."""
    folder.mkdir()
    for number in range(4):
        stripes = np.where(np.arange(SIDE) % 2 == number % 2, 40 * number, 255).astype(np.uint8)
        Image.fromarray(np.tile(stripes, (SIDE, 1))).save(folder / f"{number}.png")
    return folder


def write_picture_run(place: Path, *overrides: str, **options: object) -> Path:
    """The folder `run` of a model of such pictures, beside their `files` and `tokens`; options are of tokenization."""
    if not (place / "tokens").exists():
        write_pictures(place / "files")
        tokenize_corpus(place / "files", place / "tokens", tokenizer="pixels", workers=1, **options)  # type: ignore[arg-type]
    list(train(tiny_recipe(place / "run", "train.max_steps=1", *overrides)))
    return place / "run"
