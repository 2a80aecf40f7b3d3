"""The tokens of a store's documents: views of its mapped files."""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from revlm.corpus.tokenizing.tokenizer import TokenIds
from revlm.errors import DataError


class StoredRows:
    """The rows of one file: where the tokens of each lie in the mapped chunks, and which begin a document."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        try:
            table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(path))).read_all()
        except (OSError, pyarrow.ArrowException) as error:
            raise unreadable_store(path, error) from error
        self.begins = table["part"].to_numpy() == 0
        self.titles: list[str] = table["title"].filter(pyarrow.array(self.begins)).to_pylist()
        chunks = table["tokens"].chunks
        self.values = [chunk.values.to_numpy(zero_copy_only=True) for chunk in chunks]
        self.bounds = [chunk.offsets.to_numpy() for chunk in chunks]


class StoredTexts(Sequence["StoredText"]):
    """The tokens of each document; a view is made when it is asked for, so a million short texts take no memory."""

    def __init__(self, files: Sequence[StoredRows]) -> None:
        self._values = [values for file in files for values in file.values]
        bounds = [bounds for file in files for bounds in file.bounds]
        self._chunk = np.repeat(np.arange(len(bounds)), [len(each) - 1 for each in bounds])
        self._start = np.concatenate([np.zeros(0, np.int64), *(each[:-1] for each in bounds)])
        self._stop = np.concatenate([np.zeros(0, np.int64), *(each[1:] for each in bounds)])
        begins = np.concatenate([np.zeros(0, bool), *(file.begins for file in files)])
        self._first_row = np.append(np.flatnonzero(begins), len(begins))

    def __len__(self) -> int:
        return len(self._first_row) - 1

    @property
    def lengths(self) -> list[int]:
        """The tokens of each document."""
        ends = np.concatenate([[0], np.cumsum(self._stop - self._start)])
        return np.diff(ends[self._first_row]).tolist()

    @overload
    def __getitem__(self, number: int) -> "StoredText": ...

    @overload
    def __getitem__(self, number: slice) -> Sequence["StoredText"]: ...

    def __getitem__(self, number: int | slice) -> "StoredText | Sequence[StoredText]":
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number %= len(self)
        rows = range(self._first_row[number], self._first_row[number + 1])
        return StoredText([self._values[self._chunk[row]][self._start[row] : self._stop[row]] for row in rows])


class StoredText:
    """One document's tokens, uint16 or uint32 over its parts: views of the mapped files."""

    def __init__(self, parts: list[npt.NDArray[np.unsignedinteger]]) -> None:
        self.parts = parts
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def token(self, index: int) -> int:
        """Returns the token at `index`, from 0."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return int(self.parts[part][index - self._starts[part]])

    def copy_into(self, out: TokenIds, start: int) -> None:
        """Copies the tokens from `start` on into `out`, int32 [tokens], as many as it takes."""
        stop = start + len(out)
        for part, first in zip(self.parts, self._starts, strict=False):
            begin, end = max(start, first), min(stop, first + len(part))
            if begin < end:
                out[begin - start : end - start] = part[begin - first : end - first]


def unreadable_store(file: Path, error: Exception) -> DataError:
    """Returns the error for a file of a store that is damaged or gone."""
    return DataError(f"{file} cannot be read ({error}); run `revlm tokenize` again")
