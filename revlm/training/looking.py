"""What is looked at while a model trains: the loss of held-out text, and how the model continues a prompt."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from revlm.corpus import Corpus
from revlm.evaluation import score
from revlm.generation import Sampling, continue_text
from revlm.model import RevLM
from revlm.recipe import Recipe

Item = TypeVar("Item")


class Look:
    """Looks at a model as its recipe says; `heed_stop` is called between examples and tokens, and may raise."""

    def __init__(self, model: RevLM, corpus: Corpus, recipe: Recipe, heed_stop: Callable[[], None]) -> None:
        self._model, self._corpus, self._recipe, self._heed_stop = model, corpus, recipe, heed_stop

    def evaluation(self, autocast: AbstractContextManager[None]) -> dict[str, Any]:
        """Returns what the record of an evaluation says of the held-out documents."""
        start = time.perf_counter()
        result = score(
            self._model, self._heeding(self._corpus.validation()), autocast, self._recipe.evaluate.max_tokens
        )
        return {
            "loss": result.loss if result.tokens else None,
            "bits_per_byte": result.bits_per_byte if result.tokens else None,
            "tokens": result.tokens,
            "documents": result.documents,
            "seconds": time.perf_counter() - start,
        }

    def samples(self) -> list[dict[str, str]]:
        """Returns the prompts of the recipe, each with its continuation."""
        return [{"prompt": prompt, "text": self._continued(prompt)} for prompt in self._recipe.evaluate.samples]

    def _continued(self, prompt: str) -> str:
        options = self._recipe.evaluate
        pieces = continue_text(
            self._model,
            self._corpus.tokenizer,
            prompt,
            max_tokens=options.sample_tokens,
            sampling=Sampling(options.temperature),
            seed=self._recipe.seed,
        )
        return "".join(self._heeding(pieces))

    def _heeding(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            self._heed_stop()
            yield item
