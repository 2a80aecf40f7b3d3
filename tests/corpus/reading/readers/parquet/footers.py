"""Footers of Parquet files with everything that pyarrow writes in them, to be changed by tests."""

import random
from collections.abc import Callable
from typing import Any

from revlm.corpus.reading.readers.parquet.thrift import (
    BINARY,
    I32,
    I64,
    ListOf,
    Struct,
    Values,
    read_struct,
    written_struct,
)

STATISTICS = Struct({1: BINARY, 2: BINARY, 3: I64, 4: I64, 5: BINARY, 6: BINARY})
SIZE_STATISTICS = Struct({1: I64, 2: ListOf(I64), 3: ListOf(I64)})
KEY_VALUE = Struct({1: BINARY, 2: BINARY})
COLUMN = Struct(
    {
        1: I32, 2: ListOf(I32), 3: ListOf(BINARY), 4: I32, 5: I64, 6: I64, 7: I64, 8: ListOf(KEY_VALUE), 9: I64,
        10: I64, 11: I64, 12: STATISTICS, 13: ListOf(Struct({1: I32, 2: I32, 3: I32})), 14: I64, 15: I32,
        16: SIZE_STATISTICS,
    }
)  # fmt: skip
CHUNK = Struct({1: BINARY, 2: I64, 3: COLUMN, 4: I64, 5: I32, 6: I64, 7: I32, 8: Struct({1: Struct({})})})
GROUP = Struct(
    {1: ListOf(CHUNK), 2: I64, 3: I64, 4: ListOf(Struct({1: I32})), 5: I64, 6: I64}  # 7: 16 bits, of no use here
)
LOGICAL = Struct({kind: Struct({}) for kind in (1, 2, 3, 4, 6, 11, 12, 13, 14, 15)} | {5: Struct({1: I32, 2: I32})})
ELEMENT = Struct({1: I32, 2: I32, 3: I32, 4: BINARY, 5: I32, 6: I32, 7: I32, 8: I32, 9: I32, 10: LOGICAL})
FILE = Struct(
    {
        1: I32, 2: ListOf(ELEMENT), 3: I64, 4: ListOf(GROUP), 5: ListOf(KEY_VALUE), 6: BINARY,
        7: ListOf(Struct({1: Struct({})})),
    }
)  # fmt: skip


def with_footer(raw: bytes, change: Callable[[Values], Any]) -> bytes:
    """Returns a Parquet file whose footer is changed in place by `change`."""
    length = int.from_bytes(raw[-8:-4], "little")
    values, _ = read_struct(raw[-8 - length : -8], 0, FILE)
    change(values)
    footer = written_struct(values, FILE)
    return raw[: -8 - length] + footer + len(footer).to_bytes(4, "little") + raw[-4:]


def change_somewhere(values: Values, draws: random.Random) -> None:
    """Changes, removes or repeats one number, name, list or structure of a footer."""
    inside: Any = values
    while True:
        places = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        if not places:
            return
        place = draws.choice(places)
        deeper = inside[place]
        if not isinstance(deeper, dict | list) or not deeper or draws.random() < 0.1:
            break
        inside = deeper
    if draws.random() < 0.2:
        del inside[place]
    elif isinstance(deeper, int):
        inside[place] = draws.choice([0, 1, -1, deeper + 1, deeper - 1, draws.randrange(32), 2**31 - 1, 2**63 - 1])
    elif isinstance(deeper, bytes):
        inside[place] = draws.choice([b"", deeper[:-1], deeper * 2, b"text", b"\xff", b"\0", b"x" * 300])
    elif isinstance(deeper, list):
        inside[place] = draws.choice([[], deeper[:-1], deeper * 2, deeper[::-1]])
    elif isinstance(inside, list):
        inside.insert(draws.randrange(len(inside) + 1), deeper)
