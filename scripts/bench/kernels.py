"""Compiles Triton kernels ahead of time, for GPUs that need not be present."""

import re
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from revlm.ops.triton.launch import Launch

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
_WORDS = {
    torch.bool: "u1",
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.int32: "i32",
    torch.int64: "i64",
}
# A long example; the result depends only on whether numbers are multiples of 16, or 1.
_TOKENS, _ROWS = 65536, 8
_BUCKETS = (1024, 16384)  # of which the factors are 32 x 32 and 128 x 128
_WARP = 32


class Request(NamedTuple):
    """A kernel to compile for one GPU, and the inputs whose launches need it."""

    kernel: str
    architecture: int
    launch: Launch
    source: Any
    precisions: tuple[str, ...]
    head_dims: tuple[int, ...]
    rounds: tuple[int, ...]


class Compiled(NamedTuple):
    """The resources of a kernel: registers per thread, and bytes per program."""

    kernel: str
    architecture: int
    precisions: tuple[str, ...]
    head_dims: tuple[int, ...]
    rounds: tuple[int, ...]
    block: str
    warps: int
    registers: int
    shared_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int


def requests(
    architectures: Sequence[int], head_dims: Sequence[int], precisions: Sequence[str], rounds: Sequence[int]
) -> list[Request]:
    """Returns what must be compiled for all these inputs, each variant of a kernel once.

    Many kernels do not depend on the round, and some on none of the inputs. Raises ImportError without Triton.
    """
    variants: dict[object, tuple[Launch, Any, list[tuple[str, int, int]]]] = {}
    for head_dim, precision, of_rounds in product(head_dims, precisions, rounds):
        for launch in launches(head_dim, DTYPES[precision], of_rounds):
            source = _source(launch)
            same = variants.setdefault((source.hash(), *sorted(launch.options.items())), (launch, source, []))
            same[-1].append((precision, head_dim, of_rounds))
    return [
        Request(
            launch.kernel.__name__.lstrip("_"),
            architecture,
            launch,
            source,
            *map(_each_once, zip(*inputs, strict=True)),
        )
        for architecture in architectures
        for launch, source, inputs in variants.values()
    ]


def launches(head_dim: int, dtype: torch.dtype, rounds: int) -> list[Launch]:
    """Returns the launches of the last round, and those common to all rounds, on meta tensors."""
    from revlm.ops.attention.triton.backward import Given
    from revlm.ops.attention.triton.forward import forward_launch
    from revlm.ops.attention.triton.key_gradients import key_launch
    from revlm.ops.attention.triton.order import SortedOrder, order_launch
    from revlm.ops.attention.triton.query_gradients import query_launch
    from revlm.ops.hashing.rotations import directions_of, rounds_alike
    from revlm.ops.hashing.triton import hash_launch
    from revlm.ops.output_gradient import triton as output_gradient
    from revlm.ops.predecessor_keys import triton as predecessor_keys

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    q, k, v, out, d_out = (empty(_ROWS, _TOKENS, head_dim, dtype=dtype) for _ in range(5))
    scale, sink = empty(_ROWS), empty(_ROWS)
    log_sum_exp, delta, d_scale = (empty(_ROWS, _TOKENS) for _ in range(3))
    sums, is_first = empty(_ROWS, _TOKENS, head_dim), empty(_TOKENS + 1, dtype=torch.bool)
    order = SortedOrder(*(empty(_ROWS, rounds, _TOKENS, dtype=torch.int32) for _ in range(4)))
    sorted_token = empty(_ROWS, rounds, _TOKENS, dtype=torch.int64)
    options: dict[str, Any] = {"include_self": False, "block": 64}
    given = Given(q, k, v, scale, log_sum_exp, d_out, delta, order, **options)
    round_ = rounds - 1
    return [
        forward_launch(q, k, v, scale, sink, out, sums, log_sum_exp, order, round_=round_, **options),
        query_launch(given, None, sums, d_scale, round_=round_),
        key_launch(given, sums, sums, round_=round_, add_to_d_k=True),
        order_launch(order.token, sorted_token, order, 64),
        *(
            hash_launch(k, empty(_ROWS, head_dim, directions_of(rounds * [number])), order.token, alike)
            for number in _BUCKETS
            for alike in rounds_alike(rounds * [number])
        ),
        *_token_wise(head_dim, dtype),
        output_gradient.launch(out, d_out, delta),
        predecessor_keys.forward_launch(k, is_first, scale, out),
        predecessor_keys.backward_launch(k, is_first, scale, d_out, out, log_sum_exp),
    ]


