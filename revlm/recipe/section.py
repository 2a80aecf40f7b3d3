"""The base class of a recipe's sections, and the types of their values."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from revlm.storage.paths import user_path

Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Every = Annotated[int, Field(ge=0, le=2**31 - 1)]
Share = Annotated[float, Field(ge=0, lt=1)]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_size(value: object) -> int:
    """The bytes of a size such as 4GB (10^9), 4GiB (2^30) or a plain number; ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not 0 < float(match[1]) < 2**63:
        raise ValueError("should be a size such as 4GB, 4GiB or a number of bytes")
    power = " kmgt".index(match[2].lower() or " ")
    return round(float(match[1]) * (1024 if match[3] else 1000) ** power)


def _size_or_none(value: object) -> int | None:
    return None if value is None else parse_size(value)


def _path(value: object) -> object:
    if not isinstance(value, str | Path):
        raise ValueError("should be a path")
    return user_path(value)


def _device(value: str) -> str:
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        return value
    raise ValueError("should be auto, cpu, cuda or cuda:N")


Device = Annotated[
    str,
    AfterValidator(_device),
    WithJsonSchema({"type": "string", "pattern": r"^(auto|cpu|cuda(:\d+)?)$"}),
]
Size = Annotated[
    int | None,
    BeforeValidator(_size_or_none),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}),
]
RecipePath = Annotated[Path, BeforeValidator(_path), PlainSerializer(Path.as_posix, return_type=str)]


class Section(BaseModel):
    """A frozen part of a recipe: unknown keys, other types and numbers that are not finite are rejected."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )
