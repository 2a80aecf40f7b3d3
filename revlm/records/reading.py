"""Reads records. Whatever a file holds, an unreadable one raises a StorageError that names it.

A journal may have a million lines, so it is streamed from a given offset, and its last records are read backwards from
its end. A last line without a newline is still being written, or was truncated, and is ignored.
"""

import os
import stat
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NotRequired, TypeVar, cast, get_args, get_origin

from pydantic import ConfigDict, Field, RootModel, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from revlm.errors import StorageError
from revlm.records.files import step_of
from revlm.records.journal import JournalRecord, Sample, Samples, Step, Validation
from revlm.records.record import Many, Record
from revlm.storage import storage_errors

MAX_LINE_BYTES = 1 << 22
MAX_FILE_BYTES = 1 << 25
_BLOCK_BYTES = 1 << 16
_LONGEST_PROBLEM = 300

Kind = TypeVar("Kind")
_SampleList = RootModel[Many[Sample]]


def read_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Returns the content of a regular file, by default of at most 32 MiB; raises StorageError otherwise."""
    with storage_errors(f"reading {path}"), os.fdopen(_opened(path), "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise StorageError(f"{path} is larger than {max_bytes >> 10:,} KiB: restore it, or remove it")
    return content


def read_record(kind: type[Kind], path: Path) -> Kind:
    """Returns the record in a JSON file; raises StorageError if the file does not match the schema."""
    try:
        found: Kind = _adapter(cast(Hashable, kind)).validate_json(read_file(path))
    except ValidationError as error:
        raise StorageError(f"{path} {_problem(error)}: restore it, or remove it") from error
    return found


def read_samples(path: Path) -> Samples:
    """Returns the samples of the step in the file's name; raises StorageError."""
    step = step_of(path)
    if step is None:
        raise StorageError(f"{path} is not named after a step, such as step-00000200.json: rename or remove it")
    return Samples(step=step, samples=read_record(_SampleList, path).root)


def record_of(content: Any) -> Step | Validation:
    """Validates a mapping before it is written; raises pydantic's ValidationError if it does not match the schema."""
    return _adapter(JournalRecord).validate_python(content, extra="forbid")


def read_journal(path: Path, after: int = 0) -> Iterator[Step | Validation]:
    """Yields the records of a journal after the step `after`, oldest first; nothing if there is no journal.

    Raises:
        StorageError: a complete line is not a record, or the journal cannot be read.
    """
    offset = offset_after(path, after) if after > 0 else 0
    yield from chain.from_iterable(_records(path, offset, _adapter(JournalRecord)))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of a journal as dictionaries of the same schema, in half the time of `read_journal`."""
    yield from chain.from_iterable(read_row_blocks(path))


def read_row_blocks(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Yields the dictionaries of `read_rows`, some hundreds at a time."""
    return _records(path, 0, _row_adapter())


def _records(path: Path, offset: int, adapter: TypeAdapter[Any]) -> Iterator[list[Any]]:
    parse = adapter.validator.validate_json
    with _opened_journal(path) as file:
        file.seek(offset)
        number = 0
        for lines in _whole_lines(file):
            records: list[Any] = []
            for line in lines:
                number += 1
                if len(line) >= MAX_LINE_BYTES:
                    raise _unreadable(path, offset, number, f"is longer than {MAX_LINE_BYTES >> 20} MiB")
                try:
                    records.append(parse(line))
                except ValidationError as error:
                    raise _unreadable(path, offset, number, _problem(error)) from error
            yield records


def _whole_lines(file: BinaryIO) -> Iterator[list[bytes]]:
    """Yields the lines that end in each block of a file, without newlines; too long a line is truncated."""
    begun = b""
    while block := file.read(_BLOCK_BYTES):
        *lines, begun = (begun + block).split(b"\n")
        if len(begun) >= MAX_LINE_BYTES:
            lines.append(begun)
        yield lines


def last_records(path: Path, count: int) -> list[Step | Validation]:
    """The last records of a journal, oldest first; none where there is no journal."""
    found: list[Step | Validation] = []
    for _, line in _backwards(path):
        if len(found) == count:
            break
        found.append(_parse(path, line))
    return found[::-1]


