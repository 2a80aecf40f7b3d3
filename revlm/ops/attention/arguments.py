"""Validates the arguments of attention and brings them to one form for every backend.

The compiled and Triton backends address memory by these shapes: an error missed here would read out of bounds there.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.errors import UsageError

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_BUCKETS = 2**31
_Function = TypeVar("_Function", bound=Callable[..., Any])


def checks_its_arguments(function: _Function) -> _Function:
    """Marks a function that validates its own arguments, so that tests do not enforce its annotations."""
    function.__no_type_check__ = True  # type: ignore[attr-defined]
    return function


class Arguments(NamedTuple):
    """The validated arguments of every backend.

    q, k and v have the same dtype and device; if q and k were the same tensor, they still are. `bucket` may have a
    stride of 0 between rows that share their buckets. `scale` and `sink` are contiguous and float32 (float64 for
    float64 inputs); `window` and `block` are at most the number of tokens.
    """

    q: Float[Tensor, "rows queries head_dim"]
    k: Float[Tensor, "rows tokens head_dim"]
    v: Float[Tensor, "rows tokens head_dim"]
    bucket: Int[Tensor, "rows rounds tokens"]
    scale: Float[Tensor, "rows"]
    sink: Float[Tensor, "rows"] | None
    window: int
    include_self: bool
    block: int

    def is_empty(self) -> bool:
        """Returns whether there is nothing to compute."""
        return self.q.shape[0] == 0 or self.q.shape[1] == 0

    def empty_result(self) -> tuple[Float[Tensor, "rows queries head_dim"], Float[Tensor, "rows queries"]]:
        """Returns the results where there are no rows or no queries: all gradients are zero."""
        out = self.q * self.scale[:, None, None].to(self.q.dtype) + (self.k + self.v).sum(1, keepdim=True)
        out = out if self.sink is None else out + self.sink[:, None, None].to(out.dtype)
        return out, self.scale.detach().new_empty(self.q.shape[:2])


@dataclass
class Delta:
    """The inner product of each output and its gradient, which the caller fills in before the backward pass."""

    of_queries: Float[Tensor, "rows queries"] | None = None

    def filled(self) -> Float[Tensor, "rows queries"]:
        """Returns the inner products, contiguous. Raises RuntimeError where the caller has not filled them in."""
        if self.of_queries is None:
            raise RuntimeError("the inner products of outputs and gradients are missing: set Delta.of_queries")
        return self.of_queries.contiguous()


class Options(NamedTuple):
    """The arguments of a backend's autograd function that are not tensors; see `attention_with_log_sum_exp`."""

    window: int
    include_self: bool
    block: int
    may_overwrite: bool
    delta: Delta | None


class CallSizes(NamedTuple):
    """What the workspace of a call depends on; `element_bytes` is the size of an element of q, k and v."""

    rows: int
    tokens: int
    head_dim: int
    rounds: int
    window: int
    block: int
    element_bytes: int
    backward: bool
    queries_are_keys: bool


