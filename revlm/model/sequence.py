"""The tokens of an example that this process holds, and what a sublayer exchanges with those that hold the others.

The P ranks of a sequence group may share one example (after DeepSpeed-Ulysses, Jacobs et al., arXiv 2309.14509): each
holds the streams of consecutive tokens, a P-th of all. A sublayer's stages then run as they do in one process, on these
tokens; only attention mixes tokens, and what it needs is exchanged right before and after it, in both passes. The
exchange works on detached tensors: autograd never sees it.

A kind of attention says what it needs by `Mix.rows_before`. Without it, ranks trade tokens for heads: attention over
all tokens, of a P-th of the heads. With it, a rank keeps all heads of its tokens, and gets so many tokens before them.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from revlm.model.parts.context import Context
from revlm.model.parts.sublayer import Mix
from revlm.ops.heap import hold_in_huge_pages

AllToAll = Callable[[Tensor, Tensor, list[int], list[int]], object]
"""Exchanges contiguous tensors with all ranks, as `torch.distributed.all_to_all_single` does: output, input, and the
rows of both from and for each rank."""


class Exchange:
    """Between the stages of a sublayer of a process that holds all tokens: everything stays where it is."""

    def context(self, context: Context) -> Context:
        """Returns what attention knows about its tokens."""
        return context

    def heads(self, heads: slice) -> slice:
        """Returns those of some heads whose attention this rank computes."""
        return heads

    def gather(self, read: list[Tensor]) -> list[Tensor]:
        """Returns what attention reads from what this rank has read, [heads, tokens, head_dim]; empties `read`."""
        return read

    def scatter(self, mixed: Tensor) -> Tensor:
        """Returns the mixed values of this rank's tokens, [heads, tokens, head_dim]."""
        return mixed

    def gather_gradient(self, d_mixed: Tensor) -> Tensor:
        """Returns the gradient of attention's result from those of this rank's tokens."""
        return d_mixed

    def scatter_gradient(self, d_read: list[Tensor]) -> list[Tensor]:
        """Returns the gradients of what this rank has read from those of what attention read; empties `d_read`."""
        return d_read


