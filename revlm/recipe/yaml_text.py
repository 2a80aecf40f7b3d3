"""Reads and writes YAML 1.2: 3e-4 is a number, 010 is ten, only true and false are booleans.

Duplicate keys are errors.
"""

import re
from pathlib import Path
from reprlib import Repr
from typing import Any

import yaml

MAX_CHARACTERS = 1 << 18
MAX_VALUES = 20_000
MAX_DEPTH = 32
MAX_DIGITS = 40
MAX_SHOWN = 200  # characters of a value in a message
_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 4, 8, 8, 8
_SHORT.maxstring = _SHORT.maxother = MAX_SHOWN
_TAG = "tag:yaml.org,2002:"


def _yaml_12_words() -> dict[Any, Any]:
    """YAML 1.2's rules for plain scalars: no octals without 0o, no base-60 numbers, no dates."""
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
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {MAX_DEPTH}", problem_mark=self.peek_event().start_mark
            )
        self._nodes += 1
        if self._nodes > MAX_VALUES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MAX_VALUES:,} values", problem_mark=self.peek_event().start_mark
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A duplicate key would silently replace the first one; here it is an error with its position."""
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key.value}", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """An integer: octal after 0o, hexadecimal after 0x, else decimal; underscores are allowed, as in 1_000."""
        if len(node.value) > MAX_DIGITS:
            raise yaml.MarkedYAMLError(
                problem=f"a number of more than {MAX_DIGITS} digits", problem_mark=node.start_mark
            )
        return int(node.value, {"0o": 8, "0x": 16}.get(node.value[:2], 10))


_Loader.add_constructor(_TAG + "int", _Loader.construct_yaml_int)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _yaml_12_words()


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Unicode's own line breaks survive only in double quotes, where they are escaped."""
    return dumper.represent_scalar(_TAG + "str", text, style='"' if re.search("[\x85\u2028\u2029]", text) else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, lambda dumper, value: dumper.represent_sequence(_TAG + "seq", value, flow_style=True))


def read_yaml(text: str) -> Any:
    """The value of a YAML text, with aliases copied, so that no two parts share an object.

    Raises yaml.YAMLError for invalid YAML and beyond limits on characters, depth, digits of a number and values; a
    value counts each time an alias refers to it. An alias of its own container is rejected.
    """
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"longer than {MAX_CHARACTERS:,} characters")
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
    except Exception as error:  # such as a tag !!int before something else
        raise yaml.YAMLError(f"{type(error).__name__}: {str(error)[:MAX_SHOWN]}") from error
    finally:
        loader.dispose()


def read_yaml_file(path: Path) -> Any:
    """The value of a YAML file; yaml.YAMLError if it is not YAML in UTF-8, OSError if it cannot be read."""
    with path.open("rb") as file:
        content = file.read(4 * MAX_CHARACTERS + 1)
    try:
        return read_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise yaml.YAMLError(f"not UTF-8 at byte {error.start}") from error


def _require_bounded(root: yaml.Node) -> None:
    """Raises MarkedYAMLError for aliases that contain themselves or expand to too many values."""
    sizes: dict[int, int] = {}
    inside: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in inside:
            raise yaml.MarkedYAMLError(problem="an alias of its own container", problem_mark=node.start_mark)
        if id(node) not in sizes:
            inside.add(id(node))
            pairs = node.value if isinstance(node, yaml.MappingNode) else ()
            items = node.value if isinstance(node, yaml.SequenceNode) else (each for pair in pairs for each in pair)
            sizes[id(node)] = 1 + sum(map(size, items))
            inside.discard(id(node))
        if sizes[id(node)] > MAX_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_VALUES:,} values", problem_mark=node.start_mark)
        return sizes[id(node)]

    size(root)


def _unshared(value: Any) -> Any:
    """The value with each list and mapping copied wherever it occurs, so that changing one does not change another."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def shown(value: object) -> str:
    """The repr of a value for a message; the middle of a long one is left out."""
    return _SHORT.repr(value)


def write_yaml(value: Any) -> str:
    """The value as a YAML text, which `read_yaml` reads back; keys keep their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def yaml_problem(error: yaml.YAMLError) -> str:
    """The problem with a YAML text, on one line, with its position."""
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return place + " ".join(str(getattr(error, "problem", None) or error).split())[:MAX_SHOWN]
