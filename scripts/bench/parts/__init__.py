"""The operations of one training step, each in isolation, with the work that its definition requires.

FLOPs and bytes are the least that the definition needs: a query attends to a full window in every round, an input is
read once and a result written once (in attention once per round, whose order differs), weights stay in the cache. So
the share of the machine's rates that an operation reaches shows its headroom, whatever its implementation does.
The parts are prepared on PyTorch's default device.
"""

from collections.abc import Iterator

from bench.parts import attention, hashing, head, predecessor_keys, token_wise
from bench.parts.part import Part
from bench.shape import Shape

__all__ = ["Part", "parts_of"]


def parts_of(shape: Shape, precision: str) -> Iterator[Part]:
    """Yields the parts in the order of a step."""
    yield from predecessor_keys.parts(shape, precision)
    yield from hashing.parts(shape)
    yield from attention.parts(shape, precision)
    yield from token_wise.parts(shape, precision)
    yield from head.parts(shape)
