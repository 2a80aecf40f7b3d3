"""The interface of a part of a step."""

from collections.abc import Callable
from typing import NamedTuple

Work = Callable[[], object]
FLOAT_BYTES = 4


class Part(NamedTuple):
    """One operation over a whole example.

    `calls` is how often a reversible step runs it, in the forward pass, rebuilding and the backward pass: 0 where it is
    not part of the step or is inside another part. `prepare` creates the inputs and returns the function to time.
    """

    name: str
    calls: int
    flops: int
    bytes: int
    prepare: Callable[[], Work]
