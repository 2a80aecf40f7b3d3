"""The rotations of a pass on a GPU, drawn once for the forward and the backward pass, while the GPU computes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float
from torch import Tensor


class RotationsAhead:
    """The rotations of each hash layer, drawn on the CPU by a thread in the order of the layers.

    They stay on the CPU, in pinned memory, until the pass ends; each call copies a layer's to the device, without
    waiting, so that the device holds one layer's at a time.
    """

    def __init__(self, draw: Callable[[int], Tensor], layers: Sequence[int], device: torch.device) -> None:
        """`draw` returns the rotations of a layer, on the CPU."""
        self._draw, self._device = draw, device
        thread = ThreadPoolExecutor(1, thread_name_prefix="rotations")
        self._drawn = {layer: thread.submit(self._drawn_pinned, layer) for layer in layers}
        thread.shutdown(wait=False)

    def __call__(self, layer: int) -> Float[Tensor, "heads head_dim directions"]:
        """Returns the rotations of a layer on the device; waits until they are drawn."""
        return self._drawn[layer].result().to(self._device, non_blocking=True)

    def _drawn_pinned(self, layer: int) -> Tensor:
        drawn = self._draw(layer)
        return drawn.pin_memory() if self._device.type == "cuda" else drawn
