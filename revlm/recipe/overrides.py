"""Overrides of a recipe file's values, such as `optimizer.lr=3e-4`."""

from collections.abc import Sequence
from typing import Any

import yaml

from revlm.recipe.data import as_stream
from revlm.recipe.problems import is_known, suggestion
from revlm.recipe.yaml_text import MAX_DEPTH, read_yaml, shown, yaml_problem


def apply_override(values: dict[str, Any], override: str) -> str | None:
    """Sets one `key=value` in the nested values; returns the problem with it, if any."""
    key, equals, text = override.partition("=")
    *sections, leaf = _parts(override)
    if len(sections) >= MAX_DEPTH:
        return f"{shown(key)}: unknown key, it has {len(sections) + 1:,} parts"
    if not equals or not all([*sections, leaf]):
        return f"override {shown(override)} should be key=value, such as train.max_steps=10"
    try:
        value = read_yaml(text)
    except yaml.YAMLError as error:
        return f"override {shown(override)} has no YAML value: {yaml_problem(error)}"
    place = values
    for depth, section in enumerate(sections, 1):
        inner = place.get(section)
        if inner is None:  # absent, or an empty section of the file
            inner = place[section] = {}
        elif sections[:depth] == ["data", "stream"]:
            inner = place[section] = as_stream(inner)
        if not isinstance(inner, dict):
            if is_known(key.strip()):
                return f"{'.'.join(sections[:depth])}: should be a section of keys, not {shown(inner)}"
            return f"{key.strip()}: unknown key{suggestion(key.strip())}"
        place = inner
    place[leaf] = value
    return None


def drop_replaced_data(values: dict[str, Any], overrides: Sequence[str]) -> None:
    """Removes what the overrides replace: `data.path`, or `data.stream` and tokenizer; seq_len, or its schedule."""
    data = values.get("data")
    if not isinstance(data, dict):
        return
    given = {parts[1] for parts in map(_parts, overrides) if parts[0] == "data" and len(parts) > 1}
    if data.get("stream") is not None and "stream" in given and "path" not in given:
        data.pop("path", None)
    if data.get("path") is not None and "path" in given and "stream" not in given:
        for key in {"stream", "tokenizer"} - given:
            data.pop(key, None)
    if data.get("seq_len_schedule") is not None and "seq_len_schedule" in given and "seq_len" not in given:
        data.pop("seq_len", None)
    if "seq_len" in given and "seq_len_schedule" not in given:
        data.pop("seq_len_schedule", None)


def _parts(override: str) -> list[str]:
    """The sections and the key that an override names."""
    return override.partition("=")[0].strip().split(".")
