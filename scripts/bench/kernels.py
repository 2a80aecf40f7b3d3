"""Compiles Triton kernels ahead of time, for GPUs that need not be present."""

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from revlm.ops.triton.launch import Launch

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
_WORDS = {
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.int32: "i32",
    torch.int64: "i64",
}
# A long example; the result depends only on whether numbers are multiples of 16, or 1.
_TOKENS, _ROWS = 65536, 8
_BUCKETS = (1024, 16384)  # of which the factors are 32 x 32 and 128 x 128
_WARP = 32


class Compiled(NamedTuple):
    """The resources of a kernel: registers per thread, and bytes per program."""

    kernel: str
    architecture: str
    precision: str
    head_dim: int
    round: int
    block: str
    warps: int
    registers: int
    shared_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int


def compiled_kernels(
    architectures: Sequence[int], head_dims: Sequence[int], precisions: Sequence[str], rounds: Sequence[int]
) -> Iterator[Compiled]:
    """Yields every kernel, compiled for every GPU and kind of input. Raises ImportError without Triton."""
    for architecture in architectures:
        for head_dim in head_dims:
            for precision in precisions:
                for of_rounds in rounds:
                    for launch in launches(head_dim, DTYPES[precision], of_rounds):
                        yield compiled(launch, architecture, precision, head_dim, of_rounds)


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

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    q, k, v, out, d_out = (empty(_ROWS, _TOKENS, head_dim, dtype=dtype) for _ in range(5))
    scale, sink = empty(_ROWS), empty(_ROWS)
    log_sum_exp, delta, d_scale = (empty(_ROWS, _TOKENS) for _ in range(3))
    sums = empty(_ROWS, _TOKENS, head_dim)
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


def compiled(launch: Launch, architecture: int, precision: str, head_dim: int, rounds: int) -> Compiled:
    """Returns the resources of one kernel, as ptxas reports them."""
    import triton
    from triton.backends.compiler import GPUTarget
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
    source = ASTSource(launch.kernel, signature, constants, attributes)
    kernel = triton.compile(source, target=GPUTarget("cuda", architecture, _WARP), options=launch.options)
    registers, stored, loaded = _usage(kernel.asm["ptx"], architecture)
    names = "BLOCK_Q", "BLOCK_K", "BLOCK", "FIRST", "SECOND"
    blocks = [launch.arguments[name] for name in names if name in launch.arguments]
    return Compiled(
        launch.kernel.__name__.lstrip("_"),
        str(architecture),
        precision,
        head_dim,
        rounds,
        " x ".join(map(str, blocks)),
        kernel.metadata.num_warps,
        registers,
        kernel.metadata.shared,
        stored,
        loaded,
    )


def _word(value: Tensor | int | float) -> str:
    if isinstance(value, Tensor):
        return f"*{_WORDS[value.dtype]}"
    return "i32" if isinstance(value, int) else "fp32"


def _usage(ptx: str, architecture: int) -> tuple[int, int, int]:
    """Returns the registers per thread, and the bytes of spill stores and loads."""
    import triton

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx)
        [target] = re.findall(r"^\.target (\S+)", ptx, re.MULTILINE)
        command = [triton.knobs.nvidia.ptxas.path, "-v", f"--gpu-name={target}", str(source), "-o", f"{source}.cubin"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    [registers] = re.findall(r"Used (\d+) registers", said)
    [(stored, loaded)] = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said)
    return int(registers), int(stored), int(loaded)
