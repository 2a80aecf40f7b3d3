"""The problems of a recipe as messages: the key, the cause, and for an unknown key the nearest known one."""

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from revlm.recipe.data import FORMS
from revlm.recipe.recipe import Recipe
from revlm.recipe.yaml_text import MAX_SHOWN, shown

MAX_ERRORS = 1000  # of one recipe that are reported


def problems_of(invalid: ValidationError) -> list[str]:
    """One line for each error, except for errors of a list's length that follow from errors inside it."""
    errors = invalid.errors(include_url=False)[:MAX_ERRORS]
    with_inner_errors = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [
        _problem(error) for error in errors if error["type"] != "too_short" or error["loc"] not in with_inner_errors
    ]


def _problem(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"] if part not in FORMS)[:MAX_SHOWN]
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key{suggestion(key)}"
    if error["type"] == "missing":
        return f"{key}: missing, it has no default"
    if error["type"] == "model_type":
        return f"{key}: should be a section of keys, not {shown(error['input'])}"
    if error["type"] == "value_error":
        cause = str(error["ctx"]["error"])
        of_section = isinstance(error["input"], dict)
        return f"{key}: {cause}" if of_section else f"{key}: {cause}, not {shown(error['input'])}"
    if error["type"] in {"bool_type", "bool_parsing"}:
        return f"{key}: should be true or false, not {shown(error['input'])}"
    if error["type"] == "tuple_type" and isinstance(error["input"], str):
        listed = ", ".join(part.strip() for part in error["input"].split(","))
        return f"{key}: should be a list, not {shown(error['input'])}: write [{listed[:MAX_SHOWN]}]"
    cause = re.sub(r"^(Input|String|Tuple|Value) ", "", error["msg"]).replace(" after validation", "")
    cause = cause.replace("a valid tuple", "a list")
    return f"{key}: {cause}" if ", not " in cause else f"{key}: {cause}, not {shown(error['input'])}"


def suggestion(key: str) -> str:
    """`, did you mean ...?`: the key of that name in another section, else the nearest spelling."""
    if len(key) >= MAX_SHOWN:
        return ", see `revlm recipes --schema`"
    by_leaf = {known.rsplit(".", 1)[-1]: known for known in reversed(_known_keys())}
    leaf = key.rsplit(".", 1)[-1]
    near = (
        [by_leaf[leaf]]
        if leaf in by_leaf
        else difflib.get_close_matches(key, _known_keys(), n=1, cutoff=0.75)
        or [by_leaf[match] for match in difflib.get_close_matches(leaf, by_leaf, n=1)]
    )
    return f", did you mean {near[0]}?" if near else ", see `revlm recipes --schema`"


def is_known(key: str) -> bool:
    """Whether a recipe has a key of that name, such as `train.max_steps`."""
    return key in _known_keys()


def _known_keys(section: type[BaseModel] = Recipe, prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        for place, inner in _sections_in(field.annotation, name):
            keys += _known_keys(inner, f"{prefix}{place}.")
    return keys


def _sections_in(annotation: Any, place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yields each section that the key at `place` holds, alone or in a list, with its place."""
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel):
        yield place, annotation
    for part in get_args(annotation):
        yield from _sections_in(part, f"{place}.N" if get_origin(annotation) is tuple else place)
