"""The planned memory of a step, as plan.json holds it."""

from typing import Annotated

from pydantic import Field

from revlm.records.record import MOST_ENTRIES, Count, Positive, Record

_Name = Annotated[str, Field(max_length=200)]


class Plan(Record):
    """For each phase the bytes of each category at its peak, beyond `process_bytes`, and the words for the categories.

    `process_bytes` is what the process holds before there is a model.
    """

    seq_len: Positive
    process_bytes: Count
    peaks: dict[_Name, Annotated[dict[_Name, Count], Field(max_length=MOST_ENTRIES)]] = Field(max_length=MOST_ENTRIES)
    categories: dict[_Name, _Name] = Field(max_length=MOST_ENTRIES)
