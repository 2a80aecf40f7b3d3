"""Norms in one pass, compiled for the machine's CPU."""

import torch
from torch import Tensor

from revlm.ops.compiled import library
from revlm.ops.compiled.structures import Normalization, StridedTensor

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.int32: "int32"}


def takes(x: Tensor, weight: Tensor | None, dtype: torch.dtype) -> bool:
    """Returns whether the backend supports these inputs."""
    dtypes = x.dtype in _NAMES and dtype in (torch.float32, torch.bfloat16)
    return dtypes and (weight is None or weight.dtype == torch.float32) and x.stride(-1) == 1


def normalize(
    x: Tensor, weight: Tensor | None, out: Tensor, divisor: int, epsilon: float, *, step: float = 1.0
) -> None:
    """Fills `out` [groups, tokens, width] from x [tokens, groups, width], in steps of `step`."""
    _call(x, {"weight": weight}, {"x": x, "y": out.transpose(0, 1)}, divisor=divisor, epsilon=epsilon, step=step)


def normalize_backward(
    x: Tensor,
    weight: Tensor | None,
    d_out: Tensor,
    d_x: Tensor,
    divisor: int,
    epsilon: float,
    *,
    step: float = 1.0,
    add: bool = False,
) -> Tensor | None:
    """Fills d_x with the gradient of x, [tokens, groups, width], or adds it; returns the weight's."""
    assert d_x.dtype == (torch.float32 if x.dtype == torch.int32 else x.dtype), f"a gradient in {d_x.dtype}"
    d_weight = None if weight is None else torch.zeros_like(weight)
    tensors = {"x": x, "d_y": d_out.transpose(0, 1), "d_x": d_x}
    vectors = {"weight": weight, "d_weight": d_weight}
    _call(x, vectors, tensors, divisor=divisor, epsilon=epsilon, step=step, add=add)
    return d_weight


def _call(x: Tensor, vectors: dict[str, Tensor | None], tensors: dict[str, Tensor], **numbers: float | int) -> None:
    strided = {name: StridedTensor.of(tensor) for name, tensor in tensors.items()}
    addresses = {name: vector.data_ptr() for name, vector in vectors.items() if vector is not None}
    problem = Normalization(*x.shape, torch.get_num_threads(), **strided, **addresses, **numbers)
    other = tensors["y" if "y" in tensors else "d_y"]
    library.call(f"normalize_{_NAMES[x.dtype]}_{_NAMES[other.dtype]}", problem, "a norm")