def offset_after(path: Path, step: int) -> int:
    """Returns the byte offset of the first record later than a step; only the end of the file is read."""
    offset = None
    for start, line in _backwards(path):
        if _parse(path, line).step <= step:
            return start + len(line)
        offset = start
    return offset or 0


def whole_bytes(path: Path) -> int:
    """Returns the size of a journal without an incomplete last line."""
    with _opened_journal(path) as file:
        size = file.seek(0, os.SEEK_END)
        start = _start_of_last_line(file, size)
        file.seek(start)
        last = file.read(min(size - start, MAX_LINE_BYTES))
    try:
        _adapter(dict[str, Any]).validate_json(last if last.endswith(b"\n") else b"")
    except ValidationError:
        return start
    return size


def _backwards(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields each complete line of a journal with its offset, the last one first."""
    with _opened_journal(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        end = size if file.read(1) == b"\n" else _start_of_last_line(file, size)
        while end > 0:
            start = _start_of_last_line(file, end)
            file.seek(start)
            yield start, file.read(end - start)
            end = start


@contextmanager
def _opened_journal(path: Path) -> Iterator[BinaryIO]:
    """Opens a journal for a block; an empty one if it does not exist yet."""
    with storage_errors(f"reading the journal {path}"):
        try:
            file: BinaryIO = os.fdopen(_opened(path), "rb")
        except FileNotFoundError:
            file = BytesIO()
        with file:
            yield file


def _start_of_last_line(file: BinaryIO, end: int) -> int:
    """Returns the offset of the last line of the first `end` bytes, not counting its own newline."""
    stop, length = max(end - 1, 0), 0
    while stop > 0:
        start = max(0, stop - _BLOCK_BYTES)
        file.seek(start)
        found = file.read(stop - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        length += stop - start
        if length > MAX_LINE_BYTES:
            raise StorageError(
                f"{file.name} has a line of more than {MAX_LINE_BYTES >> 20} MiB: remove it, or restore the file"
            )
        stop = start
    return 0


def _opened(path: Path) -> int:
    """Opens a regular file; opening a pipe would block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageError(f"{path} is not a regular file: restore it, or remove it")
    return descriptor


def _parse(path: Path, line: bytes) -> Step | Validation:
    try:
        return _adapter(JournalRecord).validate_json(line)
    except ValidationError as error:
        raise StorageError(
            f"{path}: a record near its end {_problem(error)}: remove that line, or restore the file"
        ) from error


def _unreadable(path: Path, offset: int, number: int, problem: str) -> StorageError:
    """The error for a line; `number` counts from `offset`, the message from the beginning of the file."""
    with os.fdopen(_opened(path), "rb") as file:
        while offset > 0 and (block := file.read(min(offset, _BLOCK_BYTES))):
            number += block.count(b"\n")
            offset -= len(block)
    return StorageError(f"{path}, line {number} {problem}: remove that line, or restore the file")


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


@cache
def _row_adapter() -> TypeAdapter[Any]:
    step, validation = _as_typed_dict(Step), _as_typed_dict(Validation)
    row: Any = Annotated[step | validation, Field(discriminator="event")]
    return TypeAdapter(row)


def _as_typed_dict(kind: type[Record]) -> Any:
    """The schema of a record as a dictionary, which is read in half the time of an object."""
    keys: dict[str, Any] = {}
    for key, field in kind.model_fields.items():
        annotation: Any = field.annotation
        if get_origin(annotation) is list and issubclass(get_args(annotation)[0], Record):
            annotation = list[_as_typed_dict(get_args(annotation)[0])]  # type: ignore[misc]
        constrained = Annotated[annotation, *field.metadata] if field.metadata else annotation
        keys[key] = constrained if field.is_required() else NotRequired[constrained]
    row: Any = cast(Any, TypedDict)(kind.__name__, keys)
    row.__pydantic_config__ = ConfigDict(strict=True, extra="ignore")
    return row


def _problem(error: ValidationError) -> str:
    """What is wrong with a record, as the end of a sentence that names the file."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return f"is not the JSON that a run writes ({first['msg'].removeprefix('Invalid JSON: ')})"
    place = first["loc"]
    if len(place) > 1 and place[0] in ("step", "evaluate"):  # pydantic puts the event in front
        place = place[1:]
    key = ".".join(map(str, place))
    return f"is not what a run writes ({f'{key}: ' if key else ''}{first['msg']})"[:_LONGEST_PROBLEM]
