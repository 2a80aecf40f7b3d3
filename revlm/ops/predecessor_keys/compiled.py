"""Keys with predecessors in one pass each way, compiled for the machine's CPU."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revlm.ops.compiled import library
from revlm.ops.compiled.structures import PredecessorKeys, StridedTensor
from revlm.ops.normalization import UNIT_EPSILON

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def takes(k: Tensor) -> bool:
    """Returns whether the backend supports these keys."""
    return k.dtype in _NAMES and k.stride(-1) == 1


def add_predecessors(
    k: Float[Tensor, "heads tokens head_dim"],
    starts: Int[Tensor, "documents"],
    weight: Float[Tensor, "heads"],
    out: Float[Tensor, "heads tokens head_dim"],
) -> None:
    """Fills `out` with the unit vectors of `k[t] + weight * k[t - 1]`."""
    _call(k, starts, weight, out, None, None)


def add_predecessors_backward(
    k: Float[Tensor, "heads tokens head_dim"],
    starts: Int[Tensor, "documents"],
    weight: Float[Tensor, "heads"],
    d_out: Float[Tensor, "heads tokens head_dim"],
    d_k: Float[Tensor, "heads tokens head_dim"],
) -> Float[Tensor, "heads"]:
    """Fills d_k, possibly in the memory of d_out; returns the gradient of the weight."""
    d_weight = torch.empty_like(weight)
    _call(k, starts, weight, d_out.to(k.dtype), d_k, d_weight)
    return d_weight


def _call(k: Tensor, starts: Tensor, weight: Tensor, out: Tensor, d_k: Tensor | None, d_weight: Tensor | None) -> None:
    starts = starts.to(torch.int64).contiguous()
    problem = PredecessorKeys(
        rows=k.shape[0],
        tokens=k.shape[1],
        head_dim=k.shape[2],
        documents=len(starts),
        threads=torch.get_num_threads(),
        k=StridedTensor.of(k),
        out=StridedTensor.of(out),
        starts=starts.data_ptr(),
        weight=weight.data_ptr(),
        epsilon=UNIT_EPSILON,
    )
    if d_k is not None and d_weight is not None:
        problem.d_k, problem.d_weight = StridedTensor.of(d_k), d_weight.data_ptr()
    library.call(f"add_predecessors_{_NAMES[k.dtype]}", problem, "keys with predecessors")
