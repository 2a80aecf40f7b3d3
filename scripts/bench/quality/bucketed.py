"""revlm itself: a recipe with some keys changed, and the training step of `revlm train`."""

import torch

from bench.quality.texts import Texts, held_out_pieces
from revlm.corpus import ScheduledStream, open_corpus
from revlm.evaluation import score_example
from revlm.model import RevLM, resolve_model, tile_tokens
from revlm.model.precision import autocast
from revlm.ops.heap import keep_large_blocks_apart
from revlm.recipe import load_recipe
from revlm.runs import MemoryMeter
from revlm.training.optimization import make_optimizer
from revlm.training.ranks import Ranks
from revlm.training.step import Totals, TrainStep


class Learner:
    """See `bench.quality.training.Learner`; `store` is the token store that the texts come from."""

    def __init__(
        self, texts: Texts, seed: int, recipe: str, store: str, held_out_tokens: int, changes: tuple[str, ...] = ()
    ) -> None:
        keep_large_blocks_apart()
        torch.manual_seed(seed)
        self.recipe = load_recipe(recipe, [f"data.path={store}", f"seed={seed}", "train.device=cpu", *changes])
        self._corpus, self._held_out_tokens = open_corpus(self.recipe.data, seed), held_out_tokens
        shape = resolve_model(self.recipe.model, self.recipe.data.seq_len)
        tile = tile_tokens(shape, self.recipe.train.tile, "cpu")
        self.model = RevLM(shape, vocab_size=texts.vocab_size, seed=seed, tile=tile)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self._ranks, self._updates = Ranks(), 0
        stream, data = self._corpus.training(), self.recipe.data
        self._examples = ScheduledStream(stream, data.seq_len_after, per_step=1, steps=0)
        optimizer = make_optimizer(self.model, self.recipe, self._ranks)
        self._step = TrainStep(self.recipe, self.model, optimizer, self._ranks, MemoryMeter(), lambda: None)

    def update(self, learning_rate: float) -> int:
        """Learns from the next example of the corpus."""
        examples = [next(self._examples)]
        totals = Totals.of(examples, self._ranks)
        self._step.update(examples, self._updates, totals, learning_rate)
        self._updates += 1
        return totals.target_bytes

    def held_out_nats(self) -> float:
        """Each token is scored once, with what comes before it in its piece."""
        precision = autocast(self.recipe.train.precision, torch.device("cpu"))
        pieces = held_out_pieces(self._corpus, self._held_out_tokens)
        return sum(score_example(self.model, piece, precision).nats for piece in pieces)
