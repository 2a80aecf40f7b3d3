"""revlm and the Reformer of `transformers` as text generators, each with its own cache."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.shape import Shape


class Continuing(ABC):
    """One text, and a model's cache of its tokens."""

    @abstractmethod
    def extend(self, tokens: Tensor) -> Tensor:
        """Prefills the first tokens of the text; returns the logits [vocabulary] after them."""

    @abstractmethod
    def step(self, token: int) -> Tensor:
        """Decodes one token; returns the logits after it."""

    @property
    @abstractmethod
    def cache_bytes(self) -> int:
        """The size of the cache in bytes."""


class System(NamedTuple):
    """A label, the required package, and a function that builds a model with random weights, which starts texts."""

    label: str
    requires: str
    build: Callable[[Shape, str, tuple[str, ...], int], Callable[[], Continuing]]

    @property
    def is_installed(self) -> bool:
        """Whether the required package can be imported."""
        return find_spec(self.requires) is not None


def _revlm(shape: Shape, precision: str, layers: tuple[str, ...], seed: int) -> Callable[[], Continuing]:
    """Builds one model for all contexts, with the number of buckets for the longest."""
    from bench.systems.reversible import recipe_of
    from revlm.generation import Decoder
    from revlm.model import RevLM
    from revlm.ops.heap import keep_large_blocks_apart

    keep_large_blocks_apart()
    recipe = recipe_of(shape).model_copy(update={"layers": layers})
    model = RevLM(recipe, vocab_size=shape.vocabulary, seed=seed).eval()

    class OfRevlm(Continuing):
        def __init__(self) -> None:
            self._decoder = Decoder(model, precision=precision)

        def extend(self, tokens: Tensor) -> Tensor:
            return self._decoder.extend(tokens)

        def step(self, token: int) -> Tensor:
            return self._decoder.step(torch.tensor([token]))[0]

        @property
        def cache_bytes(self) -> int:
            return self._decoder.cache_bytes

    return OfRevlm


def _transformers(shape: Shape, precision: str, layers: tuple[str, ...], seed: int) -> Callable[[], Continuing]:
    """Builds an all-LSH Reformer, whose cache holds hidden states that it projects again for each token."""
    from bench.systems.transformers_reformer import model_of

    torch.manual_seed(seed)
    model = model_of(shape, use_cache=True).eval()

    class OfTransformers(Continuing):
        cache: Any = None

        @torch.no_grad()
        def extend(self, tokens: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                out = model(input_ids=tokens[None], past_buckets_states=self.cache, use_cache=True)
            self.cache = out.past_buckets_states
            return out.logits[0, -1].float()

        def step(self, token: int) -> Tensor:
            return self.extend(torch.tensor([token]))

        @property
        def cache_bytes(self) -> int:
            kept = [*self.cache.states_cache, *self.cache.buckets_cache]
            return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    return OfTransformers


SYSTEMS = {
    "revlm": System("revlm", "revlm", _revlm),
    "transformers": System("Reformer of transformers", "transformers", _transformers),
}
