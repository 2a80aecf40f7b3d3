"""Samples during training: texts that continue prompts, or pictures whose lower rows are sampled."""

from base64 import b64encode
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from revlm.corpus import Corpus
from revlm.corpus.reading.readers.picture import picture_document
from revlm.generation import Sampling, TextGenerator, continue_text, first_rows, sample_pictures
from revlm.model import RevLM, evaluating
from revlm.pictures import document_of, shape_of
from revlm.recipe import Recipe

_PROMPTS = ("It was",)
_HELD_OUT_PICTURES = 4


class TextSamples:
    """The continuations of a recipe's prompts; `raise_if_stopped` is called between tokens."""

    def __init__(self, model: RevLM, corpus: Corpus, recipe: Recipe, raise_if_stopped: Callable[[], None]) -> None:
        self._model, self._tokenizer, self._recipe = model, corpus.tokenizer, recipe
        self._raise_if_stopped = raise_if_stopped

    def draw(self) -> list[dict[str, Any]]:
        """Returns the fields of `records.Sample` for each prompt."""
        prompts = self._recipe.evaluate.prompts
        return [
            {"prompt": prompt, "text": self._continued(prompt)} for prompt in (_PROMPTS if prompts is None else prompts)
        ]

    def _continued(self, prompt: str) -> str:
        options = self._recipe.evaluate
        pieces = continue_text(
            self._model,
            self._tokenizer,
            prompt,
            max_tokens=options.sample_tokens,
            sampling=Sampling(options.temperature),
            seed=self._recipe.seed,
        )
        written = []
        for piece in pieces:
            self._raise_if_stopped()
            written.append(piece)
        return "".join(written)


class _Given(NamedTuple):
    """A picture whose first rows are the prompt: its title or file, and its document."""

    name: str
    document: bytes


class PictureSamples:
    """The pictures that a recipe names, or the first held-out ones, with their lower rows sampled.

    Held-out pictures that no example holds completely are left out. Raises DataError if a file cannot be read.
    """

    def __init__(self, model: RevLM, corpus: Corpus, recipe: Recipe, raise_if_stopped: Callable[[], None]) -> None:
        self._model, self._corpus, self._recipe = model, corpus, recipe
        self._raise_if_stopped = raise_if_stopped
        files, shape = recipe.evaluate.prompts, corpus.tokenizer.pictures
        self._pictures = (
            None if files is None else [_Given(file, picture_document(Path(file), shape)) for file in files]
        )

    def draw(self) -> list[dict[str, Any]]:
        """Returns the fields of `records.Sample` for each picture."""
        if self._pictures is None:
            self._pictures = list(islice(self._held_out(), _HELD_OUT_PICTURES))
        return [self._completed(each) for each in self._pictures]

    def _held_out(self) -> Any:
        for title, pieces in self._corpus.documents(held_out=True):
            parts = [(start, example.targets) for start, example in pieces]
            if len(parts) == 1 and parts[0][0] == 0:
                yield _Given(title, self._corpus.tokenizer.decode_bytes(parts[0][1]))

    def _completed(self, given: _Given) -> dict[str, Any]:
        height, width, channels = shape_of(given.document)
        options, seed = self._recipe.evaluate, self._recipe.seed
        rows = max(0, height - max(1, options.sample_tokens // (width * channels)))
        with evaluating(self._model):
            generator = TextGenerator(self._model, self._corpus.tokenizer, Sampling(options.temperature), seed)
            prompt = first_rows(given.document, rows)
            [pixels] = sample_pictures(generator, self._corpus.tokenizer, prompt, self._is_enough)
        document = b64encode(document_of(pixels)).decode("ascii")
        return {"prompt": given.name, "text": "", "picture": {"document": document, "rows": rows}}

    def _is_enough(self) -> bool:
        self._raise_if_stopped()
        return False
