"""Compares the ids of two tokenizations by the number and a digest of each document's ids."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Ids(NamedTuple):
    """The number of a document's ids, and their sha256 as little-endian int32."""

    tokens: int
    sha256: str


class IdsDigest:
    """Digests the ids of one document, in order, in any number of parts."""

    def __init__(self) -> None:
        self._tokens, self._digest = 0, hashlib.sha256()

    def add(self, ids: npt.ArrayLike) -> None:
        part = np.ascontiguousarray(ids, dtype="<i4")
        self._tokens += part.size
        self._digest.update(part.data)

    def ids(self) -> Ids:
        return Ids(self._tokens, self._digest.hexdigest())


def ids_of_store(folder: Path) -> dict[str, Ids]:
    """Returns the ids of each document of a token store, by its path below the corpus."""
    import datasets

    rows = datasets.load_from_disk(str(folder)).data.table
    digests: dict[str, IdsDigest] = {}
    for row in range(rows.num_rows):
        source = rows["source"][row].as_py()
        digests.setdefault(source, IdsDigest()).add(rows["tokens"][row].values.to_numpy(zero_copy_only=False))
    return {source: digest.ids() for source, digest in digests.items()}


def differing(one: Mapping[str, Ids], other: Mapping[str, Ids]) -> list[str]:
    """Returns the documents that only one has, or whose ids differ, by name."""
    return sorted(source for source in one.keys() | other.keys() if one.get(source) != other.get(source))
