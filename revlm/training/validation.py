"""Validation during training: the loss on held-out documents, and samples that continue prompts."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import astuple, replace
from itertools import islice
from typing import Any

from revlm.corpus import Corpus, Example
from revlm.errors import Interrupted
from revlm.evaluation import Score, score_example
from revlm.model import RevLM
from revlm.recipe import Recipe
from revlm.training.ranks import Ranks
from revlm.training.samples import PictureSamples, TextSamples


class Validator:
    """Validates a model as its recipe says; `raise_if_stopped` is called between examples and between tokens."""

    def __init__(
        self, model: RevLM, corpus: Corpus, recipe: Recipe, ranks: Ranks, raise_if_stopped: Callable[[], None]
    ) -> None:
        self._model, self._corpus, self._recipe = model, corpus, recipe
        self._ranks, self._raise_if_stopped = ranks, raise_if_stopped
        sampler = PictureSamples if corpus.tokenizer.document_kind == "picture" else TextSamples
        self._samples = ranks.run_on_all(lambda: sampler(model, corpus, recipe, raise_if_stopped))

    def evaluation(self, autocast: AbstractContextManager[None]) -> dict[str, Any]:
        """Scores the held-out documents, each rank its share; returns the fields for the record of an evaluation.

        It stops after the example that reaches `evaluate.max_tokens` targets.
        """
        start = time.perf_counter()
        result, enough = Score(), self._recipe.evaluate.max_tokens
        for each in self._scores(autocast):
            result += each
            if enough is not None and result.tokens >= enough:
                break
        return {
            "loss": result.loss if result.tokens else None,
            "bits_per_byte": result.bits_per_byte if result.tokens else None,
            "tokens": result.tokens,
            "documents": result.documents,
            "seconds": time.perf_counter() - start,
        }

    def samples(self) -> list[dict[str, Any]]:
        """Returns the recipe's prompts, each with its sample, on rank 0; an empty list elsewhere."""
        return self._ranks.run_on_all(lambda: self._samples.draw() if self._ranks.is_rank0 else [])

    def _scores(self, autocast: AbstractContextManager[None]) -> Iterator[Score]:
        """Yields the score of each held-out example, in order; the groups of ranks score one example each at a time."""
        examples, size = self._corpus.validation(), self._ranks.sequence.size
        while True:
            own = self._ranks.run_on_all(lambda: self._own_score(examples, autocast))
            parts = self._ranks.gather(own)
            groups = [parts[first : first + size] for first in range(0, len(parts), size)]
            for group in groups:
                scores = [Score(*part) for part in group if part is not None]
                if not scores:
                    return
                yield replace(scores[0], nats=sum(score.nats for score in scores))

    def _own_score(self, examples: Iterator[Example], autocast: AbstractContextManager[None]) -> tuple[Any, ...] | None:
        """The fields of the score of this rank's part of its next example; None once there are no more examples."""
        try:
            at_a_time = list(islice(examples, self._ranks.data_size))
        except Interrupted:  # raised while the texts of an example are read
            self._raise_if_stopped()
            raise
        if self._ranks.data_rank >= len(at_a_time):
            return None
        self._ranks.run_in_sequence(self._raise_if_stopped)
        example = at_a_time[self._ranks.data_rank]
        sequence = self._ranks.sequence_of(len(example))
        return astuple(Score() if sequence is None else score_example(self._model, example, autocast, sequence))
