"""Text that continues a prompt."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from revlm.corpus import Tokenizer
from revlm.generation.loading import load_model
from revlm.generation.sampling import Sampling
from revlm.generation.text_generator import TextGenerator
from revlm.generation.text_stream import TextStream
from revlm.model import RevLM
from revlm.recipe import Recipe


def beyond_training(prompt_tokens: int, recipe: Recipe) -> str | None:
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
    """Yields, for each sampled token, the text that it completes, and at the end what was held back.

    An empty prompt starts a new document. The text ends before the first of the `stop` texts in it.

    Raises:
        UsageError: a stop text is empty, or the seed is out of range.
        DataError: the prompt holds a lone surrogate.
        NonFiniteError: the model's logits are not finite.
    """
    stream = TextStream(stop)
    was_training = model.training
    model.eval()
    try:
        generator = TextGenerator(model, tokenizer, sampling, seed)
        generator.append(tokenizer.encode(prompt))
        for [sampled] in generator.continue_tokens(max_tokens, lambda sample: stream.stopped_by is not None):
            assert sampled is not None
            yield stream.push(tokenizer.piece_bytes[sampled.token])
        yield stream.finish()
    finally:
        model.train(was_training)


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
) -> Iterator[str]:
    """Yields the continuation of a prompt by a run's checkpoint, in pieces of whole characters.

    The checkpoint is that of `step`, by default the newest intact one.

    Raises:
        StorageError: the run has no such checkpoint, or it does not fit the run's recipe.
        DataError: as for `load_model` and `continue_text`.
        UsageError: there is no such device, or as for `continue_text`.
        NonFiniteError: the model's logits are not finite.
    """
    trained = load_model(run, device, step)
    yield from continue_text(
        trained.model,
        trained.tokenizer,
        prompt,
        max_tokens=max_tokens,
        sampling=sampling or Sampling(),
        seed=seed,
        stop=stop,
    )
