"""Reads and writes structures in Thrift's compact protocol.

A kind names the fields of a structure; all others are skipped.

Source: "Thrift Compact protocol encoding" (Apache Thrift).
"""

from typing import Any, NamedTuple, TypeAlias

I32, I64, BINARY = 5, 6, 8
_TRUE, _FALSE, _BYTE, _I16, _DOUBLE, _LIST, _SET, _MAP, _STRUCT, _UUID = 1, 2, 3, 4, 7, 9, 10, 11, 12, 13
_MAX_NESTED = 24
_MAX_VALUES = 1 << 21  # kept of a structure: each takes some hundred bytes of memory, and may take one of the file

Kind: TypeAlias = "int | Struct | ListOf"
Values: TypeAlias = dict[int, Any]  # of the fields that are there, by their numbers


class Struct(NamedTuple):
    """The kind of a structure: the kind of each field, by its number."""

    fields: dict[int, Kind]


class ListOf(NamedTuple):
    """The kind of a list: the kind of its items."""

    item: Kind


def read_struct(content: bytes, start: int, kind: Struct) -> tuple[Values, int]:
    """Returns the fields of a structure that begins at `start`, and where it ends; fields of another kind are skipped.

    Raises:
        IndexError: the bytes end before it.
        ValueError: no structure has such bytes.
    """
    reader = _Reader(content, start)
    return reader.struct(kind, 0), reader.at


def written_struct(values: Values, kind: Struct) -> bytes:
    """Returns the bytes of a structure; its fields have at most 15 numbers between them."""
    parts, before = [], 0
    for field, inner in sorted(kind.fields.items()):
        if field in values:
            parts.append(bytes([(field - before) << 4 | _on_the_wire(inner)]) + _written(values[field], inner))
            before = field
    return b"".join(parts) + b"\0"


def _written(value: Any, kind: Kind) -> bytes:
    if isinstance(kind, Struct):
        return written_struct(value, kind)
    if isinstance(kind, ListOf):
        head = bytes([0xF0 | _on_the_wire(kind.item)]) + _varint(len(value))
        return head + b"".join(_written(each, kind.item) for each in value)
    if kind == BINARY:
        return _varint(len(value)) + value
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _on_the_wire(kind: Kind) -> int:
    return kind if isinstance(kind, int) else _LIST if isinstance(kind, ListOf) else _STRUCT


class _Reader:
    def __init__(self, content: bytes, start: int) -> None:
        self._content, self.at, self._kept = content, start, 0

    def struct(self, kind: Struct, depth: int) -> Values:
        if depth > _MAX_NESTED:
            raise ValueError("structures that are nested too deep")
        values: Values = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._integer()
            inner = kind.fields.get(field)
            if inner is not None and _on_the_wire(inner) == head & 15:
                values[field] = self._value(inner, depth + 1)
            else:
                self._skip(head & 15, depth + 1)
        return values

    def _value(self, kind: Kind, depth: int) -> Any:
        self._kept += 1
        if self._kept > _MAX_VALUES:
            raise ValueError(f"more than {_MAX_VALUES:,} values")
        if isinstance(kind, Struct):
            return self.struct(kind, depth)
        if isinstance(kind, ListOf):
            count, item = self._list()
            if count and item != _on_the_wire(kind.item):
                raise ValueError("a list of another kind")
            return [self._value(kind.item, depth + 1) for _ in range(count)]
        if kind == BINARY:
            start = self._past(self._varint())
            return self._content[start : self.at]
        number, bits = self._integer(), 31 if kind == I32 else 63
        if not -1 << bits <= number < 1 << bits:
            raise ValueError("a number that is too large")
        return number

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE):  # the value itself
            return
        if kind in (_I16, I32, I64):
            self._varint()
        elif kind == BINARY:
            self._past(self._varint())
        elif kind in (_BYTE, _DOUBLE, _UUID):
            self._past({_BYTE: 1, _DOUBLE: 8, _UUID: 16}[kind])
        elif kind in (_LIST, _SET):
            count, item = self._list()
            self._skip_items(count, (item,), depth)
        elif kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            self._skip_items(count, (kinds >> 4, kinds & 15), depth)
        elif kind == _STRUCT:
            self.struct(_NOTHING, depth)
        else:
            raise ValueError("a value of no known kind")

    def _skip_items(self, count: int, kinds: tuple[int, ...], depth: int) -> None:
        if depth > _MAX_NESTED:
            raise ValueError("lists that are nested too deep")
        kinds = tuple(_BYTE if kind in (_TRUE, _FALSE) else kind for kind in kinds)  # within a list, a byte each
        for _ in range(count):
            for kind in kinds:
                self._skip(kind, depth + 1)

    def _list(self) -> tuple[int, int]:
        """Returns how many values a list has, each at least a byte, and of which kind."""
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        return count, head & 15

    def _byte(self) -> int:
        self.at += 1
        return self._content[self.at - 1]

    def _past(self, size: int) -> int:
        """Advances by `size` bytes; returns where they begin."""
        start = self.at
        self.at += size
        if self.at > len(self._content):
            raise IndexError
        return start

    def _varint(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise ValueError("a number that is too long")

    def _integer(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)


_NOTHING = Struct({})
