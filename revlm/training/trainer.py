"""What one step of training does, and the state that it needs: model, optimizer, place in the corpus, chance."""

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from revlm.corpus import Corpus, Example, Loader
from revlm.errors import StorageError
from revlm.model import RevLM
from revlm.ops.heap import return_freed_memory
from revlm.recipe import Recipe
from revlm.runs import Checkpoint, MemoryMeter
from revlm.training.looking import Look
from revlm.training.nonfinite import NonFinite, require_skippable
from revlm.training.optimizer import learning_rate, make_optimizer, moment_bytes
from revlm.training.settings import changes, decides_examples, settings_of

Record = dict[str, Any]
Stop = Callable[[], str | None]
"""Tells what asks for a stop, such as the name of a signal; None as long as nothing does."""


class Stopped(Exception):
    """A stop was asked for; the trainer's state is that of its last whole step."""


class Trainer:
    """A model in training. After each whole step, `state` is all that the next one depends on.

    A `with` block ends the threads that prepare examples.
    """

    def __init__(self, recipe: Recipe, corpus: Corpus, device: torch.device, meter: MemoryMeter, stop: Stop) -> None:
        self.recipe, self.corpus, self.device, self.meter, self.stop = recipe, corpus, device, meter, stop
        self._settings = settings_of(recipe, corpus)
        torch.manual_seed(recipe.seed)
        self.model = RevLM(
            recipe.model, vocab_size=corpus.tokenizer.vocab_size, seed=recipe.seed, tile=recipe.train.tile
        ).to(device)
        self.optimizer = make_optimizer(self.model, recipe)
        self._look = Look(self.model, corpus, recipe, self._heed_stop)
        self.step = 0
        self.trained_tokens = 0
        self.skipped_steps = 0
        self.examples = Loader(corpus.training(), recipe.data.workers)
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
            Stopped: between two examples.
            NonFiniteError: a loss, a gradient or a stream left the finite numbers, and the recipe does not let the run
                pass over it; nothing was updated.
        """
        recipe, meter, step = self.recipe, self.meter, self.step + 1
        meter.start_step()
        start = time.perf_counter()
        examples = [self._next_example() for _ in range(recipe.train.gradient_accumulation_steps)]
        data_seconds = time.perf_counter() - start
        tokens = sum(len(example) for example in examples)
        rate = learning_rate(recipe, step)
        try:
            learnt = self._learn(examples, tokens, rate)
            self.trained_tokens += tokens
        except NonFinite as found:
            require_skippable(found, step, self.skipped_steps, recipe.train)
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
            "epoch": examples[-1].epoch,
            "tokens": tokens,
            "documents": sum(len(example.titles) for example in examples),
            "loss": math.nan,
            "bits_per_byte": math.nan,
            "learning_rate": rate,
            "grad_norm": math.nan,
            "seconds": seconds,
            "tokens_per_second": None if "skipped" in learnt else tokens / seconds,
            "data_seconds": data_seconds,
            **meter.peaks(),
            **learnt,
        }

    def evaluate(self) -> tuple[Record, list[dict[str, str]]]:
        """Returns the record of an evaluation on held-out documents, and the samples that the recipe asks for."""
        record = {"event": "evaluate", "step": self.step, **self._look.evaluation(self._autocast())}
        return record, self._look.samples()

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Returns the groups of tensors and the JSON of a checkpoint, as of the last whole step."""
        optimizer = {
            f"{name}.{key}": value
            for name, parameter in self.model.named_parameters()
            for key, value in self.optimizer.state[parameter].items()
        }
        tensors = {"model": self.model.state_dict(), "optimizer": optimizer, "random": self._random}
        # The learning rate needs no state: it is a function of the step and of the settings.
        counters = {"trained_tokens": self.trained_tokens, "skipped_steps": self.skipped_steps}
        return tensors, {"settings": self._settings, "corpus": self._place, "counters": counters}

    def load(self, checkpoint: Checkpoint, *, allow_change: bool = False) -> list[str]:
        """Takes up the state of a checkpoint; returns a phrase for each setting that has changed since.

        Where a change gives other examples, they begin anew.

        Raises:
            StorageError: a setting has changed and that is not allowed, or the weights do not fit any more.
        """
        changed = changes(checkpoint.state["settings"], self._settings)
        phrases = [f"{key}: {change}" for key, change in changed.items()]
        self._require_a_fit(checkpoint, phrases, allow_change)
        self.model.load_state_dict(checkpoint.tensors["model"])
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter] = {
                key.rpartition(".")[2]: value.clone().to(self.device)
                for key, value in checkpoint.tensors["optimizer"].items()
                if key.rpartition(".")[0] == name
            }
        self.examples.close()
        place = None if any(map(decides_examples, changed)) else checkpoint.state["corpus"]
        self.examples = Loader(self.corpus.training(place), self.recipe.data.workers)
        counters = checkpoint.state.get("counters", {})  # older checkpoints had none, and had skipped nothing
        self.trained_tokens, self.skipped_steps = counters.get("trained_tokens", 0), counters.get("skipped_steps", 0)
        random = checkpoint.tensors["random"]
        torch.set_rng_state(random["cpu"])
        if self.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], self.device)
        self.step = checkpoint.step
        self._keep_place()
        return phrases

    @property
    def state_bytes(self) -> int:
        """The bytes of the tensors of a checkpoint, also before the optimizer has made its own."""
        weights = sum(tensor.nbytes for tensor in self.model.state_dict().values())
        return weights + moment_bytes(self.optimizer)

    def _require_a_fit(self, checkpoint: Checkpoint, changed: list[str], allow_change: bool) -> None:
        listed = "; ".join(changed)
        if changed and not allow_change:
            raise StorageError(
                f"{checkpoint.path} was trained with other settings ({listed}): give the old values back, pass "
                "--allow-change to go on with the new ones, or give another output_dir for a new run"
            )
        old, new = checkpoint.tensors["model"], self.model.state_dict()
        if {name: tensor.shape for name, tensor in old.items()} != {name: each.shape for name, each in new.items()}:
            raise StorageError(
                f"the weights of {checkpoint.path} do not fit the model any more ({listed}): give the old values "
                "of model and tokenizer back, or another output_dir for a new run"
            )

    def _next_example(self) -> Example:
        self._heed_stop()
        return next(self.examples)

    def _learn(self, examples: list[Example], tokens: int, rate: float) -> Record:
        """Updates the weights once; returns what the record of the step says of that."""
        nats, stream_max = 0.0, 0.0
        layers: list[Record] = []
        for index, example in enumerate(examples):
            self._heed_stop()
            drawn = self.step * len(examples) + index
            loss, largest = self._forward(example, drawn, with_statistics=index == 0)
            nats, stream_max = nats + float(loss.detach()), max(stream_max, largest)
            if index == 0:
                layers = [{"layer": layer, **vars(use)} for layer, use in sorted(self.model.statistics.items())]
            with self.meter.phase("backward"):
                (loss / tokens).backward()
        return_freed_memory()
        with self.meter.phase("optimizer"):
            norm = self._update(rate, examples)
        shares = ("bucket_fill", "empty_query_share", "sink_share")
        return {
            "loss": nats / tokens,
            "bits_per_byte": nats / math.log(2) / max(sum(example.target_bytes for example in examples), 1),
            "grad_norm": norm,
            "stream_max": stream_max,
            **{name: sum(x[name] for x in layers) / len(layers) if layers else None for name in shares},
            "layers": layers,
        }

    def _forward(self, example: Example, drawn: int, *, with_statistics: bool) -> tuple[Tensor, float]:
        """Returns the summed loss of an example and the largest magnitude of a stream."""
        parts = (example.inputs, example.targets, example.document)
        inputs, targets, document = (torch.from_numpy(part).to(self.device) for part in parts)
        with self.meter.phase("forward"), self._autocast():
            hidden = self.model(inputs, document, step=drawn, with_statistics=with_statistics)
            loss = self.model.loss(hidden, targets)
        assert self.model.fixed is not None
        self.model.fixed.check_range()
        if not math.isfinite(float(loss.detach())):
            raise NonFinite("the loss" if self.model.fixed.is_finite() else "a stream", [example])
        return loss, self.model.fixed.largest()

    def _update(self, rate: float, examples: list[Example]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.train.max_grad_norm))
        if not math.isfinite(norm):
            raise NonFinite("the gradient", examples)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _heed_stop(self) -> None:
        if self.stop() is not None:
            raise Stopped

    def _keep_place(self) -> None:
        self._place = self.examples.state()
        self._random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            self._random["cuda"] = torch.cuda.get_rng_state(self.device)

    def _autocast(self) -> torch.autocast:
        enabled = self.recipe.train.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)
