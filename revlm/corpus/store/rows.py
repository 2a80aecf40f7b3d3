"""The tokens of a store's documents: views of its memory-mapped files, which are validated before use."""

import mmap
import struct
from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from revlm.corpus.reading.store_folder import open_regular
from revlm.corpus.store.manifest import naming
from revlm.corpus.tokenizing.tokenizer import TokenIds

if TYPE_CHECKING:
    import pyarrow

StoredTokens = npt.NDArray[np.unsignedinteger]
"""Token ids as a store holds them, [tokens]."""


def schema_of(dtype: np.dtype[Any]) -> "pyarrow.Schema":
    """Returns the Arrow schema of a store whose ids have the given dtype."""
    import pyarrow

    return pyarrow.schema(
        {
            "tokens": pyarrow.large_list(pyarrow.from_numpy_dtype(dtype)),
            "title": pyarrow.string(),
            "source": pyarrow.string(),
            "bytes": pyarrow.int64(),
            "sha256": pyarrow.string(),
            "document": pyarrow.int32(),
            "part": pyarrow.int32(),
        }
    )


class StoredRows:
    """The rows of one file: where the tokens of each lie in the mapped Arrow chunks, and which rows begin a document.

    Raises:
        DataError: the file cannot be read, or does not hold rows of a store.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        with naming(path):
            self._table = _mapped_table(path, schema_of(dtype))
            self.parts, self.documents = (_numbers(self._table[column].chunks) for column in ("part", "document"))
            self.begins = self.parts == 0
            self.titles: list[str] = self._of_first_rows("title")
            chunks = self._table["tokens"].chunks
            self.values = [np.from_dlpack(chunk.values) for chunk in chunks]
            self.bounds = [np.from_dlpack(chunk.offsets) for chunk in chunks]

    def first_rows(self) -> Iterator[tuple[str, str, int, str]]:
        """Yields the title, source, bytes and sha256 of each document that begins in this file."""
        return zip(self.titles, *map(self._of_first_rows, ("source", "bytes", "sha256")), strict=True)

    def _of_first_rows(self, column: str) -> list[Any]:
        return list(compress(self._table[column].to_pylist(), self.begins))


class StoredTexts(Sequence["StoredText"]):
    """The tokens of each document; views are created on access, so a million short texts take little memory.

    Attributes:
        n_tokens: the tokens of all documents.
        n_parts: the number of rows of each document.
    """

    def __init__(self, files: Sequence[StoredRows]) -> None:
        self._values = [values for file in files for values in file.values]
        bounds = [bounds for file in files for bounds in file.bounds]
        self._chunk = np.repeat(np.arange(len(bounds)), [len(each) - 1 for each in bounds])
        self._start = np.concatenate([np.zeros(0, np.int64), *(each[:-1] for each in bounds)])
        self._stop = np.concatenate([np.zeros(0, np.int64), *(each[1:] for each in bounds)])
        begins = np.concatenate([np.zeros(0, bool), *(file.begins for file in files)])
        self._first_row = np.append(np.flatnonzero(begins), len(begins))
        self.n_tokens = int((self._stop - self._start).sum())
        self.n_parts: list[int] = np.diff(self._first_row).tolist()

    def __len__(self) -> int:
        return len(self._first_row) - 1

    def are_numbered(self, files: Sequence[StoredRows]) -> bool:
        """Returns whether the columns `document` and `part` count from 0 without gaps, and every row holds a token."""
        empty = np.zeros(0, np.int32)
        parts = np.concatenate([empty, *(file.parts for file in files)])
        documents = np.concatenate([empty, *(file.documents for file in files)])
        steps = np.diff(parts, prepend=np.int32(-1))
        return bool(
            np.array_equal(documents, np.repeat(np.arange(len(self)), self.n_parts))
            and ((parts == 0) | (steps == 1)).all()
            and (self._stop > self._start).all()
        )

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each document."""
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
    """One document's tokens, uint16 or uint32, in parts: views of the mapped files."""

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
        """Copies the tokens from `start` on into `out`, int32 [tokens], and fills it."""
        stop = start + len(out)
        for part, first in zip(self.parts, self._starts, strict=False):
            begin, end = max(start, first), min(stop, first + len(part))
            if begin < end:
                out[begin - start : end - start] = part[begin - first : end - first]


def _mapped_table(path: Path, schema: "pyarrow.Schema") -> "pyarrow.Table":
    """Returns the mapped rows of a file; raises ValueError or an Arrow error where they are not those of a store."""
    import pyarrow

    with open_regular(path) as file:
        mapped = pyarrow.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    messages = pyarrow.ipc.MessageReader.open_stream(mapped)
    if not pyarrow.ipc.read_schema(messages.read_next_message()).equals(schema, check_metadata=True):
        raise ValueError("its columns are not those of a token store")
    batches = []
    for message in _record_batches(messages):
        batches.append(pyarrow.ipc.read_record_batch(message, schema))
    table = pyarrow.Table.from_batches(batches, schema)
    table.validate(full=True)
    tokens = table["tokens"].chunks
    if any(column.null_count for column in [*table.columns, *(chunk.values for chunk in tokens)]):
        raise ValueError("a value is missing")
    return table


def _numbers(chunks: "Sequence[pyarrow.Array]") -> npt.NDArray[np.int32]:
    """Returns the int32 values of a column. By DLPack: Arrow's own conversion to NumPy imports pandas."""
    return np.concatenate([np.zeros(0, np.int32), *map(np.from_dlpack, chunks)])


def _record_batches(messages: "pyarrow.ipc.MessageReader") -> "Iterator[pyarrow.ipc.Message]":
    """Yields the messages after the schema. Compressed ones are refused: a store has none, and Arrow would decompress
    whatever size a damaged file claims."""
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            return
        if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("it holds something other than uncompressed rows")
        yield message


def _is_compressed(metadata: bytes) -> bool:
    """Returns whether a record batch's FlatBuffer declares a compression (Arrow's Message.fbs): the fourth field of the
    table `header`, the third field of the message."""
    (message,) = struct.unpack_from("<I", metadata, 0)
    header = message + _field(metadata, message, 2)
    return bool(_field(metadata, header + struct.unpack_from("<I", metadata, header)[0], 3))


def _field(metadata: bytes, table: int, number: int) -> int:
    """Returns the offset of a field from its FlatBuffer table; 0 where the field is absent."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    place = 4 + 2 * number
    if vtable < 0 or place >= struct.unpack_from("<H", metadata, vtable)[0]:
        return 0
    return int(struct.unpack_from("<H", metadata, vtable + place)[0])
