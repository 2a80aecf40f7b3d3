"""Recipes as YAML 1.2, read and written: 3e-4 is a number, 010 is ten, only true and false are booleans.

No key may stand twice.
"""

import re
from pathlib import Path
from reprlib import Repr
from typing import Any

import yaml

MOST_CHARACTERS = 1 << 18
MOST_VALUES = 20_000
MOST_DEPTH = 32
MOST_DIGITS = 40
MOST_SHOWN = 200  # characters of a value in a message
_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 4, 8, 8, 8
_SHORT.maxstring = _SHORT.maxother = MOST_SHOWN
_TAG = "tag:yaml.org,2002:"


def _yaml_12_words() -> dict[Any, Any]:
    """YAML 1.2's reading of plain words: no octals without 0o, no numbers to the base of 60, no dates."""
    replaced = {_TAG + name for name in ("bool", "int", "float", "timestamp")}
    words = {
        first: [(tag, pattern) for tag, pattern in pairs if tag not in replaced]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    boolean = re.compile(r"true|True|TRUE|false|False|FALSE")
    integer = re.compile(r"[-+]?\d+(_\d+)*|0o[0-7]+|0x[0-9a-fA-F]+")
    number = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
    signs_and_digits = "-+.0123456789"
    for tag, pattern, firsts in (
        ("bool", boolean, "tTfF"),
        ("int", integer, signs_and_digits),
        ("float", number, signs_and_digits),
    ):
        whole_word = re.compile(f"(?:{pattern.pattern})$")
        for first in firsts:
            words.setdefault(first, []).append((_TAG + tag, whole_word))
    return words


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _yaml_12_words()

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {MOST_DEPTH}", problem_mark=self.peek_event().start_mark
            )
        self._nodes += 1
        if self._nodes > MOST_VALUES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MOST_VALUES:,} values", problem_mark=self.peek_event().start_mark
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A key that stands twice would silently win over the first; here it is an error with its place."""
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """An integer: to the base of 8 behind 0o, of 16 behind 0x, else of 10, with underscores as in 1_000."""
        if len(node.value) > MOST_DIGITS:
            raise yaml.MarkedYAMLError(
                problem=f"a number of more than {MOST_DIGITS} digits", problem_mark=node.start_mark
            )
        return int(node.value, {"0o": 8, "0x": 16}.get(node.value[:2], 10))


_Loader.add_constructor(_TAG + "int", _Loader.construct_yaml_int)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _yaml_12_words()


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Unicode's own line breaks only survive between double quotes, where they are escaped."""
    return dumper.represent_scalar(_TAG + "str", text, style='"' if re.search("[\x85\u2028\u2029]", text) else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, lambda dumper, value: dumper.represent_sequence(_TAG + "seq", value, flow_style=True))


def read_yaml(text: str) -> Any:
    """The value of a YAML text, of which no two parts are one object; yaml.YAMLError where it is none.

    It is bounded: in characters, in depth, in digits of a number, and in values, each counted as often as an alias
    names it; an alias of what holds it is refused.
    """
    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"longer than {MOST_CHARACTERS:,} characters")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _require_bounded(node)
        return _unshared(loader.construct_document(node))
    except yaml.YAMLError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # a tag such as !!int before what is none
        raise yaml.YAMLError(f"{type(error).__name__}: {str(error)[:MOST_SHOWN]}") from error
    finally:
        loader.dispose()


def read_yaml_file(path: Path) -> Any:
    """The value of a YAML file in UTF-8; yaml.YAMLError where it is none, OSError where it cannot be read."""
    with path.open("rb") as file:
        content = file.read(4 * MOST_CHARACTERS + 1)
    try:
        return read_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise yaml.YAMLError(f"not UTF-8 at byte {error.start}") from error


def _require_bounded(root: yaml.Node) -> None:
    """Raises MarkedYAMLError for aliases that hold themselves, or that stand for too many values together."""
    sizes: dict[int, int] = {}
    inside: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in inside:
            raise yaml.MarkedYAMLError(problem="an alias of what holds it", problem_mark=node.start_mark)
        if id(node) not in sizes:
            inside.add(id(node))
            pairs = node.value if isinstance(node, yaml.MappingNode) else ()
            items = node.value if isinstance(node, yaml.SequenceNode) else (each for pair in pairs for each in pair)
            sizes[id(node)] = 1 + sum(map(size, items))
            inside.discard(id(node))
        if sizes[id(node)] > MOST_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_VALUES:,} values", problem_mark=node.start_mark)
        return sizes[id(node)]

    size(root)


def _unshared(value: Any) -> Any:
    """The value with a copy of each list and mapping wherever it stands: a change of one is no change of another."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def shown(value: object) -> str:
    """A value in a message, as Python writes it, with its middle left out where it is long."""
    return _SHORT.repr(value)


def write_yaml(value: Any) -> str:
    """A YAML text that `read_yaml` reads back to the same value; keys keep their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong with a YAML text, in one line with its place."""
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return place + " ".join(str(getattr(error, "problem", None) or error).split())[:MOST_SHOWN]
