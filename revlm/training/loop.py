"""The training loop: a generator of records, which the command line shows and the journal keeps."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from revlm.corpus import Example, PackedCorpus
from revlm.errors import NonFiniteError, StorageError
from revlm.evaluation import score
from revlm.generation import Sampling, continue_tokens
from revlm.model import RevLM, resolve_model
from revlm.planning import require_memory
from revlm.recipe import Recipe
from revlm.runs import (
    Journal,
    MemoryMeter,
    RunFolder,
    choose_device,
    describe_environment,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from revlm.training.optimizer import learning_rate, make_optimizer

Record = dict[str, Any]


def train(recipe: Recipe, message: Callable[[str], object] = lambda text: None) -> Iterator[Record]:
    """Trains as the recipe says, yielding each record of the journal; goes on where the run stands.

    Raises:
        NonFiniteError: a loss, a gradient or a stream left the finite numbers.
        ResourceError: a step would need more memory than `memory.limit` or the machine.
        StorageError: the run folder is in use or its checkpoints belong to other settings.
    """
    device = choose_device(recipe.train.device)
    recipe = recipe.model_copy(update={"model": resolve_model(recipe.model, recipe.data.seq_len)})
    data = recipe.data
    corpus = PackedCorpus(
        data.path, seq_len=data.seq_len, packing=data.packing, seed=recipe.seed, validation=data.validation
    )
    for notice in corpus.notices:
        message(notice)
    require_memory(recipe, corpus.tokenizer.vocab_size, device, corpus.longest_example)
    meter = MemoryMeter(device)
    folder = RunFolder.create(recipe.output_dir)
    with folder.lock():
        run = _Run(recipe, corpus, folder, device, meter, message)
        with Journal(folder.metrics) as journal:
            journal.truncate_after(run.step)
            folder.remove_samples_after(run.step)
            for record in run.records(journal):
                journal.append(record)
                yield record


class _Run:
    """The state that training needs: model, optimizer, place in the corpus, step."""

    def __init__(
        self,
        recipe: Recipe,
        corpus: PackedCorpus,
        folder: RunFolder,
        device: torch.device,
        meter: MemoryMeter,
        message: Callable[[str], object],
    ) -> None:
        self.recipe, self.corpus, self.folder, self.device, self.meter = recipe, corpus, folder, device, meter
        torch.manual_seed(recipe.seed)
        self.model = RevLM(
            recipe.model, vocab_size=corpus.tokenizer.vocab_size, seed=recipe.seed, tile=recipe.train.tile
        ).to(device)
        self.optimizer = make_optimizer(self.model, recipe)
        self.step = 0
        self.saved_step: int | None = None
        self.stream = corpus.training()
        path = newest_checkpoint(folder, message)
        if path is not None:
            self._load(load_checkpoint(path))
            message(f"going on from step {self.step} of {folder}")
        folder.write_recipe(recipe.to_yaml())
        folder.write_environment(describe_environment(device))

    def records(self, journal: Journal) -> Iterator[Record]:
        """Yields the records of the steps that are left, saving and evaluating as the recipe says."""
        recipe = self.recipe
        while self.step < recipe.train.max_steps:
            self.step += 1
            yield self._train_step()
            last = self.step == recipe.train.max_steps
            if _due(self.step, recipe.evaluate.every) or (last and recipe.evaluate.every):
                yield self._evaluate()
            if _due(self.step, recipe.checkpoint.every) or last:
                journal.sync()
                self._save()

    def _train_step(self) -> Record:
        recipe, meter = self.recipe, self.meter
        meter.start_step()
        start = time.perf_counter()
        examples = [next(self.stream) for _ in range(recipe.train.gradient_accumulation_steps)]
        data_seconds = time.perf_counter() - start
        tokens = sum(len(example) for example in examples)
        nats, stream_max = 0.0, 0.0
        layers: list[Record] = []
        for index, example in enumerate(examples):
            drawn = (self.step - 1) * len(examples) + index
            inputs, targets, document = self._tensors(example)
            with meter.phase("forward"), self._autocast():
                hidden = self.model(inputs, document, step=drawn, with_statistics=index == 0)
                loss = self.model.loss(hidden, targets)
            del hidden
            assert self.model.fixed is not None
            self.model.fixed.check_range()
            stream_max = max(stream_max, self.model.fixed.largest())
            if not math.isfinite(float(loss.detach())):
                raise NonFiniteError(
                    f"the loss of step {self.step} is not finite on {', '.join(example.titles[:3])}: "
                    "nothing was updated; lower optimizer.lr and run again from the last checkpoint"
                )
            nats += float(loss.detach())
            if index == 0:
                layers = [{"layer": layer, **vars(use)} for layer, use in sorted(self.model.statistics.items())]
            with meter.phase("backward"):
                (loss / tokens).backward()
        with meter.phase("optimizer"):
            rate = learning_rate(recipe, self.step)
            norm = self._update(rate)
        seconds = time.perf_counter() - start
        size = sum(example.target_bytes for example in examples)
        shares = ("bucket_fill", "empty_query_share", "sink_share")
        return {
            "event": "step",
            "step": self.step,
            "epoch": examples[-1].epoch,
            "tokens": tokens,
            "documents": sum(len(example.titles) for example in examples),
            "loss": nats / tokens,
            "bits_per_byte": nats / math.log(2) / max(size, 1),
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

    def _update(self, rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.train.max_grad_norm))
        if not math.isfinite(norm):
            raise NonFiniteError(
                f"the gradient of step {self.step} is not finite: nothing was updated; lower optimizer.lr"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _evaluate(self) -> Record:
        start = time.perf_counter()
        options = self.recipe.evaluate
        result = score(self.model, self.corpus.validation(), self._autocast(), options.max_tokens)
        self._write_samples()
        return {
            "event": "evaluate",
            "step": self.step,
            "loss": result.loss if result.tokens else None,
            "bits_per_byte": result.bits_per_byte if result.tokens else None,
            "tokens": result.tokens,
            "documents": result.documents,
            "seconds": time.perf_counter() - start,
        }

    def _write_samples(self) -> None:
        options, tokenizer = self.recipe.evaluate, self.corpus.tokenizer
        samples = []
        for prompt in options.samples:
            tokens = tokenizer.encode(prompt).tolist()
            drawn = continue_tokens(
                self.model,
                tokens,
                options.sample_tokens,
                Sampling(options.temperature),
                self.recipe.seed,
                begin_id=tokenizer.begin_id,
            )
            content = b"".join(tokenizer.piece_bytes[token] for token in drawn)
            samples.append({"prompt": prompt, "text": content.decode("utf-8", errors="replace")})
        if samples:
            self.folder.write_samples(self.step, samples)

    def _save(self) -> None:
        optimizer = {
            f"{name}.{key}": value
            for name, parameter in self.model.named_parameters()
            for key, value in self.optimizer.state[parameter].items()
        }
        state = {
            "settings": _settings(self.recipe, self.corpus),
            "corpus": self.stream.state(),
            "random": torch.get_rng_state().tolist(),
        }
        tensors = {"model": self.model.state_dict(), "optimizer": optimizer}
        save_checkpoint(self.folder, self.step, tensors, state, self.recipe.checkpoint.keep_last)

    def _load(self, checkpoint: Any) -> None:
        settings = _settings(self.recipe, self.corpus)
        saved = checkpoint.state["settings"]
        changed = sorted(key for key in settings.keys() | saved.keys() if settings.get(key) != saved.get(key))
        if changed:
            raise StorageError(
                f"{self.folder} was trained with another {', '.join(changed)}: "
                "give the old values back, or another output_dir for a new run"
            )
        self.model.load_state_dict(checkpoint.tensors["model"])
        for name, parameter in self.model.named_parameters():
            prefix = f"{name}."
            self.optimizer.state[parameter] = {
                key.removeprefix(prefix): value.clone().to(self.device)
                for key, value in checkpoint.tensors["optimizer"].items()
                if key.rpartition(".")[0] == name
            }
        self.stream = self.corpus.training(checkpoint.state["corpus"])
        torch.set_rng_state(torch.tensor(checkpoint.state["random"], dtype=torch.uint8))
        self.step = checkpoint.step

    def _tensors(self, example: Example) -> tuple[Tensor, ...]:
        parts = (example.inputs, example.targets, example.document)
        return tuple(torch.from_numpy(part).to(self.device) for part in parts)

    def _autocast(self) -> torch.autocast:
        enabled = self.recipe.train.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _settings(recipe: Recipe, corpus: PackedCorpus) -> dict[str, Any]:
    """What a checkpoint must share with a run that goes on from it."""
    model = recipe.model.model_dump(mode="json", exclude={"reversible", "attention_block"})
    return {"seed": recipe.seed, "corpus": corpus.fingerprint} | {f"model.{key}": value for key, value in model.items()}
