"""The training step, written once: the loop, `revlm plan --measure`, benchmarks and tests all use it.

A step sums the gradients of its examples over all ranks, and applies the optimizer to them.
"""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import torch.fx.experimental.symbolic_shapes  # the first backward pass would, and it would count as a step's memory
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

# Steps between measurements of the keys' second moments, which change slowly: the directions for the hashes of
# evaluation are computed anew each time.
_WHITEN_EVERY = 8


class Totals(NamedTuple):
    """Totals over the examples of a step on all ranks; `epoch` is the epoch of the last example.

    `document_tokens` has the number of tokens of each document.
    """

    tokens: int
    documents: int
    target_bytes: int
    epoch: int
    document_tokens: tuple[int, ...]

    @classmethod
    def of(cls, examples: Sequence[Example], ranks: Ranks) -> Self:
        """Returns the totals of a step, given this rank's examples."""
        own = [
            (len(one), len(one.titles), one.target_bytes, one.epoch, np.bincount(one.document_ids).tolist())
            for one in examples
        ]
        tokens, documents, target_bytes, epochs, lengths = zip(*ranks.gather_in_order(own), strict=True)
        return cls(sum(tokens), sum(documents), sum(target_bytes), epochs[-1], tuple(chain.from_iterable(lengths)))


class _Part(NamedTuple):
    """A rank's part of an example: its summed loss, the range of its streams, and statistics of its heads by layer."""

    nats: float = 0.0
    largest: float = 0.0
    is_finite: bool = True
    layers: Sequence[Record] = ()


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
        self._key_moments = model.key_moments

    def update(self, examples: Sequence[Example], first: int, totals: Totals, rate: float) -> Record:
        """Updates the weights once; returns the losses and statistics for the record of the step.

        `examples` are this rank's; `first` is the index of the step's first example since the start of training.

        Raises:
            NonFinite: a loss, a gradient or a stream is not finite; the weights were not updated.
        """
        losses: list[float] = []
        streams: list[float] = []
        layers_of_first: list[Record] = []
        self._key_moments.zero_()  # a rank that has no part of the first example adds none

        def accumulate() -> None:
            for index, example in enumerate(examples):
                self._ranks.run_in_sequence(self._raise_if_stopped)
                place = self._ranks.data_rank + index * self._ranks.data_size
                loss, nats, largest, layers = self._forward(example, first + place, with_statistics=place == 0)
                losses.append(nats)
                streams.append(largest)
                layers_of_first.extend(layers)
                if loss is not None:
                    self._backward(loss, totals.tokens)

        self._ranks.run_on_all(accumulate)
        return_freed_memory()
        with self._meter.phase("optimizer"):
            self._ranks.sum_gradients(self._model.parameters())
            with self._ranks.exchange():
                norm = self._step(rate, examples)
            if self._model.hash_layers and first // self._recipe.train.gradient_accumulation_steps % _WHITEN_EVERY == 0:
                self._whiten_hashes()
        nats = sum(self._ranks.gather_in_order(losses))
        layers = self._ranks.broadcast(lambda: layers_of_first)
        shares = ("bucket_fill", "empty_query_share", "sink_share")
        return {
            "loss": nats / totals.tokens,
            "bits_per_byte": nats / math.log(2) / max(totals.target_bytes, 1),
            "grad_norm": norm,
            "stream_max": max(self._ranks.gather(max(streams))),
            **{name: sum(x[name] for x in layers) / len(layers) if layers else None for name in shares},
            "layers": layers,
        }

    def _forward(
        self, example: Example, index: int, *, with_statistics: bool
    ) -> tuple[Tensor | None, float, float, list[Record]]:
        """Computes this rank's part of an example; `index` counts examples from the start of training.

        Returns this rank's part of the summed loss (None if it has no part), and for the whole example the loss in
        nats, the largest magnitude of a stream, and statistics of the layers.
        """
        loss, own = None, _Part()
        sequence = self._ranks.sequence_of(len(example))
        if sequence is not None:
            span = sequence.own(len(example))
            parts = (example.inputs, example.targets[span], example.document_ids)
            inputs, targets, document_ids = (_on_device(torch.from_numpy(part), self._device) for part in parts)
            with self._meter.phase("forward"), autocast(self._recipe.train.precision, self._device):
                hidden = self._model(
                    inputs, document_ids, step=index, with_statistics=with_statistics, sequence=sequence
                )
                loss = self._model.loss(hidden, targets)
            fixed = self._model.fixed
            assert fixed is not None
            range_ = fixed.check_range()
            if with_statistics:
                self._key_moments = self._model.key_moments
            uses = [{"layer": layer, **vars(use)} for layer, use in sorted(self._model.statistics.items())]
            own = _Part(float(loss.detach()), range_.largest, range_.is_finite, uses)
        whole = [_Part(*each) for each in self._ranks.gather_in_sequence(own)]
        nats = sum(part.nats for part in whole)
        if not math.isfinite(nats):
            what = "the loss" if all(part.is_finite for part in whole) else "a stream"
            raise NonFinite(what, titles_of([example]))
        return loss, nats, max(part.largest for part in whole), _means([part.layers for part in whole if part.layers])

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

    def _whiten_hashes(self) -> None:
        """Gives the model the second moments of the first example's keys; a rank has those of its heads, or none."""
        self._ranks.sum_in_place(self._key_moments)
        self._model.whiten_hashes(self._key_moments)


def _on_device(x: Tensor, device: torch.device) -> Tensor:
    """Returns the tensor on the device; on CUDA the copy is asynchronous, so the host continues meanwhile."""
    return x.to(device) if device.type == "cpu" else x.pin_memory().to(device, non_blocking=True)


def _means(layers: Sequence[Sequence[Record]]) -> list[Record]:
    """Returns the statistics of each layer as means over ranks, which have the same number of heads."""
    return [
        {"layer": each[0]["layer"]}
        | {name: sum(part[name] for part in each) / len(each) for name in each[0] if name != "layer"}
        for each in zip(*layers, strict=True)
    ]
