"""Shows the bits per dimension of models of pictures beside those of PNG and lossless WebP files of the same pictures.

    revlm evaluate --run runs/pictures
    scripts/picture_bits.py runs/pictures runs/pictures-local

The pictures are those that the first run held out. A file counts whole, a model's bits are those of `revlm evaluate`.
"""

from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from bench.command import run
from revlm.corpus import open_corpus
from revlm.errors import DataError
from revlm.pictures import Pixels, pixels_of
from revlm.records import Evaluation, read_record
from revlm.runs import RunFolder, load_run_recipe

_FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {"format": "PNG", "optimize": True},
    "WebP, lossless": {"format": "WEBP", "lossless": True, "quality": 100, "method": 6},
}


def held_out_pictures(run_folder: Path) -> list[Pixels]:
    """Returns the pictures that a run held out; raises DataError where its documents are no whole pictures."""
    recipe = load_run_recipe(RunFolder.open(run_folder))
    corpus = open_corpus(recipe.data, recipe.seed)
    documents = [
        np.concatenate([piece.targets for _, piece in pieces]) for _, pieces in corpus.documents(held_out=True)
    ]
    return [pixels_of(corpus.tokenizer.decode_bytes(document)) for document in documents]


def file_bytes(pixels: Pixels, options: dict[str, Any]) -> int:
    """Returns the size of a picture as a file."""
    written = BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(written, **options)
    return len(written.getvalue())


def main(runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Runs on the same pictures.")]) -> None:
    """Show bits per dimension of runs on pictures, and of files of the same pictures."""
    pictures = held_out_pictures(runs[0])
    values = sum(each.size for each in pictures)
    print(f"{len(pictures):,} held-out pictures, {values:,} values; bits per dimension")
    for name, options in _FORMATS.items():
        print(f"{name:40} {8 * sum(file_bytes(each, options) for each in pictures) / values:>8.3f}")
    for folder in runs:
        evaluation = RunFolder.open(folder).evaluation
        if not evaluation.exists():
            raise DataError(f"{folder} was not evaluated: run `revlm evaluate --run {folder}` first")
        print(f"{folder!s:40} {read_record(Evaluation, evaluation).total.bits_per_dimension or np.nan:>8.3f}")


if __name__ == "__main__":
    run(main)
