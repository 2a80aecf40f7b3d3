"""Continues a prompt with text or bytes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Unpack

from revlm.corpus import Tokenizer
from revlm.corpus.tokenizing.tokenizer import TokenIds
from revlm.generation.loading import Reading, load_model
from revlm.generation.sampling import Sampling
from revlm.generation.text_generator import TextGenerator
from revlm.generation.text_stream import TextStream
from revlm.model import RevLM
from revlm.recipe import Recipe


def long_prompt_notice(prompt_tokens: int, recipe: Recipe) -> str | None:
    """Returns a sentence if a prompt is longer than every example that the model was trained on."""
    if prompt_tokens <= recipe.data.seq_len:
        return None
    return (
        f"the prompt has {prompt_tokens:,} tokens, and no training example had more than {recipe.data.seq_len:,} "
        "(data.seq_len): the model was not trained on texts this long"
    )


def continue_text(
    model: RevLM,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_tokens: int,
    sampling: Sampling,
    seed: int,
    stop: Sequence[str] = (),
) -> Iterator[str]:
    """Yields, for each sampled token, the text that it completes, and at the end the text that was held back.

    An empty prompt starts a new document. The text ends before the first of the `stop` texts in it.

    Raises:
        UsageError: a stop text is empty, or the seed is out of range.
        DataError: the prompt holds a lone surrogate.
        NonFiniteError: the model's logits are not finite.
    """
    stream = TextStream(stop)
    ids, is_ended = tokenizer.encode(prompt), lambda: stream.stopped_by is not None
    for piece in _pieces(model, tokenizer, ids, max_tokens, sampling, seed, is_ended):
        yield stream.push(piece)
    yield stream.finish()


def continue_bytes(
    model: RevLM, tokenizer: Tokenizer, prompt: bytes, *, max_tokens: int, sampling: Sampling, seed: int
) -> Iterator[bytes]:
    """Yields the bytes of each sampled token; an empty prompt starts a new document.

    Raises:
        UsageError: the tokenizer encodes texts only, or the seed is out of range.
        NonFiniteError: the model's logits are not finite.
    """
    yield from _pieces(model, tokenizer, tokenizer.encode_bytes(prompt), max_tokens, sampling, seed)


def generate(
    prompt: str,
    run: Path | str,
    *,
    step: int | None = None,
    max_tokens: int = 256,
    sampling: Sampling | None = None,
    seed: int = 0,
    stop: Sequence[str] = (),
    device: str = "auto",
    **reading: Unpack[Reading],
) -> Iterator[str]:
    """Yields the continuation of a prompt by a run's checkpoint, in pieces of whole characters.

    The checkpoint is that of `step`, by default the newest intact one; `reading` is how the model reads where that
    differs from training.

    Raises:
        StorageError: the run has no such checkpoint, or it does not fit the run's recipe.
        DataError: as for `load_model` and `continue_text`.
        UsageError: there is no such device, or as for `continue_text`.
        NonFiniteError: the model's logits are not finite.
    """
    trained = load_model(run, device, step, **reading)
    yield from continue_text(
        trained.model,
        trained.tokenizer,
        prompt,
        max_tokens=max_tokens,
        sampling=sampling or Sampling(),
        seed=seed,
        stop=stop,
    )


def generate_bytes(
    prompt: bytes,
    run: Path | str,
    *,
    step: int | None = None,
    max_tokens: int = 256,
    sampling: Sampling | None = None,
    seed: int = 0,
    device: str = "auto",
    **reading: Unpack[Reading],
) -> Iterator[bytes]:
    """Yields the bytes with which a run on bytes continues a prompt; otherwise like `generate`.

    Raises:
        StorageError, DataError, NonFiniteError: as for `generate`.
        UsageError: the run is one on texts, or as for `generate`.
    """
    trained = load_model(run, device, step, **reading)
    yield from continue_bytes(
        trained.model,
        trained.tokenizer,
        prompt,
        max_tokens=max_tokens,
        sampling=sampling or Sampling(),
        seed=seed,
    )


def _pieces(
    model: RevLM,
    tokenizer: Tokenizer,
    prompt: TokenIds,
    max_tokens: int,
    sampling: Sampling,
    seed: int,
    is_ended: Callable[[], bool] = lambda: False,
) -> Iterator[bytes]:
    """Yields the bytes of each token that continues a prompt."""
    was_training = model.training
    model.eval()
    try:
        generator = TextGenerator(model, tokenizer, sampling, seed)
        generator.append(prompt)
        for [sampled] in generator.continue_tokens(max_tokens, lambda sample: is_ended()):
            assert sampled is not None
            yield tokenizer.piece_bytes[sampled.token]
    finally:
        model.train(was_training)