def _token_wise(head_dim: int, dtype: torch.dtype) -> list[Launch]:
    from revlm.ops.fixed_point.triton import Streams
    from revlm.ops.heads import triton as heads
    from revlm.ops.normalization import triton as normalization
    from revlm.ops.rotary_table import triton as rotary_table
    from revlm.ops.squared_relu import triton as squared_relu

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    d_model = _ROWS * head_dim
    stream, gradient = empty(_TOKENS, 1, d_model, dtype=torch.int32), empty(_TOKENS, 1, d_model)
    weight, increment = empty(d_model), empty(_TOKENS, d_model, dtype=dtype)
    projected, of_heads = empty(_TOKENS, 3 * d_model, dtype=dtype), empty(_ROWS, _TOKENS, head_dim, dtype=dtype)
    part, tables = projected[:, :d_model], (empty(_TOKENS, head_dim // 2), empty(_TOKENS, head_dim // 2))
    wide, normed = empty(_TOKENS, 4 * d_model, dtype=dtype), increment[:, None]
    programs, step = 1024, 2.0**-20
    return [
        normalization.forward_launch(stream, normed, weight, d_model, 1e-6, step),
        normalization.backward_launch(
            *(stream, normed, gradient, weight, gradient[:programs, 0], d_model, 1e-6, programs), step=step, add=True
        ),
        heads.forward_launch(part, of_heads, is_unit=True, rotary=tables),
        heads.backward_launch(part, of_heads, part, tables),
        rotary_table.launch(empty(_TOKENS, dtype=torch.int64), *tables, 10_000.0),
        squared_relu.launch(wide, wide, wide),
        Streams(20, wide.device).launch(stream[:, 0], increment, 1),
    ]


def compiled(request: Request) -> Compiled:
    """Returns the resources of one kernel, as ptxas reports them."""
    import triton
    from triton.backends.compiler import GPUTarget

    # The report of the ptxas that makes what a card runs: Triton prints it, but not for a kernel on disk.
    with triton.knobs.nvidia.scope(), triton.knobs.compilation.scope(), redirect_stdout(StringIO()) as report:
        triton.knobs.nvidia.dump_ptxas_log = True
        triton.knobs.compilation.always_compile = True
        target = GPUTarget("cuda", request.architecture, _WARP)
        kernel = triton.compile(request.source, target=target, options=request.launch.options)
    [registers] = re.findall(r"Used (\d+) registers", report.getvalue())
    [(stored, loaded)] = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", report.getvalue())
    names = "BLOCK_Q", "BLOCK_K", "BLOCK", "FIRST", "SECOND"
    blocks = [request.launch.arguments[name] for name in names if name in request.launch.arguments]
    return Compiled(
        request.kernel,
        request.architecture,
        request.precisions,
        request.head_dims,
        request.rounds,
        " x ".join(map(str, blocks)),
        kernel.metadata.num_warps,
        int(registers),
        kernel.metadata.shared,
        int(stored),
        int(loaded),
    )


def _source(launch: Launch) -> Any:
    """Returns what Triton compiles for a launch; its hash is that of the kernel, its types and its constants."""
    from triton.compiler import ASTSource

    signature, constants, attributes = {}, {}, {}
    for place, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
        is_count = parameter.do_not_specialize
        if parameter.is_constexpr or value is None or (isinstance(value, int) and value == 1 and not is_count):
            signature[parameter.name], constants[parameter.name] = "constexpr", value
            continue
        signature[parameter.name] = _word(value)
        aligned = not parameter.do_not_specialize_on_alignment if isinstance(value, Tensor) else not is_count
        if aligned and (isinstance(value, Tensor) or (isinstance(value, int) and value % 16 == 0)):
            attributes[place,] = [["tt.divisibility", 16]]
    return ASTSource(launch.kernel, signature, constants, attributes)


def _each_once(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _word(value: Tensor | int | float) -> str:
    if isinstance(value, Tensor):
        return f"*{_WORDS[value.dtype]}"
    return "i32" if isinstance(value, int) else "fp32"
