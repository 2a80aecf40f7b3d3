"""Checks the axes in signatures once for each combination of shapes and types of the arguments.

jaxtyping's import hook checks every call, which takes more time than the small tensors of tests.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import beartype
from torch import Tensor

_AXES = re.compile(r"\[Tensor, ['\"]")
_jaxtyped = jaxtyping.jaxtyped


def install(*packages: str) -> None:
    """Checks the functions of these packages, which are not loaded yet."""
    jaxtyping.jaxtyped = decorated  # what the hook puts before every function and class
    jaxtyping.install_import_hook(list(packages), "beartype.beartype")


def decorated(typechecker: Any) -> Callable[[Any], Any]:
    """Stands in for `jaxtyping.jaxtyped`."""

    def decorate(function: Any) -> Any:
        if not inspect.isfunction(function):
            return _jaxtyped(typechecker=typechecker)(function)
        if getattr(function, "__no_type_check__", False) or not function.__annotations__:
            return function
        has_axes = any(_AXES.search(str(annotation)) for annotation in function.__annotations__.values())
        check = _jaxtyped(typechecker=typechecker) if has_axes else beartype
        return _checked_once(function, check(function))

    return decorate


def _checked_once(function: Callable[..., Any], checked: Callable[..., Any]) -> Callable[..., Any]:
    seen = set()

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if getattr(call, "__no_type_check__", False):  # set by a decorator further out
            return function(*arguments, **named)
        key = (*map(_kind, arguments), *((name, _kind(value)) for name, value in named.items()))
        if key in seen:
            return function(*arguments, **named)
        result = checked(*arguments, **named)
        seen.add(key)
        return result

    return call


def _kind(value: object) -> Any:
    """What a check depends on."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    if isinstance(value, tuple | list):
        return type(value), *map(_kind, value)
    return type(value)
