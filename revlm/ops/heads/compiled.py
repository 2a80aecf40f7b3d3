"""The heads of projections in one pass each way, compiled for the machine's CPU."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from revlm.ops.compiled import library
from revlm.ops.compiled.structures import Heads, StridedTensor
from revlm.ops.normalization import UNIT_EPSILON

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def takes(parts: Sequence[Tensor], rotary: tuple[Tensor, Tensor] | None) -> bool:
    """Returns whether the backend supports these parts."""
    fits = all(part.dtype in _NAMES and part.dtype == parts[0].dtype and part.stride(-1) == 1 for part in parts)
    return fits and (rotary is None or all(each.dtype == torch.float32 and each.is_contiguous() for each in rotary))


def split(parts: Sequence[Tensor], out: Sequence[Tensor], units: int, rotary: tuple[Tensor, Tensor] | None) -> None:
    """Fills each of `out`, [heads, tokens, head_dim], from a part, [tokens, d_model]."""
    _call(parts, out, None, units, rotary)


def split_backward(
    parts: Sequence[Tensor],
    d_out: Sequence[Tensor],
    d_parts: Sequence[Tensor],
    units: int,
    rotary: tuple[Tensor, Tensor] | None,
) -> None:
    """Fills the gradient of each part from that of its heads."""
    _call(parts, d_out, d_parts, units, rotary)


def _call(
    parts: Sequence[Tensor],
    heads: Sequence[Tensor],
    d_parts: Sequence[Tensor] | None,
    units: int,
    rotary: tuple[Tensor, Tensor] | None,
) -> None:
    n_heads, tokens, head_dim = heads[0].shape
    x, y = _split(parts, n_heads), _array([each.transpose(0, 1) for each in heads])
    d_x = None if d_parts is None else _split(d_parts, n_heads)
    cosine, sine = (None, None) if rotary is None else (each.data_ptr() for each in rotary)
    sizes = len(parts), units, tokens, n_heads, head_dim, torch.get_num_threads()
    arrays = (None if each is None else ctypes.addressof(each) for each in (x, y, d_x))
    problem = Heads(*sizes, *arrays, cosine, sine, UNIT_EPSILON)
    library.call(f"split_heads_{_NAMES[parts[0].dtype]}_{_NAMES[heads[0].dtype]}", problem, "heads")


def _split(parts: Sequence[Tensor], n_heads: int) -> ctypes.Array[StridedTensor]:
    return _array([part.unflatten(-1, (n_heads, -1)) for part in parts])


def _array(tensors: Sequence[Tensor]) -> ctypes.Array[StridedTensor]:
    return (StridedTensor * len(tensors))(*map(StridedTensor.of, tensors))
