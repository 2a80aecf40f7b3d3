"""What one step of training does, and the state that it needs: model, optimizer, place in the corpus, chance."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from revlm.corpus import Corpus, Example, Loader
from revlm.errors import NonFiniteError, StorageError
from revlm.evaluation import score
from revlm.generation import Sampling, continue_tokens
from revlm.model import RevLM
from revlm.ops.heap import return_freed_memory
from revlm.recipe import Recipe
from revlm.runs import Checkpoint, MemoryMeter
from revlm.training.optimizer import learning_rate, make_optimizer

Record = dict[str, Any]
Item = TypeVar("Item")
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
        torch.manual_seed(recipe.seed)
        self.model = RevLM(
            recipe.model, vocab_size=corpus.tokenizer.vocab_size, seed=recipe.seed, tile=recipe.train.tile
        ).to(device)
        self.optimizer = make_optimizer(self.model, recipe)
        self.step = 0
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
            NonFiniteError: a loss, a gradient or a stream left the finite numbers; nothing was updated.
        """
        recipe, meter, step = self.recipe, self.meter, self.step + 1
        meter.start_step()
        start = time.perf_counter()
        examples = [next(self.examples) for _ in range(recipe.train.gradient_accumulation_steps)]
        data_seconds = time.perf_counter() - start
        tokens = sum(len(example) for example in examples)
        nats, stream_max = 0.0, 0.0
        layers: list[Record] = []
        for index, example in enumerate(examples):
            self._heed_stop()
            drawn = (step - 1) * len(examples) + index
            loss, largest = self._forward(example, drawn, with_statistics=index == 0)
            nats, stream_max = nats + float(loss.detach()), max(stream_max, largest)
            if index == 0:
                layers = [{"layer": layer, **vars(use)} for layer, use in sorted(self.model.statistics.items())]
            with meter.phase("backward"):
                (loss / tokens).backward()
        return_freed_memory()
        with meter.phase("optimizer"):
            rate = learning_rate(recipe, step)
            norm = self._update(rate, step)
        self.step = step
        self._keep_place()
        return_freed_memory()
        seconds = time.perf_counter() - start
        shares = ("bucket_fill", "empty_query_share", "sink_share")
        return {
            "event": "step",
            "step": step,
            "epoch": examples[-1].epoch,
            "tokens": tokens,
            "documents": sum(len(example.titles) for example in examples),
            "loss": nats / tokens,
            "bits_per_byte": nats / math.log(2) / max(sum(example.target_bytes for example in examples), 1),
            "learning_rate": rate,
            "grad_norm": norm,
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "data_seconds": data_seconds,
            **meter.peaks(),
            "stream_max": stream_max,
            **{name: sum(x[name] for x in layers) / len(layers) if layers else None for name in shares},
            "layers": layers,
        }

    def evaluate(self) -> tuple[Record, list[dict[str, str]]]:
        """Returns the record of an evaluation on held-out documents, and the samples that the recipe asks for."""
        start = time.perf_counter()
        held_out = self._until_stopped(self.corpus.validation())
        result = score(self.model, held_out, self._autocast(), self.recipe.evaluate.max_tokens)
        samples = [self._sample(prompt) for prompt in self.recipe.evaluate.samples]
        record = {
            "event": "evaluate",
            "step": self.step,
            "loss": result.loss if result.tokens else None,
            "bits_per_byte": result.bits_per_byte if result.tokens else None,
            "tokens": result.tokens,
            "documents": result.documents,
            "seconds": time.perf_counter() - start,
        }
        return record, samples

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Returns the groups of tensors and the JSON of a checkpoint, as of the last whole step."""
        optimizer = {
            f"{name}.{key}": value
            for name, parameter in self.model.named_parameters()
            for key, value in self.optimizer.state[parameter].items()
        }
        tensors = {"model": self.model.state_dict(), "optimizer": optimizer, "random": self._random}
        return tensors, {"settings": self._settings(), "corpus": self._place}

    def load(self, checkpoint: Checkpoint) -> None:
        """Takes up the state of a checkpoint.

        Raises:
            StorageError: it was trained with another model, corpus or seed.
        """
        settings, saved = self._settings(), checkpoint.state["settings"]
        changed = sorted(key for key in settings.keys() | saved.keys() if settings.get(key) != saved.get(key))
        if changed:
            raise StorageError(
                f"{checkpoint.path} was trained with another {', '.join(changed)}: "
                "give the old values back, or another output_dir for a new run"
            )
        self.model.load_state_dict(checkpoint.tensors["model"])
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter] = {
                key.rpartition(".")[2]: value.clone().to(self.device)
                for key, value in checkpoint.tensors["optimizer"].items()
                if key.rpartition(".")[0] == name
            }
        self.examples.close()
        self.examples = Loader(self.corpus.training(checkpoint.state["corpus"]), self.recipe.data.workers)
        random = checkpoint.tensors["random"]
        torch.set_rng_state(random["cpu"])
        if self.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], self.device)
        self.step = checkpoint.step
        self._keep_place()

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
            raise NonFiniteError(
                f"the loss of step {self.step + 1} is not finite on {', '.join(example.titles[:3])}: "
                "nothing was updated; lower optimizer.lr and run again from the last checkpoint"
            )
        return loss, self.model.fixed.largest()

    def _update(self, rate: float, step: int) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.train.max_grad_norm))
        if not math.isfinite(norm):
            raise NonFiniteError(f"the gradient of step {step} is not finite: nothing was updated; lower optimizer.lr")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _sample(self, prompt: str) -> dict[str, str]:
        options, tokenizer = self.recipe.evaluate, self.corpus.tokenizer
        drawn = continue_tokens(
            self.model,
            tokenizer.encode(prompt).tolist(),
            options.sample_tokens,
            Sampling(options.temperature),
            self.recipe.seed,
            begin_id=tokenizer.begin_id,
        )
        content = b"".join(tokenizer.piece_bytes[token] for token in self._until_stopped(drawn))
        return {"prompt": prompt, "text": content.decode("utf-8", errors="replace")}

    def _until_stopped(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            self._heed_stop()
            yield item

    def _heed_stop(self) -> None:
        if self.stop() is not None:
            raise Stopped

    def _keep_place(self) -> None:
        self._place = self.examples.state()
        self._random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            self._random["cuda"] = torch.cuda.get_rng_state(self.device)

    def _settings(self) -> dict[str, Any]:
        """What a checkpoint must share with a run that goes on from it."""
        model = self.recipe.model.model_dump(mode="json", exclude={"reversible", "attention_block"})
        fields = {f"model.{key}": value for key, value in model.items()}
        return {"seed": self.recipe.seed, "corpus": self.corpus.fingerprint, **fields}

    def _autocast(self) -> torch.autocast:
        enabled = self.recipe.train.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)