class SequenceGroup:
    """The ranks that share an example: here this one alone, at no cost.

    Attributes:
        rank, size: its number in its group, and the number of ranks in it.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def own(self, tokens: int) -> slice:
        """Returns the tokens of this rank in an example of so many."""
        return slice(0, tokens)

    def exchange(self, mix: Mix | None, tokens: int) -> Exchange:
        """Returns the exchange around an attention over an example of so many tokens."""
        return Exchange()

    def rows_after(self, stream: Tensor, count: int, tokens: int) -> Tensor:
        """Returns the next rows of a stream, at most `count`, which follow those of this rank."""
        return stream[:0]

    def add_gradient_of_rows_after(self, d_rows: Tensor, d_stream: Tensor, count: int, tokens: int) -> None:
        """Adds the gradients of the rows that `rows_after` returned to those of the ranks that hold them."""


SINGLE = SequenceGroup()


class ParallelSequenceGroup(SequenceGroup):
    """One of several ranks that share an example of at least as many tokens."""

    def __init__(self, rank: int, size: int, all_to_all: AllToAll) -> None:
        super().__init__(rank, size)
        self._all_to_all = all_to_all

    def own(self, tokens: int) -> slice:
        return self._spans(tokens)[self.rank]

    def exchange(self, mix: Mix | None, tokens: int) -> Exchange:
        if mix is None:
            return Exchange()
        spans = self._spans(tokens)
        if mix.rows_before is None:
            return _TokensForHeads(self.rank, spans, self._all_to_all)
        reach = mix.rows_before
        before = [slice(max(span.start - reach, 0), span.start) for span in spans]
        return _RowsBefore(spans[self.rank], _Rows(self.rank, spans, before, self._all_to_all))

    def rows_after(self, stream: Tensor, count: int, tokens: int) -> Tensor:
        return self._after(count, tokens).fetch(stream) if count else stream[:0]

    def add_gradient_of_rows_after(self, d_rows: Tensor, d_stream: Tensor, count: int, tokens: int) -> None:
        if count:
            self._after(count, tokens).give_back(d_rows, d_stream)

    def _after(self, count: int, tokens: int) -> "_Rows":
        spans = self._spans(tokens)
        after = [slice(span.stop, min(span.stop + count, tokens)) for span in spans]
        return _Rows(self.rank, spans, after, self._all_to_all)

    def _spans(self, tokens: int) -> list[slice]:
        """Returns the tokens of each rank; the first ranks hold one more where they do not divide evenly."""
        each, more = divmod(tokens, self.size)
        assert each > 0, "an example has at least one token for each rank"
        ends = accumulate([each + (rank < more) for rank in range(self.size)], initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]


class _TokensForHeads(Exchange):
    """A rank gets every P-th head of all tokens for the other heads of its own; no tensor is rearranged on the way."""

    def __init__(self, rank: int, spans: list[slice], all_to_all: AllToAll) -> None:
        self._rank, self._ranks, self._all_to_all = rank, len(spans), all_to_all
        self._lengths = [span.stop - span.start for span in spans]
        self._own = self._lengths[rank]

    def heads(self, heads: slice) -> slice:
        return slice(heads.start + self._rank, heads.stop, self._ranks)

    def gather(self, read: list[Tensor]) -> list[Tensor]:
        return [self._to_heads(each) for each in _taken_from(read)]

    def scatter(self, mixed: Tensor) -> Tensor:
        return self._to_tokens(mixed)

    def gather_gradient(self, d_mixed: Tensor) -> Tensor:
        return self._to_heads(d_mixed)

    def scatter_gradient(self, d_read: list[Tensor]) -> list[Tensor]:
        return [self._to_tokens(each) for each in _taken_from(d_read)]

    def _to_heads(self, x: Tensor) -> Tensor:
        """Returns all tokens of this rank's heads, from all heads of its tokens."""
        heads, own, *rest = x.shape
        out = hold_in_huge_pages(x.new_empty(heads // self._ranks, sum(self._lengths), *rest))
        for head, given in zip(out, x.split(self._ranks), strict=True):
            self._all_to_all(head, given.reshape(self._ranks * own, *rest), self._lengths, [own] * self._ranks)
        return out

    def _to_tokens(self, x: Tensor) -> Tensor:
        """Returns all heads of this rank's tokens, from all tokens of its heads."""
        heads, _, *rest = x.shape
        out = hold_in_huge_pages(x.new_empty(heads * self._ranks, self._own, *rest))
        for head, taken in zip(x, out.split(self._ranks), strict=True):
            self._all_to_all(taken.flatten(0, 1), head.contiguous(), [self._own] * self._ranks, self._lengths)
        return out


class _RowsBefore(Exchange):
    """A rank keeps all heads of its tokens; keys and values begin with some of the tokens before them."""

    def __init__(self, own: slice, before: "_Rows") -> None:
        self._own, self._before = own, before

    def context(self, context: Context) -> Context:
        return context.of(slice(self._own.start - self._before.count, self._own.stop))

    def gather(self, read: list[Tensor]) -> list[Tensor]:
        queries, *others = _taken_from(read)
        return [queries, *(self._extended(each) for each in _taken_from(others))]

    def scatter_gradient(self, d_read: list[Tensor]) -> list[Tensor]:
        d_queries, *others = d_read
        d_read.clear()
        return [d_queries, *(self._shortened(each) for each in others)]

    def _extended(self, x: Tensor) -> Tensor:
        before = self._before.fetch(x.transpose(0, 1))
        return torch.cat([before.transpose(0, 1), x], dim=1)

    def _shortened(self, d: Tensor) -> Tensor:
        own = d[:, self._before.count :]
        self._before.give_back(d[:, : self._before.count].transpose(0, 1), own.transpose(0, 1))
        return own


class _Rows:
    """Some rows that a rank `wants` of those that others hold; `spans` are those of each rank.

    Attributes:
        count: the number of rows that this rank wants.
    """

    def __init__(self, rank: int, spans: list[slice], wants: list[slice], all_to_all: AllToAll) -> None:
        self._all_to_all, own = all_to_all, spans[rank]
        self._from = [_length(_common(wants[rank], span)) for span in spans]
        given = [_common(want, own) for want in wants]
        self._given = [slice(part.start - own.start, part.start - own.start + _length(part)) for part in given]
        self.count = sum(self._from)

    def fetch(self, x: Tensor) -> Tensor:
        """Returns the wanted rows; `x` are those of this rank."""
        out = x.new_empty(self.count, *x.shape[1:])
        given = torch.cat([x[part] for part in self._given])
        self._all_to_all(out, given, self._from, [_length(part) for part in self._given])
        return out

    def give_back(self, d: Tensor, d_own: Tensor) -> None:
        """Adds the gradients of the wanted rows to `d_own`, those of the ranks' own rows, in the order of ranks."""
        lengths = [_length(part) for part in self._given]
        out = d.new_empty(sum(lengths), *d.shape[1:])
        self._all_to_all(out, d.contiguous(), lengths, self._from)
        for part, each in zip(self._given, out.split(lengths), strict=True):
            d_own[part] += each


def _common(one: slice, other: slice) -> slice:
    return slice(max(one.start, other.start), min(one.stop, other.stop))


def _length(span: slice) -> int:
    return max(span.stop - span.start, 0)


def _taken_from(tensors: list[Tensor]) -> Iterator[Tensor]:
    """Yields tensors and drops them, so that each one's memory is free once it was exchanged."""
    tensors.reverse()
    while tensors:
        yield tensors.pop()
