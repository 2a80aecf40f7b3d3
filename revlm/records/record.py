"""The base of all records, and the numbers that a record can hold.

Every number has a bound, so that readers of a record can add, draw and print it without further checks.
"""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field

# Beyond the largest float32: nothing that is measured on a model is larger.
_LARGEST = 1e39
_LARGEST_COUNT = 2**60

Number = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
"""A finite number. A number that is not finite is written as null, because JSON cannot represent it."""
Count = Annotated[int, Field(ge=0, le=_LARGEST_COUNT)]
"""A number of tokens, bytes or steps."""
Positive = Annotated[int, Field(ge=1, le=_LARGEST_COUNT)]
"""A count of one or more."""
MAX_LAYERS = 1024
Layer = Annotated[int, Field(ge=0, lt=MAX_LAYERS)]
"""The number of a layer, from 0 at the input."""
MAX_ENTRIES = 1000
"""The limit for lists that are drawn: more entries than any command writes."""

Entry = TypeVar("Entry")
Many = Annotated[list[Entry], FailFast()]
"""A list of any length; validation ends at its first invalid entry."""


class Record(BaseModel):
    """A frozen record. Types are strict: a string is never read as a number. Unknown keys are ignored when reading."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", protected_namespaces=())
