"""The training step, written once: the loop, `revlm plan --measure`, benchmarks and tests all use it.

A step sums the gradients of its examples over all ranks, and applies the optimizer to them.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from revlm.corpus import Example
from revlm.model import RevLM
from revlm.model.precision import autocast
from revlm.ops.heap import return_freed_memory
from revlm.recipe import Recipe
from revlm.runs import MemoryMeter
from revlm.training.nonfinite import NonFinite, titles_of
from revlm.training.ranks import Ranks

Record = dict[str, Any]


class Totals(NamedTuple):
    """Totals over the examples of a step, on all ranks; `epoch` is that of the last example."""

    tokens: int
    documents: int
    target_bytes: int
    epoch: int

    @classmethod
    def of(cls, examples: Sequence[Example], ranks: Ranks) -> Self:
        """Returns the totals of a step, given this rank's examples."""
        each = ranks.gather_in_order([(len(one), len(one.titles), one.target_bytes, one.epoch) for one in examples])
        tokens, documents, target_bytes, epochs = zip(*each, strict=True)
        return cls(sum(tokens), sum(documents), sum(target_bytes), epochs[-1])


class TrainStep:
    """Updates the weights of a model; `raise_if_stopped` is called between examples.

    The loss of a step is the sum over all its targets on all ranks, divided by their number.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: RevLM,
        optimizer: Optimizer,
        ranks: Ranks,
        meter: MemoryMeter,
        raise_if_stopped: Callable[[], None],
    ) -> None:
        self._recipe, self._model, self._optimizer = recipe, model, optimizer
        self._ranks, self._meter, self._raise_if_stopped = ranks, meter, raise_if_stopped
        self._device = model.head_weight.device

    def update(self, examples: Sequence[Example], first: int, totals: Totals, rate: float) -> Record:
        """Updates the weights once; returns the losses and statistics for the record of the step.

        `examples` are this rank's; `first` is the index of the step's first example since the start of training.

        Raises:
            NonFinite: a loss, a gradient or a stream is not finite; the weights were not updated.
        """
        losses: list[float] = []
        streams: list[float] = []
        own_layers: list[Record] = []

        def accumulate() -> None:
            for index, example in enumerate(examples):
                self._raise_if_stopped()
                place = self._ranks.rank + index * self._ranks.world_size
                loss, largest = self._forward(example, first + place, with_statistics=place == 0)
                losses.append(float(loss.detach()))
                streams.append(largest)
                if place == 0:
                    uses = sorted(self._model.statistics.items())
                    own_layers.extend({"layer": layer, **vars(use)} for layer, use in uses)
                self._backward(loss, totals.tokens)

        self._ranks.run_on_all(accumulate)
        return_freed_memory()
        with self._meter.phase("optimizer"):
            self._ranks.sum_gradients(self._model.parameters())
            with self._ranks.exchange():
                norm = self._step(rate, examples)
        nats = sum(self._ranks.gather_in_order(losses))
        layers = self._ranks.broadcast(lambda: own_layers)
        shares = ("bucket_fill", "empty_query_share", "sink_share")
        return {
            "loss": nats / totals.tokens,
            "bits_per_byte": nats / math.log(2) / max(totals.target_bytes, 1),
            "grad_norm": norm,
            "stream_max": max(self._ranks.gather(max(streams))),
            **{name: sum(x[name] for x in layers) / len(layers) if layers else None for name in shares},
            "layers": layers,
        }

    def _forward(self, example: Example, drawn: int, *, with_statistics: bool) -> tuple[Tensor, float]:
        """Returns the summed loss of an example and the largest magnitude of a stream."""
        parts = (example.inputs, example.targets, example.document_ids)
        inputs, targets, document_ids = (_on_device(torch.from_numpy(part), self._device) for part in parts)
        if self._ranks.world_size > 1 and self._recipe.model.dropout > 0:
            torch.manual_seed(_dropout_seed(self._recipe.seed, drawn))
        with self._meter.phase("forward"), autocast(self._recipe.train.precision, self._device):
            hidden = self._model(inputs, document_ids, step=drawn, with_statistics=with_statistics)
            loss = self._model.loss(hidden, targets)
        assert self._model.fixed is not None
        self._model.fixed.check_range()
        if not math.isfinite(float(loss.detach())):
            what = "the loss" if self._model.fixed.is_finite() else "a stream"
            raise NonFinite(what, titles_of([example]))
        return loss, self._model.fixed.largest()

    def _backward(self, loss: Tensor, tokens: int) -> None:
        with self._meter.phase("backward"):
            (loss / tokens).backward()

    def _step(self, rate: float, examples: Sequence[Example]) -> float:
        """Applies the optimizer; returns the norm of the gradients before clipping."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        norm = float(torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.train.max_grad_norm))
        if not math.isfinite(norm):
            titles = self._ranks.gather(titles_of(examples))
            raise NonFinite("the gradient", list(dict.fromkeys(title for each in titles for title in each)))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm


def _on_device(x: Tensor, device: torch.device) -> Tensor:
    """Returns a copy on the device; on CUDA the copy is asynchronous, so work continues while the tokens are copied."""
    return x.to(device) if device.type == "cpu" else x.pin_memory().to(device, non_blocking=True)


def _dropout_seed(seed: int, drawn: int) -> int:
    """A seed for each example, so that dropout is the same whatever the number of ranks."""
    digest = hashlib.sha256(f"{seed}/dropout/{drawn}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
