"""A model in training, and its state: model, optimizer, position in the corpus, random state."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from revlm.corpus import Corpus, Example, Loader, ScheduledStream, share
from revlm.corpus.examples.corpus import StreamState
from revlm.errors import Interrupted, StorageError
from revlm.model import RevLM, tile_tokens, training_flops, with_key_moments
from revlm.model.precision import autocast
from revlm.model.utilization import peak_flops_per_second
from revlm.ops.heap import return_freed_memory
from revlm.recipe import Recipe
from revlm.runs import Checkpoint, MemoryMeter, Start, trained_settings
from revlm.storage import Closing
from revlm.training.nonfinite import NonFinite, require_skippable
from revlm.training.optimization import (
    Schedule,
    make_optimizer,
    moment_bytes,
    optimizer_state,
    restore_optimizer,
)
from revlm.training.ranks import AgreedError, Ranks
from revlm.training.settings import OPERATIONS, changes, decides_examples, hashes_alike, operations_on, settings_of
from revlm.training.starting import load_start
from revlm.training.step import Record, Totals, TrainStep
from revlm.training.validation import Validator

Stop = Callable[[], str | None]
"""Returns what requested a stop, such as the name of a signal; None until something does."""


class Stopped(AgreedError):
    """A stop was requested, by the signal `name`; the trainer's state is that of the last complete step."""

    order = 0

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Trainer(Closing):
    """A model in training. After each complete step, `state` is everything that the next step depends on.

    As a context manager, it ends the threads that prepare examples.
    """

    def __init__(
        self, recipe: Recipe, corpus: Corpus, ranks: Ranks, device: torch.device, meter: MemoryMeter, stop: Stop
    ) -> None:
        self.recipe, self.corpus, self.ranks, self.device, self.meter = recipe, corpus, ranks, device, meter
        self._stop, self._example_indices = stop, ranks.example_indices(recipe.train.gradient_accumulation_steps)
        self._schedule = Schedule.of(recipe)
        self._settings = settings_of(recipe, corpus) | {OPERATIONS: operations_on(device)}
        torch.manual_seed(recipe.seed)
        tile = tile_tokens(recipe.model, recipe.train.tile, device.type)
        self.model = RevLM(recipe.model, vocab_size=corpus.tokenizer.vocab_size, seed=recipe.seed, tile=tile).to(device)
        self.optimizer = make_optimizer(self.model, recipe, ranks)
        self._train_step = TrainStep(recipe, self.model, self.optimizer, ranks, meter, self._raise_if_stopped)
        self._validator = Validator(self.model, corpus, recipe, ranks, self._raise_if_stopped)
        self._peak = peak_flops_per_second(device, recipe.train.precision)
        self.step = 0
        self.trained_tokens = 0
        self.skipped_steps = 0
        self.started_from: dict[str, Any] | None = None
        self.examples = self._loader()
        self._record_state()

    def close(self) -> None:
        """Ends the threads that prepare examples."""
        self.examples.close()

    def train_step(self) -> Record:
        """Trains one step and returns its record.

        Raises:
            Stopped: a stop was requested; it is raised between two examples, or while the text of one is read.
            NonFiniteError: a loss, a gradient or a stream is not finite, and the recipe does not let the run skip the
                step; the weights were not updated.
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
            result = self._train_step.update(examples, first, totals, rate)
            self.trained_tokens += totals.tokens
        except NonFinite as found:
            self._require_skippable(found, step)
            self.optimizer.zero_grad(set_to_none=True)
            self.skipped_steps += 1
            result = {"skipped": f"{found.what} is not finite", "skipped_documents": found.titles}
        self.step = step
        self._record_state()
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
            "tokens_per_second": None if "skipped" in result else totals.tokens / seconds,
            "data_seconds": data_seconds,
            **self._memory_peaks(),
            **({} if "skipped" in result else self._flops_per_second(totals, seconds)),
            **result,
        }

    def evaluate(self) -> tuple[Record, list[dict[str, Any]]]:
        """Returns the record of an evaluation on held-out documents, and the samples that the recipe asks for."""
        record = {
            "event": "evaluate",
            "step": self.step,
            **self._validator.evaluation(autocast(self.recipe.train.precision, self.device)),
        }
        return record, self._validator.samples()

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Returns, on rank 0, the tensor groups and the JSON state of a checkpoint, as of the last complete step."""
        optimizer = optimizer_state(self.optimizer, self.model, self.ranks)
        tensors = {"model": self.model.state_dict(), "optimizer": optimizer, "random": self._random}
        # The learning rate needs no state: it is a function of the step and the settings.
        counters = {"trained_tokens": self.trained_tokens, "skipped_steps": self.skipped_steps}
        state = {"settings": self._settings, "corpus": self._corpus_position, "counters": counters}
        return tensors, state if self.started_from is None else state | {"started_from": self.started_from}

    def start_from(self, start: Start) -> None:
        """Loads the weights and buffers of another run, and nothing else of its state; raises like `load_start`."""
        load_start(start, self.model, self.recipe, self.corpus)
        self.started_from = start.record()

    def load(self, checkpoint: Checkpoint, *, allow_change: bool = False) -> list[str]:
        """Restores the state of a checkpoint; returns a phrase for each setting that has changed since it was saved.

        If a changed setting decides the examples, they start from the beginning of the corpus. The backend of the
        operations may always change.

        Raises:
            StorageError: a setting has changed without `allow_change`, or the weights no longer fit the model.
        """
        changed = changes(trained_settings(checkpoint), self._settings)
        phrases = {key: f"{key}: {change}" for key, change in changed.items()}
        weights = with_key_moments(checkpoint.tensors["model"])
        self._require_compatible(
            checkpoint, weights, [phrases[key] for key in changed if key != OPERATIONS], allow_change
        )
        self.model.load_state_dict(weights)
        restore_optimizer(self.optimizer, self.model, checkpoint.tensors["optimizer"])
        self.examples.close()
        position = None if any(map(decides_examples, changed)) else _position_of(checkpoint)
        self.examples = self._loader(position, checkpoint.step)
        self.trained_tokens, self.skipped_steps = (
            _count(checkpoint, name) for name in ("trained_tokens", "skipped_steps")
        )
        random = checkpoint.tensors["random"]
        try:
            torch.set_rng_state(random["cpu"])
            if self.device.type == "cuda" and "cuda" in random:
                torch.cuda.set_rng_state(random["cuda"], self.device)
        except (KeyError, RuntimeError, TypeError) as error:
            raise StorageError(
                f"{checkpoint.path} has no valid random state: resume from another checkpoint"
            ) from error
        self.step, self.started_from = checkpoint.step, checkpoint.state.get("started_from")
        self._record_state()
        return list(phrases.values())

    @property
    def state_bytes(self) -> int:
        """The bytes of a checkpoint's tensors, even before the optimizer has allocated its state."""
        weights = sum(tensor.nbytes for tensor in self.model.state_dict().values())
        return weights + moment_bytes(self.optimizer)

    def _require_skippable(self, found: NonFinite, step: int) -> None:
        self.ranks.run_on_rank0(lambda: require_skippable(found, step, self.skipped_steps, self.recipe.train))

    def _flops_per_second(self, totals: Totals, seconds: float) -> dict[str, float]:
        """The model's FLOPs a second in a step, and their share of the peak of all ranks' GPUs where it is known."""
        rate = training_flops(self.model, totals.document_tokens) / seconds
        if self._peak is None:
            return {"model_flops_per_second": rate}
        return {"model_flops_per_second": rate, "mfu": rate / (self._peak * self.ranks.world_size)}

    def _memory_peaks(self) -> dict[str, int | None]:
        """The memory peaks of the step; each is the highest over the ranks."""
        peaks = self.ranks.gather(self.meter.peaks())
        return {name: max((each[name] for each in peaks), key=lambda peak: peak or 0) for name in peaks[0]}

    def _require_compatible(
        self, checkpoint: Checkpoint, weights: Mapping[str, Tensor], changed: list[str], allow_change: bool
    ) -> None:
        listed = "; ".join(changed)
        old, new = ({name: each.shape for name, each in of.items()} for of in (weights, self.model.state_dict()))
        if old != new or not hashes_alike(trained_settings(checkpoint), self._settings):
            raise StorageError(
                f"the weights of {checkpoint.path} no longer fit the model ({listed}): restore the old values of model "
                "and tokenizer, or give another output_dir for a new run"
            )
        if changed and not allow_change:
            raise StorageError(
                f"{checkpoint.path} was trained with other settings ({listed}): restore the old values, pass "
                "--allow-change to resume with the new ones, or give another output_dir for a new run"
            )

    def _next_examples(self) -> list[Example]:
        """This rank's examples of a step."""
        examples = []
        for _ in self._example_indices:
            self._raise_if_stopped()
            try:
                examples.append(next(self.examples))
            except Interrupted:  # raised while the texts of an example are read
                self._raise_if_stopped()
                raise
        return examples

    def _raise_if_stopped(self) -> None:
        if (name := self._stop()) is not None:
            raise Stopped(name if self.ranks.is_rank0 else f"{name} on rank {self.ranks.rank}")

    def _loader(self, position: StreamState | None = None, steps: int = 0) -> Loader:
        data, per_step = self.recipe.data, self.recipe.train.gradient_accumulation_steps
        stream = ScheduledStream(self.corpus.training(position), data.seq_len_after, per_step=per_step, steps=steps)
        return Loader(share(stream, self.ranks.data_rank, self.ranks.data_size, per_step), data.workers)

    def _record_state(self) -> None:
        self._corpus_position = self.examples.state()
        self._random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            self._random["cuda"] = torch.cuda.get_rng_state(self.device)


def _count(checkpoint: Checkpoint, name: str) -> int:
    """Returns one of a checkpoint's counters."""
    counters = checkpoint.state.get("counters")
    count = counters.get(name) if isinstance(counters, dict) else None
    if type(count) is not int or not 0 <= count < 1 << 63:
        raise StorageError(f"{checkpoint.path} has no valid count of {name}: resume from another checkpoint")
    return count


def _position_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns a checkpoint's position in the corpus, whose keys the loader checks."""
    position = checkpoint.state.get("corpus")
    if not isinstance(position, dict):
        raise StorageError(f"{checkpoint.path} has no position in the corpus: resume from another checkpoint")
    return position
