"""Norms in one pass, compiled for the machine's CPU."""

import torch
from torch import Tensor

from revlm.ops.compiled import library
from revlm.ops.compiled.structures import Normalization, StridedTensor

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def takes(x: Tensor, weight: Tensor | None, dtype: torch.dtype) -> bool:
    """Returns whether the backend supports these inputs."""
    dtypes = x.dtype in _NAMES and dtype in _NAMES and (weight is None or weight.dtype == torch.float32)
    return dtypes and x.stride(-1) == 1


def normalize(x: Tensor, weight: Tensor | None, out: Tensor, divisor: int, epsilon: float) -> None:
    """Fills `out` [groups, tokens, width] from x [tokens, groups, width]."""
    _call(x, weight, None, divisor, epsilon, y=out.transpose(0, 1))


def normalize_backward(
    x: Tensor, weight: Tensor | None, d_out: Tensor, d_x: Tensor, divisor: int, epsilon: float
) -> Tensor | None:
    """Fills d_x with the gradient of x, [tokens, groups, width]; returns the weight's."""
    d_weight = None if weight is None else torch.zeros_like(weight)
    _call(x, weight, d_weight, divisor, epsilon, d_y=d_out.transpose(0, 1), d_x=d_x)
    return d_weight


def _call(
    x: Tensor, weight: Tensor | None, d_weight: Tensor | None, divisor: int, epsilon: float, **others: Tensor
) -> None:
    strided = {name: StridedTensor.of(tensor) for name, tensor in {"x": x, **others}.items()}
    given = {"weight": weight, "d_weight": d_weight}
    vectors = {name: vector.data_ptr() for name, vector in given.items() if vector is not None}
    problem = Normalization(*x.shape, torch.get_num_threads(), **strided, **vectors, divisor=divisor, epsilon=epsilon)
    other = others["y" if "y" in others else "d_y"]
    library.call(f"normalize_{_NAMES[x.dtype]}_{_NAMES[other.dtype]}", problem, "a norm")
