"""What one step of training does, and the state that it needs: model, optimizer, place in the corpus, chance."""

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from revlm.corpus import Corpus, Example, Loader, share
from revlm.corpus.examples.corpus import StreamState
from revlm.errors import Interrupted, StorageError
from revlm.model import RevLM, tile_tokens
from revlm.model.precision import autocast
from revlm.ops.heap import return_freed_memory
from revlm.recipe import Recipe
from revlm.runs import Checkpoint, MemoryMeter
from revlm.training.nonfinite import NonFinite, require_skippable
from revlm.training.optimizer import (
    make_optimizer,
    moment_bytes,
    optimizer_state,
    restore_optimizer,
)
from revlm.training.ranks import AgreedError, Ranks
from revlm.training.schedule import Schedule
from revlm.training.settings import OPERATIONS, changes, decides_examples, operations_on, settings_of
from revlm.training.step import Record, Totals, TrainStep
from revlm.training.validation import Validator

Stop = Callable[[], str | None]
"""Tells what asks for a stop, such as the name of a signal; None as long as nothing does."""


class Stopped(AgreedError):
    """A stop was asked for, by what `name` tells; the trainer's state is that of its last whole step."""

    order = 0

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Trainer:
    """A model in training. After each whole step, `state` is all that the next one depends on.

    A `with` block ends the threads that prepare examples.
    """

    def __init__(
        self, recipe: Recipe, corpus: Corpus, ranks: Ranks, device: torch.device, meter: MemoryMeter, stop: Stop
    ) -> None:
        self.recipe, self.corpus, self.ranks, self.device, self.meter = recipe, corpus, ranks, device, meter
        self._stop, self._numbers = stop, ranks.numbers(recipe.train.gradient_accumulation_steps)
        self._schedule = Schedule.of(recipe)
        self._settings = settings_of(recipe, corpus) | {OPERATIONS: operations_on(device)}
        torch.manual_seed(recipe.seed)
        tile = tile_tokens(recipe.model, recipe.train.tile, device.type)
        self.model = RevLM(recipe.model, vocab_size=corpus.tokenizer.vocab_size, seed=recipe.seed, tile=tile).to(device)
        self.optimizer = make_optimizer(self.model, recipe, ranks)
        self._step_work = TrainStep(recipe, self.model, self.optimizer, ranks, meter, self._heed_stop)
        self._validator = Validator(self.model, corpus, recipe, ranks, self._heed_stop)
        self.step = 0
        self.trained_tokens = 0
        self.skipped_steps = 0
        self.examples = self._loader()
        self._keep_place()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.examples.close()

    def train_step(self) -> Record:
        """Trains one step and returns its record.

        Raises:
            Stopped: between two examples, or while the text of one is read.
            NonFiniteError: a loss, a gradient or a stream left the finite numbers, and the recipe does not let the run
                pass over it; nothing was updated.
        """
        recipe, meter, step = self.recipe, self.meter, self.step + 1
        meter.start_step()
        start = time.perf_counter()
        examples = self.ranks.run_on_all(self._next_examples)
        data_seconds = time.perf_counter() - start
        totals = Totals.of(examples, self.ranks)
        rate = self._schedule.learning_rate(step)
        try:
            first = self.step * recipe.train.gradient_accumulation_steps
            learnt = self._step_work.update(examples, first, totals, rate)
            self.trained_tokens += totals.tokens
        except NonFinite as found:
            self._require_skippable(found, step)
            self.optimizer.zero_grad(set_to_none=True)
            self.skipped_steps += 1
            learnt = {"skipped": f"{found.what} is not finite", "skipped_documents": found.titles}
        self.step = step
        self._keep_place()
        return_freed_memory()
        seconds = time.perf_counter() - start
        return {
            "event": "step",
            "step": step,
            "epoch": totals.epoch,
            "tokens": totals.tokens,
            "documents": totals.documents,
            "loss": math.nan,
            "bits_per_byte": math.nan,
            "learning_rate": rate,
            "grad_norm": math.nan,
            "seconds": seconds,
            "tokens_per_second": None if "skipped" in learnt else totals.tokens / seconds,
            "data_seconds": data_seconds,
            **self._memory_peaks(),
            **learnt,
        }

    def evaluate(self) -> tuple[Record, list[dict[str, str]]]:
        """Returns the record of an evaluation on held-out documents, and the samples that the recipe asks for."""
        record = {
            "event": "evaluate",
            "step": self.step,
            **self._validator.evaluation(autocast(self.recipe.train.precision, self.device)),
        }
        return record, self._validator.samples()

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Returns, on the first rank, the groups of tensors and the JSON of a checkpoint, as of the last whole step."""
        optimizer = optimizer_state(self.optimizer, self.model, self.ranks)
        tensors = {"model": self.model.state_dict(), "optimizer": optimizer, "random": self._random}
        # The learning rate needs no state: it is a function of the step and of the settings.
        counters = {"trained_tokens": self.trained_tokens, "skipped_steps": self.skipped_steps}
        return tensors, {"settings": self._settings, "corpus": self._place, "counters": counters}

    def load(self, checkpoint: Checkpoint, *, allow_change: bool = False) -> list[str]:
        """Takes up the state of a checkpoint; returns a phrase for each setting that has changed since.

        Where a change gives other examples, they begin anew. What computes the operations may always change.

        Raises:
            StorageError: a setting has changed and that is not allowed, or the weights do not fit any more.
        """
        changed = changes(checkpoint.state["settings"], self._settings)
        phrases = {key: f"{key}: {change}" for key, change in changed.items()}
        self._require_a_fit(checkpoint, [phrases[key] for key in changed if key != OPERATIONS], allow_change)
        self.model.load_state_dict(checkpoint.tensors["model"])
        restore_optimizer(self.optimizer, self.model, checkpoint.tensors["optimizer"])
        self.examples.close()
        place = None if any(map(decides_examples, changed)) else checkpoint.state["corpus"]
        self.examples = self._loader(place)
        counters = checkpoint.state.get("counters", {})  # older checkpoints had none, and had skipped nothing
        self.trained_tokens, self.skipped_steps = counters.get("trained_tokens", 0), counters.get("skipped_steps", 0)
        random = checkpoint.tensors["random"]
        torch.set_rng_state(random["cpu"])
        if self.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], self.device)
        self.step = checkpoint.step
        self._keep_place()
        return list(phrases.values())

    @property
    def state_bytes(self) -> int:
        """The bytes of the tensors of a checkpoint, also before the optimizer has made its own."""
        weights = sum(tensor.nbytes for tensor in self.model.state_dict().values())
        return weights + moment_bytes(self.optimizer)

    def _require_skippable(self, found: NonFinite, step: int) -> None:
        self.ranks.run_on_rank0(lambda: require_skippable(found, step, self.skipped_steps, self.recipe.train))

    def _memory_peaks(self) -> dict[str, int | None]:
        """Those of the step; each of the rank where it is highest."""
        peaks = self.ranks.gather(self.meter.peaks())
        return {name: max((each[name] for each in peaks), key=lambda peak: peak or 0) for name in peaks[0]}

    def _require_a_fit(self, checkpoint: Checkpoint, changed: list[str], allow_change: bool) -> None:
        listed = "; ".join(changed)
        old, new = checkpoint.tensors["model"], self.model.state_dict()
        if {name: tensor.shape for name, tensor in old.items()} != {name: each.shape for name, each in new.items()}:
            raise StorageError(
                f"the weights of {checkpoint.path} do not fit the model any more ({listed}): give the old values "
                "of model and tokenizer back, or another output_dir for a new run"
            )
        if changed and not allow_change:
            raise StorageError(
                f"{checkpoint.path} was trained with other settings ({listed}): give the old values back, pass "
                "--allow-change to go on with the new ones, or give another output_dir for a new run"
            )

    def _next_examples(self) -> list[Example]:
        """The examples of a step that are this rank's."""
        examples = []
        for _ in self._numbers:
            self._heed_stop()
            try:
                examples.append(next(self.examples))
            except Interrupted:  # where the texts of an example are read
                self._heed_stop()
                raise
        return examples

    def _heed_stop(self) -> None:
        if (name := self._stop()) is not None:
            raise Stopped(name if self.ranks.is_first else f"{name} to rank {self.ranks.rank}")

    def _loader(self, place: StreamState | None = None) -> Loader:
        ranks, per_step = self.ranks, self.recipe.train.gradient_accumulation_steps
        stream = share(self.corpus.training(place), ranks.rank, ranks.count, per_step)
        return Loader(stream, self.recipe.data.workers)

    def _keep_place(self) -> None:
        self._place = self.examples.state()
        self._random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            self._random["cuda"] = torch.cuda.get_rng_state(self.device)
