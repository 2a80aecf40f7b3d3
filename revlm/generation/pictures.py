"""Samples whole pictures, or the lower rows of a given picture, value by value."""

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from revlm.corpus import Tokenizer
from revlm.corpus.reading.readers.picture import picture_document
from revlm.errors import UsageError
from revlm.generation.loading import Reading, load_model
from revlm.generation.samples import Sample, draw_samples
from revlm.generation.sampling import Sampling
from revlm.generation.text_generator import TextGenerator
from revlm.pictures import HEADER_BYTES, Pixels, document_bytes, header_of, pixels_of, shape_of


def picture_prompt(tokenizer: Tokenizer, picture: Path | None = None, rows: int | None = None) -> bytes:
    """Returns the beginning of a picture's document: the first rows of a file, by default half of them, or none.

    The picture is scaled and converted like those of training.

    Raises:
        UsageError: `rows` leaves nothing to complete, or there is no file and the training pictures had several sizes.
        DataError: the file is not a picture that can be read.
    """
    shape = tokenizer.pictures
    if picture is None:
        if shape.size is None:
            raise UsageError(
                "the model was trained on pictures of several sizes: give a picture to complete with --picture"
            )
        return header_of(shape.size, shape.size, 1 if shape.is_grey else 3)
    document = picture_document(picture, shape)
    height, *_ = shape_of(document)
    given = height // 2 if rows is None else rows
    if given >= height:
        raise UsageError(f"--rows {given} leaves nothing to complete of {picture}, which has {height} rows: give fewer")
    return first_rows(document, given)


def first_rows(document: bytes, rows: int) -> bytes:
    """Returns the header and the first rows of a picture's document."""
    _, width, channels = shape_of(document)
    return document[: HEADER_BYTES + rows * width * channels]


def sample_pictures(
    generator: TextGenerator, tokenizer: Tokenizer, prompt: bytes, is_enough: Callable[[], bool] = lambda: False
) -> list[Pixels]:
    """Returns a picture for each sample of a generator that continues the prompt, the beginning of its document.

    `is_enough` is called before each value, and may raise to end the pictures early.

    Raises:
        DataError: the prompt is not the beginning of a picture.
        NonFiniteError: the model's logits are not finite.
    """
    missing = document_bytes(prompt) - len(prompt)
    generator.append(tokenizer.encode_bytes(prompt))
    samples = [Sample(tokenizer, ()) for _ in range(generator.samples)]
    draw_samples(generator, samples, missing, is_enough=is_enough)
    return [pixels_of(prompt + sample.content()) for sample in samples]


def generate_pictures(
    run: Path | str,
    picture: Path | str | None = None,
    *,
    rows: int | None = None,
    samples: int = 1,
    step: int | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
    device: str = "auto",
    **reading: Unpack[Reading],
) -> list[Pixels]:
    """Returns pictures that a run's checkpoint samples, uint8 [height, width, channels] each.

    Without `picture`, every row is sampled; with it, the first `rows` of that file (default: half of them) are kept.
    The checkpoint is that of `step`, by default the newest intact one; `reading` is how the model reads where that
    differs from training. `revlm.pictures.png_of` turns them into a PNG.

    Raises:
        StorageError: the run has no such checkpoint, or it does not fit the run's recipe.
        DataError: the file is not a picture that can be read, or as for `load_model`.
        UsageError: the run is not one on pictures, `rows` leaves nothing to complete, there is no file and the
            training pictures had several sizes, there is no such device, or a number is out of range.
        NonFiniteError: the model's logits are not finite.
    """
    if samples < 1:
        raise UsageError(f"samples is {samples}: give a number of pictures from 1")
    trained = load_model(run, device, step, **reading)
    if trained.tokenizer.document_kind != "picture":
        raise UsageError(f"{run} is not a model of pictures: give a run on tokens of `--tokenizer pixels`")
    prompt = picture_prompt(trained.tokenizer, None if picture is None else Path(picture), rows)
    generator = TextGenerator(trained.model, trained.tokenizer, sampling or Sampling(), seed, range(samples))
    return sample_pictures(generator, trained.tokenizer, prompt)
