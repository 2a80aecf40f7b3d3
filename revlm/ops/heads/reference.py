"""The heads of projections with PyTorch's operations and the norm's backend."""

from collections.abc import Sequence

import torch
from torch import Tensor

from revlm.ops import backends
from revlm.ops.normalization import UNIT_EPSILON


def split(parts: Sequence[Tensor], out: Sequence[Tensor], units: int, rotary: tuple[Tensor, Tensor] | None) -> None:
    """Fills each of `out`, [heads, tokens, head_dim], from a part, [tokens, d_model]."""
    for number, (part, heads) in enumerate(zip(parts, out, strict=True)):
        vectors = part.unflatten(-1, (heads.shape[0], -1))
        if number >= units:
            heads.copy_(vectors.transpose(0, 1))
        elif rotary is None:
            _normalize(vectors, heads)
        else:
            unit = torch.empty(heads.shape, dtype=torch.promote_types(heads.dtype, torch.float32), device=heads.device)
            _normalize(vectors, unit)
            heads.copy_(_rotated(unit, *rotary))


def split_backward(
    parts: Sequence[Tensor],
    d_out: Sequence[Tensor],
    d_parts: Sequence[Tensor],
    units: int,
    rotary: tuple[Tensor, Tensor] | None,
) -> None:
    """Fills the gradient of each part from that of its heads."""
    for number, (part, d_heads, d_part) in enumerate(zip(parts, d_out, d_parts, strict=True)):
        d_vectors = d_part.unflatten(-1, (d_heads.shape[0], -1))
        if number >= units:
            d_vectors.copy_(d_heads.transpose(0, 1))
            continue
        if rotary is not None:
            cosine, sine = rotary
            d_heads = _rotated(d_heads.to(torch.promote_types(d_heads.dtype, torch.float32)), cosine, -sine)
        vectors = part.unflatten(-1, (d_heads.shape[0], -1))
        norm = backends.implementation("revlm.ops.normalization", part.device, vectors, None, d_heads.dtype)
        norm.normalize_backward(vectors, None, d_heads, d_vectors, 1, UNIT_EPSILON)


def _normalize(vectors: Tensor, out: Tensor) -> None:
    norm = backends.implementation("revlm.ops.normalization", out.device, vectors, None, out.dtype)
    norm.normalize(vectors, None, out, 1, UNIT_EPSILON)


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