@checks_its_arguments
def checked_arguments(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bucket: Tensor,
    *,
    window: int,
    scale: float | Tensor,
    sink: Tensor | None,
    include_self: bool,
    block: int,
) -> Arguments:
    """Returns the arguments of `bucketed_window_attention` in the form of `Arguments`.

    A scale, a sink or buckets of a single row apply to every row.

    Raises:
        UsageError: an argument's shape, dtype, device or value does not fit the others; the message names it.
    """
    for name, x in (("q", q), ("k", k), ("v", v)):
        require_tensor(name, x, FLOATS)
        require_axes(name, x, "rows tokens head_dim")
    (rows, queries, head_dim), tokens = q.shape, k.shape[1]
    if queries > tokens:
        raise UsageError(f"q has {queries} queries for {tokens} tokens of k: queries are the last positions of k")
    require_shape("k", k, (rows, tokens, head_dim), "[rows, tokens, head_dim] as in q")
    require_shape("v", v, (rows, tokens, head_dim), "the shape of k")
    if head_dim == 0:
        raise UsageError("q has a head_dim of 0: give at least 1")
    require_tensor("bucket", bucket, _INTEGERS)
    if bucket.dim() != 3 or bucket.shape[0] not in (1, rows) or bucket.shape[2] != tokens:
        raise UsageError(
            f"bucket has shape {shape_of(bucket)} for {rows} rows of {tokens} tokens: give [rows, rounds, tokens], or "
            "[1, rounds, tokens] for all rows"
        )
    if bucket.shape[1] == 0:
        raise UsageError(f"bucket has shape {shape_of(bucket)}, without rounds: give at least one")
    of_inputs = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    sums = torch.promote_types(of_inputs, torch.float32)
    if not isinstance(scale, Tensor):
        scale = torch.full((rows,), _number("scale", scale), dtype=sums, device=q.device)
    scale = _of_each_row("scale", scale, rows, sums)
    sink = None if sink is None else _of_each_row("sink", sink, rows, sums)
    for name, other in (("k", k), ("v", v), ("bucket", bucket), ("scale", scale), ("sink", sink)):
        if other is not None and other.device != q.device:
            raise UsageError(f"{name} is on {other.device} and q on {q.device}: move them to one device")
    cast_k = k.to(of_inputs)
    return Arguments(
        q=cast_k if q is k else q.to(of_inputs),
        k=cast_k,
        v=v.to(of_inputs),
        bucket=bucket.expand(rows, -1, -1),
        scale=scale,
        sink=sink,
        window=min(_at_least_one("window", window), max(tokens, 1)),
        include_self=include_self,
        block=min(_at_least_one("block", block), max(tokens, 1)),
    )


def require_bucket_numbers(bucket: Tensor) -> None:
    """Checks that buckets are integers in 0..2^31-1; synchronizes on CUDA.

    Raises:
        UsageError: they are not; the message names the range.
    """
    require_tensor("bucket", bucket, _INTEGERS)
    if bucket.numel() == 0:
        return
    smallest, largest = torch.stack(bucket.aminmax()).tolist()  # one read of the device
    if smallest < 0 or largest >= _BUCKETS:
        raise UsageError(f"bucket holds numbers from {smallest} to {largest}: give numbers in 0..2^31-1")


def require_tensor(name: str, x: object, dtypes: tuple[torch.dtype, ...]) -> None:
    """Checks that an argument is a tensor of one of these dtypes.

    Raises:
        UsageError: it is not; the message names it.
    """
    if not isinstance(x, Tensor):
        raise UsageError(f"{name} is a {type(x).__name__}: give a tensor")
    if x.dtype not in dtypes:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise UsageError(f"{name} is of {str(x.dtype).removeprefix('torch.')}: give one of {names}")


def require_axes(name: str, x: Tensor, axes: str) -> None:
    """Checks the number of an argument's axes.

    Raises:
        UsageError: it differs; the message names the argument.
    """
    if x.dim() != len(axes.split()):
        raise UsageError(f"{name} has shape {shape_of(x)}: give [{axes.replace(' ', ', ')}]")


def require_shape(name: str, x: Tensor, shape: tuple[int, ...], wanted: str) -> None:
    """Checks an argument's shape; `wanted` describes it in the message.

    Raises:
        UsageError: it differs; the message names the argument.
    """
    if x.shape != shape:
        raise UsageError(f"{name} has shape {shape_of(x)} and not {list(shape)}: give {wanted}")


def shape_of(x: Tensor) -> list[int]:
    """Returns a tensor's shape, for messages."""
    return list(x.shape)


def _of_each_row(name: str, x: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
    require_tensor(name, x, FLOATS)
    if x.shape not in ((), (1,), (rows,)):
        raise UsageError(f"{name} has shape {shape_of(x)} for {rows} rows: give [rows], or one number for all of them")
    return x.to(dtype).expand(rows).contiguous()


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise UsageError(f"{name} is a {type(value).__name__}: give a number or a tensor [rows]")
    return float(value)


def _at_least_one(name: str, value: object) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"{name} is {value!r}: give a whole number of 1 or more") from None
    if number < 1:
        raise UsageError(f"{name} is {number}: give 1 or more, since a query must be allowed at least one position")
    return number
