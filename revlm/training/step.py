"""The step of training, written once: the loop, `revlm plan --measure`, benchmarks and tests take this one.

A step is the gradients of its examples, on all ranks, and what the optimizer makes of them.
"""

import hashlib
import math
import time
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
    """What the examples of a step have together, of all ranks; `epoch` is that of the last one."""

    tokens: int
    documents: int
    target_bytes: int
    epoch: int

    @classmethod
    def of(cls, examples: Sequence[Example], ranks: Ranks) -> Self:
        """Returns the totals of a step, of which this rank has these examples."""
        each = ranks.in_order([(len(one), len(one.titles), one.target_bytes, one.epoch) for one in examples])
        tokens, documents, target_bytes, epochs = zip(*each, strict=True)
        return cls(sum(tokens), sum(documents), sum(target_bytes), epochs[-1])


class TrainStep:
    """TrainStep the weights of a model; `heed_stop` is called between examples, and may raise.

    The loss of a step is the sum over all its targets divided by their number, whichever rank has them.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: RevLM,
        optimizer: Optimizer,
        ranks: Ranks,
        meter: MemoryMeter,
        heed_stop: Callable[[], None],
    ) -> None:
        self._recipe, self._model, self._optimizer = recipe, model, optimizer
        self._ranks, self._meter, self._heed_stop = ranks, meter, heed_stop
        self._parallel = ranks.parallel(model)
        self._device = model.head_weight.device

    def update(self, examples: Sequence[Example], first: int, totals: Totals, rate: float) -> Record:
        """TrainStep the weights once; returns what the record of the step says of that.

        `examples` are those of this rank, `first` is the number of the step's first one since training began.

        Raises:
            NonFinite: a loss, a gradient or a stream left the finite numbers; nothing was updated.
        """
        losses: list[float] = []
        streams: list[float] = []
        own_layers: list[Record] = []
        # All begin the first forward pass or none does: in one of them ranks tell each other how gradients are packed.
        self._ranks.run_on_all(self._heed_stop)

        def forward(index: int, example: Example) -> Tensor:
            if index > 0:
                self._heed_stop()
            place = self._ranks.rank + index * self._ranks.count
            loss, largest = self._forward(example, first + place, with_statistics=place == 0)
            losses.append(float(loss.detach()))
            streams.append(largest)
            if place == 0:
                uses = sorted(self._model.statistics.items())
                own_layers.extend({"layer": layer, **vars(use)} for layer, use in uses)
            return loss

        def until_the_exchange() -> tuple[Tensor, float]:
            for index, example in enumerate(examples[:-1]):
                with self._ranks.apart(self._parallel):
                    self._backward(forward(index, example), totals.tokens)
            start = time.perf_counter()
            loss = forward(len(examples) - 1, examples[-1])
            return loss, time.perf_counter() - start

        loss, forward_seconds = self._ranks.run_on_all(until_the_exchange)
        self._ranks.expect_backward(forward_seconds)
        with self._ranks.exchange():
            self._backward(loss, totals.tokens)
            return_freed_memory()
            with self._meter.phase("optimizer"):
                norm = self._step(rate, examples)
        nats = sum(self._ranks.in_order(losses))
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
        parts = (example.inputs, example.targets, example.document)
        inputs, targets, document = (_on_device(torch.from_numpy(part), self._device) for part in parts)
        if self._ranks.count > 1 and self._recipe.model.dropout > 0:
            torch.manual_seed(_dropout_seed(self._recipe.seed, drawn))
        with self._meter.phase("forward"), autocast(self._recipe.train.precision, self._device):
            hidden = self._parallel(inputs, document, step=drawn, with_statistics=with_statistics)
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
        """Returns the norm of the gradients that the optimizer has made a step of."""
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
    """Returns a copy on the device, which on CUDA is only queued: work goes on while the tokens travel."""
    return x.to(device) if device.type == "cpu" else x.pin_memory().to(device, non_blocking=True)


def _dropout_seed(seed: int, drawn: int) -> int:
    """Of each example by itself, so that a run on several ranks drops the same whatever their number."""
    digest = hashlib.sha256(f"{seed}/dropout/{drawn}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
