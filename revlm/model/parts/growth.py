"""Tensors that grow row by row while text is decoded."""

import torch
from torch import Tensor

from revlm.ops.heap import hold_in_huge_pages

# Growth factor: memory is allocated ahead, so that the copies per token stay bounded.
_SLACK = 1 / 8
_LEAST_SLACK = 128


def with_room(rows: Tensor, used: int, more: int) -> Tensor:
    """Returns the first `used` rows with room for `more`, whose content is undefined: in the same tensor if it fits."""
    needed = used + more
    if needed <= len(rows):
        return rows
    room = needed + max(int(needed * _SLACK), _LEAST_SLACK)
    grown = hold_in_huge_pages(torch.empty(room, *rows.shape[1:], dtype=rows.dtype, device=rows.device))
    grown[:used] = rows[:used]
    return grown
