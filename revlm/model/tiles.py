"""The forward and backward pass of one sublayer over a long sequence, with token-wise parts in tiles of tokens.

Attention over many tokens takes some heads at a time: the increment is a sum over heads, of which each group of heads
adds its own part to the stream, and tensors of all tokens exist for one group at a time. Tiles and groups depend only
on shapes and the recipe, so rebuilding them gives the same bits. The weight gradients of tiles are summed in float32,
in tile order.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from revlm.model.parts.context import Context
from revlm.model.parts.dropout import Draw
from revlm.model.parts.sublayer import ALL_HEADS, Sublayer
from revlm.model.sequence import SINGLE, SequenceGroup
from revlm.model.shape import heads_at_a_time
from revlm.model.stages import Stage
from revlm.ops.attention import Delta
from revlm.ops.fixed_point import FixedPoint, StreamTile
from revlm.ops.heap import LARGE_BLOCK_BYTES, hold_in_huge_pages, is_fragmented, return_freed_memory
from revlm.ops.output_gradient import write_gradient

# Smaller tensors leave no holes worth the time of trimming the heap.
_LEAST_HOLE_BYTES = 2**20

Gradients = list[Tensor]
RandomState = tuple[Tensor, Tensor | None]


def sublayer_parameters(sublayer: Sublayer) -> Iterator[nn.Parameter]:
    """Yields the parameters of a sublayer in the order in which their gradients are returned."""
    for stage in (sublayer.read, sublayer.mix, sublayer.write):
        if stage is not None:
            yield from stage.parameters()


@dataclass
class _Mixed:
    """What attention read, its result, and where its backward pass finds the inner products that it asks for."""

    read: list[Tensor]
    values: Tensor
    delta: Delta | None


@dataclass
class _Group:
    """Heads that are computed at the same time, the stages with their weights, and their graphs where these are stored.

    A sublayer without mixing is a single group.
    """

    heads: slice
    stages: dict[str, Stage]
    read: list[tuple[StreamTile | Tensor, tuple[Tensor, ...]]] = field(default_factory=list)
    mixed: _Mixed | None = None
    write: list[tuple[StreamTile | Tensor, Tensor]] = field(default_factory=list)


class Kept(NamedTuple):
    """The stages of one sublayer and the graphs of its groups, stored from the forward to the backward pass."""

    stages: dict[str, Stage]
    groups: list[_Group]


class SublayerPass:
    """One sublayer in one pass: adds its increments to a stream, later subtracts them again and differentiates."""

    def __init__(
        self,
        sublayer: Sublayer,
        number: int,
        context: Context,
        tile: int,
        fixed: FixedPoint,
        embedding: Tensor,
        sequence: SequenceGroup = SINGLE,
    ) -> None:
        """`number` is that of the sublayer; `embedding` has this rank's tokens, `context` is that of all."""
        self.sublayer, self.number, self.context, self.fixed = sublayer, number, context, fixed
        self.dtype, self.device = embedding.dtype, embedding.device
        self.sequence, self.tokens = sequence, len(context.document_ids)
        self.exchange = sequence.exchange(sublayer.mix, self.tokens)
        own = embedding.shape[0]
        self.first = sequence.own(self.tokens).start
        self.spans = [slice(start, min(start + tile, own)) for start in range(0, own, tile)]
        kind = self.device.type
        self._heads = self._heads_of_groups()
        self._autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        self._random_state: RandomState | None = None

    def add_(
        self, source: Int[Tensor, "tokens d_model"], target: Int[Tensor, "tokens d_model"], *, keep: bool
    ) -> Kept | None:
        """Adds the increments computed from the source to the target stream; returns the graphs with `keep`."""
        self._random_state = self.random_state()
        kept = self._divided()
        with torch.set_grad_enabled(keep), self._replayed_autocast():
            inputs = None
            if keep and self.sublayer.mix is not None:
                inputs = list(self._read_inputs(source, differentiable=True, kept=True))
            for group in kept.groups:
                self._add_group_(group, source, target, inputs, keep=keep)
        return kept if keep else None

    def backward(
        self,
        streams: tuple[Int[Tensor, "tokens d_model"], Int[Tensor, "tokens d_model"]] | None,
        kept: Kept | None,
        *,
        d_source: Float[Tensor, "tokens d_model"],
        d_target: Float[Tensor, "tokens d_model"],
    ) -> Gradients:
        """Adds the sublayer's gradient to `d_source`; returns the gradients of its parameters.

        With the (source, target) streams, subtracts the increments from the target and rebuilds the graphs; with
        `kept`, uses the stored graphs.
        """
        stages, groups = self._divided() if kept is None else kept
        if streams is not None:
            assert self._random_state is not None
            self.set_random_state(self._random_state)
        with torch.enable_grad(), self._replayed_autocast():
            for group in groups:
                self._backward_of_group(group, streams, d_source, d_target)
        return [gradient for stage in stages.values() for gradient in stage.summed()]

    def random_state(self) -> RandomState:
        """Returns the state of PyTorch's generators, from which modules of users may draw, such as adapters."""
        on_device = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return torch.get_rng_state(), on_device

    def set_random_state(self, state: RandomState) -> None:
        """Sets the state that `random_state` returned."""
        torch.set_rng_state(state[0])
        if state[1] is not None:
            torch.cuda.set_rng_state(state[1], self.device)

    def _heads_of_groups(self) -> list[slice]:
        read = self.sublayer.read
        if read is None:
            return [ALL_HEADS]
        some = read.n_heads
        if self.sublayer.takes_some_heads:
            kind = "cuda" if self.device.type == "cuda" else "cpu"
            some = heads_at_a_time(read.n_heads, read.head_dim, self.tokens, self.sequence.size, kind)
        return [slice(first, first + some) for first in range(0, read.n_heads, some)]

    def _divided(self) -> Kept:
        """Returns the stages and their groups, without graphs."""
        named = {"read": self.sublayer.read, "mix": self.sublayer.mix, "write": self.sublayer.write}
        _, dtype, enabled = self._autocast
        product = dtype if enabled else None
        stages = {name: Stage(module, product) for name, module in named.items() if module is not None}
        if len(self._heads) == 1:
            return Kept(stages, [_Group(self._heads[0], stages)])
        return Kept(stages, [_Group(heads, self._of_heads(stages, heads)) for heads in self._heads])

    def _of_heads(self, stages: dict[str, Stage], heads: slice) -> dict[str, Stage]:
        """Returns the stages with the weights of some heads; attention takes those of its few parameters itself."""
        read, write = self.sublayer.read, self.sublayer.write
        assert read is not None
        shape = read.n_heads, read.head_dim
        return {
            "read": stages["read"].of_heads(heads, read.readers(), 0, shape),
            "mix": stages["mix"],
            "write": stages["write"].of_heads(heads, write.writers(), 1, shape),
        }

    def _replayed_autocast(self) -> AbstractContextManager[None]:
        kind, dtype, enabled = self._autocast
        # Cast weights are not cached: the cache would carry graphs from one tile to the next.
        return torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False)

    def _trim_heap(self, whole: Sequence[Tensor]) -> None:
        """Returns the heap memory that tiles freed, before attention over whole sequences reaches the peak.

        Whole tensors that lie in the heap themselves take the freed memory, which then need not be mapped again, until
        holes between them add up.
        """
        largest = max(each.nbytes for each in whole)
        if self.device.type == "cpu" and (
            largest >= LARGE_BLOCK_BYTES or (largest >= _LEAST_HOLE_BYTES and is_fragmented())
        ):
            return_freed_memory()

    @property
    def _lookahead(self) -> int:
        return 0 if self.sublayer.read is None else self.sublayer.read.lookahead

    def _global(self, span: slice) -> slice:
        """Returns the positions in the whole sequence of a span of this rank's tokens."""
        return slice(self.first + span.start, self.first + span.stop)

    def _draw(self, span: slice) -> Draw | None:
        seed = self.context.dropout_seed
        return None if seed is None else Draw(seed, self.number, self.first + span.start)

    def _read_inputs(
        self, source: Tensor, *, differentiable: bool, kept: bool = False
    ) -> Iterator[StreamTile | Tensor]:
        """Yields what a layer reads for each span: its tokens of the stream, and those after them that it needs."""
        after = self.sequence.rows_after(source, self._lookahead, self.tokens)
        for span in self.spans:
            rows = source[span.start : span.stop + self._lookahead]
            if span.stop == len(source) and len(after):
                rows = torch.cat([rows, after])
            yield self._input(rows, differentiable=differentiable, kept=kept)

    def _write_input(
        self, source: Tensor | None, mixed: Tensor | None, span: slice, *, differentiable: bool, kept: bool = False
    ) -> StreamTile | Tensor:
        if mixed is not None:
            return mixed[:, span].requires_grad_(differentiable)
        assert source is not None
        return self._input(source[span], differentiable=differentiable, kept=kept)

    def _input(self, rows: Tensor, *, differentiable: bool, kept: bool) -> StreamTile | Tensor:
        """Returns some tokens of a stream for a layer; for a kept graph their values, as the stream changes."""
        if kept:
            return self.fixed.to_float(rows, self.dtype).requires_grad_(differentiable)
        return self.fixed.tile(rows, self.dtype, differentiable=differentiable)

    def _add_group_(
        self,
        group: _Group,
        source: Tensor,
        target: Tensor,
        inputs: list[StreamTile | Tensor] | None,
        *,
        keep: bool,
    ) -> None:
        """Adds the part of the increments that comes from a group; keeps its graphs with `keep`."""
        mixed = None
        if self.sublayer.mix is not None:
            mixed = self.exchange.scatter(self._mixed(group, source, inputs, differentiable=keep).values.detach())
        for span in self.spans:
            x = self._write_input(source, mixed, span, differentiable=keep, kept=keep)
            (increment,) = group.stages["write"](x, self._draw(span))
            self.fixed.add_(target[span], increment)
            if keep:
                group.write.append((x, increment))

    def _mixed(
        self, group: _Group, source: Tensor, inputs: list[StreamTile | Tensor] | None, *, differentiable: bool
    ) -> _Mixed:
        """Returns the tensors that attention reads, from a whole stream, and their mix.

        With the `inputs` of a graph in place of the stream's, keeps the group's graphs.
        """
        keep, stages = inputs is not None, group.stages
        whole = self._whole(group)
        for span, x in zip(self.spans, inputs or self._read_inputs(source, differentiable=False), strict=True):
            with torch.set_grad_enabled(keep):
                parts = stages["read"](x, self.context, self._global(span), [each[:, span] for each in whole])
            if keep:
                group.read.append((x, parts))
        whole = self.exchange.gather(whole)
        for each in whole:
            each.requires_grad_(differentiable and each.is_floating_point())
        if differentiable:
            self._trim_heap(whole)
        assert self.sublayer.mix is not None
        delta = Delta() if differentiable and self.sublayer.mix.takes_delta else None
        context, heads = self.exchange.context(self.context), self.exchange.heads(group.heads)
        (values,) = stages["mix"](*whole, context=context, heads=heads, delta=delta)
        mixed = _Mixed(whole, values, delta)
        if keep:
            group.mixed = mixed
        return mixed

    def _whole(self, group: _Group) -> list[Tensor]:
        """Returns memory for all that a group reads."""
        read, product = self.sublayer.read, group.stages["read"].product
        assert read is not None
        shape = group.heads.stop - group.heads.start, self.spans[-1].stop, read.head_dim
        dtype = self.dtype if product is None else product
        return [hold_in_huge_pages(torch.empty(shape, dtype=dtype, device=self.device)) for _ in range(read.results)]

    def _backward_of_group(
        self, group: _Group, streams: tuple[Tensor, Tensor] | None, d_source: Tensor, d_target: Tensor
    ) -> None:
        if self.sublayer.mix is None:
            self._backward_of_write(group, streams, None, d_source, d_target)
        else:
            d_read = self._backward_to_read(group, streams, d_source, d_target)
            self._backward_of_read(group, streams, self.exchange.scatter_gradient(d_read), d_source)

    def _backward_to_read(
        self, group: _Group, streams: tuple[Tensor, Tensor] | None, d_source: Tensor, d_target: Tensor
    ) -> list[Tensor]:
        """Goes back through writing and mixing; returns the gradients of the tensors that attention read."""
        if streams is not None:
            mixed = self._mixed(group, streams[0], None, differentiable=True)
        else:
            assert group.mixed is not None
            mixed, group.mixed = group.mixed, None
        read, delta, edge = mixed.read, mixed.delta, get_gradient_edge(mixed.values)
        own = _OwnMixed(self.exchange.scatter(mixed.values.detach()), with_delta=delta is not None)
        del mixed  # attention's result lives on as that of this rank's tokens, and as long as attention itself needs it
        self._backward_of_write(group, streams, own, d_source, d_target)
        if delta is not None and own.delta is not None:
            delta.of_queries = self.exchange.gather_gradient(own.delta)
        own_gradient = own.gradient
        del own
        d_mixed = self.exchange.gather_gradient(own_gradient)
        del own_gradient
        differentiable = tuple(each for each in read if each.requires_grad)
        self._trim_heap(read)
        d_read = group.stages["mix"].backward((edge,), differentiable, (d_mixed,))
        return [_given(gradient, of) for gradient, of in zip(d_read, differentiable, strict=True)]

    def _backward_of_write(
        self,
        group: _Group,
        streams: tuple[Tensor, Tensor] | None,
        mixed: "_OwnMixed | None",
        d_source: Tensor,
        d_target: Tensor,
    ) -> None:
        stage = group.stages["write"]
        for index, span in enumerate(self.spans):
            if streams is None:
                x, increment = group.write[index]
            else:
                values = None if mixed is None else mixed.values
                x = self._write_input(streams[0], values, span, differentiable=True)
                (increment,) = stage(x, self._draw(span))
                self.fixed.subtract_(streams[1][span], increment)
            gradient = d_target[span].to(increment.dtype)
            if mixed is None:
                self._backward_into(stage, (increment,), x, (gradient,), d_source[span])
            else:
                assert isinstance(x, Tensor)
                (d_x,) = stage.backward((increment,), (x,), (gradient,))
                mixed.set_gradient(span, _given(d_x, x))

    def _backward_of_read(
        self, group: _Group, streams: tuple[Tensor, Tensor] | None, d_read: list[Tensor], d_source: Tensor
    ) -> None:
        stage, d_after = group.stages["read"], d_source[:0]
        for span, (x, parts) in zip(self.spans, self._read_graphs(group, streams), strict=True):
            own = d_source[span.start : span.stop + self._lookahead]
            d_rows = own
            if beyond := len(x) - len(own):  # rows of the rank after this one
                d_rows = torch.cat([own, own.new_zeros(beyond, *own.shape[1:])])
            self._backward_into(stage, parts, x, tuple(each[:, span] for each in d_read), d_rows)
            if d_rows is not own:
                own.copy_(d_rows[: len(own)])
                d_after = d_rows[len(own) :]
        self.sequence.add_gradient_of_rows_after(d_after, d_source, self._lookahead, self.tokens)

    def _read_graphs(
        self, group: _Group, streams: tuple[Tensor, Tensor] | None
    ) -> Iterator[tuple[StreamTile | Tensor, tuple[Tensor, ...]]]:
        """Yields what each tile of a group read and the graph of its results, rebuilt or stored."""
        if streams is None:
            yield from group.read
            return
        for span, x in zip(self.spans, self._read_inputs(streams[0], differentiable=True), strict=True):
            yield x, group.stages["read"](x, self.context, self._global(span), only_graph=True)

    @staticmethod
    def _backward_into(
        stage: Stage,
        outputs: tuple[Tensor, ...],
        x: StreamTile | Tensor,
        d_outputs: tuple[Tensor, ...],
        d_x: Float[Tensor, "tile d_model"],
    ) -> None:
        """Adds the gradient of a stage's input, tokens of a stream, to `d_x`."""
        if isinstance(x, StreamTile):
            x.gradient = d_x  # to which the norm that reads the tile adds
        (gradient,) = stage.backward(outputs, (x.leaf if isinstance(x, StreamTile) else x,), d_outputs)
        if gradient is not None:
            d_x += gradient


class _OwnMixed:
    """The mixed values of this rank's tokens, and their gradient: written over them where attention takes delta.

    Attributes:
        delta: [heads, tokens], the inner product of each mixed vector and its gradient.
    """

    def __init__(self, values: Float[Tensor, "heads tokens head_dim"], *, with_delta: bool) -> None:
        self.values = values
        sums = torch.promote_types(values.dtype, torch.float32)
        self.delta = values.new_empty(values.shape[:2], dtype=sums) if with_delta else None
        # `data` has a version of its own: autograd must not take a tile that was written over for one of the others.
        self.gradient = values.data if with_delta else hold_in_huge_pages(torch.empty_like(values))

    def set_gradient(self, span: slice, gradient: Float[Tensor, "heads tile head_dim"]) -> None:
        """Sets the gradient of a span of the values, which nothing reads any more."""
        if self.delta is None:
            self.gradient[:, span] = gradient
        else:
            write_gradient(self.gradient[:, span], gradient, self.delta[:, span])


def _given(gradient: Tensor | None, of: Tensor) -> Tensor:
    """Returns a gradient, zeros where there is none."""
    return torch.zeros_like(of) if gradient is None else gradient
