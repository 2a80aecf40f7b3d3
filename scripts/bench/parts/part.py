"""What a part of a step is."""

from collections.abc import Callable
from typing import NamedTuple

Work = Callable[[], object]
FLOAT_BYTES = 4


class Part(NamedTuple):
    """One operation over a whole example.

    `calls` is how often a reversible step needs it, forwards, rebuilt and backwards: 0 where it is no part of the
    step or lies inside another part. `prepare` makes the inputs and returns what is timed.
    """

    name: str
    calls: int
    flops: int
    bytes: int
    prepare: Callable[[], Work]
