"""Counts the launches and the memory traffic of the token-wise layers on CUDA, without a card.

The layers run on the CPU on few tokens, with the operations that CUDA would run: each operation of PyTorch counts the
bytes of the tensors that it reads and writes, and each Triton kernel, which is recorded instead of run, those of its
arguments that its source loads and stores. Caches are not considered.
"""

import ast
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from textwrap import dedent
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from revlm.model.parts.context import Context
from revlm.model.parts.sublayer import Mix, Sublayer
from revlm.model.stages import Stage
from revlm.model.tiles import SublayerPass
from revlm.ops import backends
from revlm.ops.fixed_point import FixedPoint
from revlm.ops.triton.launch import Launch

_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}
_NOT_READ = {"copy_", "fill_", "zero_", "bernoulli_"}
_TOKENS = 16


class Count(NamedTuple):
    """Launches, and the bytes that matrix products (`product_bytes`) and all others read and write."""

    launches: int = 0
    token_wise_bytes: int = 0
    product_bytes: int = 0

    def __sub__(self, other: "Count") -> "Count":
        """Returns what was counted since `other`."""
        return Count(*(own - earlier for own, earlier in zip(self, other, strict=True)))


class Passes(TorchDispatchMode):
    """While it is entered, counts the operations and recorded kernels of token-wise stages, not those of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Count()
        self.by_name: dict[str, Count] = {}
        self.is_counting = True

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation and counts it."""
        result = function(*args, **(kwargs or {}))
        name = function.__name__.partition(".")[0]
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        made = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
        if self.is_counting and not _only_views(function, name, given, made):
            written = given[:1] if name.endswith("_") else made
            read = given[1:] if name in _NOT_READ else given
            self._add(name, sum(map(_size_bytes, [*read, *written])), is_product=name in _PRODUCTS)
        return result

    def record(self, launch: Launch) -> None:
        """Counts a kernel that is not run."""
        if self.is_counting:
            read, written = accesses(launch.kernel.fn)
            tensors = {name: each for name, each in launch.arguments.items() if isinstance(each, Tensor)}
            if unknown := tensors.keys() - read - written:
                raise AssertionError(f"{launch.kernel.fn.__name__} neither loads nor stores {sorted(unknown)} itself")
            sizes = {name: _size_bytes(each) for name, each in tensors.items()}
            total = sum(size * ((name in read) + (name in written)) for name, size in sizes.items())
            self._add(launch.kernel.fn.__name__, total, is_product=False)

    def _add(self, name: str, size_bytes: int, *, is_product: bool) -> None:
        one = Count(1, 0, size_bytes) if is_product else Count(1, size_bytes)
        self.count = Count(*map(sum, zip(self.count, one, strict=True)))
        self.by_name[name] = Count(*map(sum, zip(self.by_name.get(name, Count()), one, strict=True)))


def _only_views(function: Any, name: str, given: list[Tensor], made: list[Tensor]) -> bool:
    """Returns whether an operation moves no data: it makes a view, or allocates without filling."""
    if name in ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided") or not (given or made):
        return True
    if function._schema.is_mutable or not made:
        return False
    storages = {each.untyped_storage().data_ptr() for each in given if each.numel()}
    return bool(given) and all(each.untyped_storage().data_ptr() in storages for each in made if each.numel())


def _size_bytes(tensor: Tensor) -> int:
    """Returns the bytes of a tensor's elements; those that lie at the same address count once."""
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride or not size else 1
    return elements * tensor.element_size()


@functools.cache
def accesses(kernel: Callable[..., None]) -> tuple[frozenset[str], frozenset[str]]:
    """Returns the parameters of a kernel that its source loads, and those that it stores."""
    found: dict[str, set[str]] = {"load": set(), "store": set()}
    tree = ast.parse(dedent(inspect.getsource(kernel)))
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in found:
            names = {node.id for node in ast.walk(call.args[0]) if isinstance(node, ast.Name)}
            found[call.func.attr] |= names
    parameters = set(inspect.signature(kernel).parameters)
    return frozenset(found["load"] & parameters), frozenset(found["store"] & parameters)


@contextmanager
def counted() -> Iterator[Passes]:
    """Counts inside the `with` block what CUDA would run; kernels do not run, so their results are arbitrary."""
    passes = Passes()

    def apart(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def called(stage: Stage, *arguments: Any, **options: Any) -> Any:
            before = passes.is_counting
            passes.is_counting = before and not isinstance(stage.module, Mix)
            try:
                return method(stage, *arguments, **options)
            finally:
                passes.is_counting = before

        return called

    with ExitStack() as stack:
        for owner, name, value in (
            (backends, "chosen", lambda device: "triton"),
            (Launch, "run", lambda launch: passes.record(launch)),
            (Stage, "__call__", apart(Stage.__call__)),
            (Stage, "backward", apart(Stage.backward)),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(passes)
        yield passes


class OfTile(NamedTuple):
    """What a tile of a sublayer costs in one direction: launches, and bytes for each token and for the whole tile."""

    launches: int
    bytes_per_token: int
    bytes_per_tile: int


def of_tile(sublayer: Sublayer, rotations: Tensor, *, backward: bool, dropout: bool = False) -> OfTile:
    """Returns the cost of one more tile of a sublayer, in bf16: of the forward, or of the backward pass."""
    one, two = (
        _of_pass(sublayer, rotations, tile, 2, backward, dropout)
        - _of_pass(sublayer, rotations, tile, 1, backward, dropout)
        for tile in (_TOKENS, 2 * _TOKENS)
    )
    if one.launches != two.launches:
        raise AssertionError("the launches of a tile depend on its tokens")
    per_token = (two.token_wise_bytes - one.token_wise_bytes) // _TOKENS
    return OfTile(one.launches, per_token, one.token_wise_bytes - per_token * _TOKENS)


def _of_pass(sublayer: Sublayer, rotations: Tensor, tile: int, tiles: int, backward: bool, dropout: bool) -> Count:
    tokens, width = tile * tiles, rotations.shape[0] * rotations.shape[1]
    document_ids = torch.zeros(tokens, dtype=torch.int32)
    context = Context(document_ids, lambda layer: rotations, dropout_seed=0 if dropout else None)
    context.position, context.bounds  # noqa: B018 (once in an example, not in a tile)
    source, target = (torch.zeros(tokens, width, dtype=torch.int32) for _ in range(2))
    gradients = torch.zeros(tokens, width), torch.zeros(tokens, width)
    with counted() as passes, torch.autocast("cpu", dtype=torch.bfloat16):
        fixed = FixedPoint(20, source.device)
        run = SublayerPass(sublayer, 0, context, tile, fixed, torch.empty(tokens, width))
        run.add_(source, target, keep=False)
        before = passes.count
        if backward:
            run.backward((source, target), None, d_source=gradients[0], d_target=gradients[1])
            return passes.count - before
    return before
