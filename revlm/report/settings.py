"""Flattens the nested values of a recipe or an environment into one table; the values are not trusted."""

from collections.abc import Iterator, Mapping
from typing import Any

from revlm.text import ABSENT

Settings = dict[str, Any]
"""Values by their keys, joined by dots: a number or a word as it is, a list as one text, null as absent."""
_MAX_VALUES = 10_000
_DEEPEST = 30
_LONGEST = 2000


def settings_of(content: Any) -> Settings:
    """Returns the values of nested mappings by dotted key; raises ValueError if there are too many."""
    if not isinstance(content, Mapping):
        raise ValueError("holds no mapping of keys to values")
    settings: Settings = {}
    for key, value in _leaves(content, "", 0, [0]):
        settings[key] = value
    return settings


def _leaves(content: Mapping[Any, Any], prefix: str, depth: int, visited: list[int]) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = f"{prefix}{_leaf(key)}"[:_LONGEST]
        if isinstance(value, Mapping) and value:
            _count(visited, depth)
            yield from _leaves(value, f"{name}.", depth + 1, visited)
        elif isinstance(value, list):
            yield name, ", ".join(_listed(value, depth, visited))[:_LONGEST]
        else:
            _count(visited, depth)
            yield name, ABSENT if value is None else _leaf(value)


def _listed(values: list[Any], depth: int, visited: list[int]) -> Iterator[str]:
    for value in values:
        _count(visited, depth)
        if isinstance(value, Mapping):
            inner = _leaves(value, "", depth + 1, visited)
            yield "{" + ", ".join(f"{key}: {leaf}" for key, leaf in inner) + "}"
        elif isinstance(value, list):
            yield "[" + ", ".join(_listed(value, depth + 1, visited)) + "]"
        else:
            yield str(_leaf(value))


def _leaf(value: Any) -> Any:
    """A scalar value; one that is too long to print, such as an integer of a million digits, is described instead."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length():,} bits"
    return value if isinstance(value, int | float) else str(value)[:_LONGEST]


def _count(visited: list[int], depth: int) -> None:
    """Counts a value against the limits, since YAML aliases can expand a few bytes without bound."""
    visited[0] += 1
    if visited[0] > _MAX_VALUES or depth > _DEEPEST:
        raise ValueError(f"holds more than {_MAX_VALUES:,} values, or some deeper than {_DEEPEST} levels")
