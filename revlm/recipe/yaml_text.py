"""Recipes as YAML 1.2, read and written: 3e-4 is a number, 010 is ten, only true and false are booleans.

No key may stand twice.
"""

import re
from typing import Any

import yaml

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
    """The value of a YAML text; yaml.YAMLError where it is none."""
    return yaml.load(text, Loader=_Loader)


def write_yaml(value: Any) -> str:
    """A YAML text that `read_yaml` reads back to the same value; keys keep their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong with a YAML text, in one line with its place."""
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return place + " ".join(str(getattr(error, "problem", None) or error).split())
