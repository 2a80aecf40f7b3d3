"""Finds and loads recipe files."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from revlm.bundled import bundled_path
from revlm.errors import UsageError
from revlm.recipe.of_run import resolve_where_trained, run_folder_of
from revlm.recipe.overrides import apply_override, drop_replaced_data
from revlm.recipe.problems import problems_of
from revlm.recipe.recipe import Recipe
from revlm.recipe.yaml_text import read_yaml_file, yaml_problem

MAX_LISTED = 20  # problems listed in one message


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file, or the bundled recipe of that name, with overrides such as `optimizer.lr=3e-4`.

    For a recipe.yaml in a run folder, `output_dir` is that folder, even after it was moved, and relative data paths
    also resolve against the folder where the run was trained. An override of `data.stream` replaces the file's
    `data.path`, and vice versa.

    Raises UsageError that lists every problem; an unknown key comes with the nearest known one.
    """
    path = find_recipe(path_or_name)
    try:
        values = read_yaml_file(path)
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {yaml_problem(error)}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): give a readable recipe") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise UsageError(f"{path} should hold sections such as `model:` and `data:`, see `revlm recipes demo`")
    if (run := run_folder_of(path)) is not None:
        values["output_dir"] = str(run)
        resolve_where_trained(values, run)
    problems = [problem for override in overrides if (problem := apply_override(values, override))]
    drop_replaced_data(values, overrides)
    try:
        recipe = Recipe.model_validate({"output_dir": f"runs/{path.stem}", "data": {}} | values)
    except ValidationError as error:
        problems += [problem for problem in problems_of(error) if problem not in problems]
    if problems:
        listed = problems[0] if len(problems) == 1 else "".join(f"\n  {problem}" for problem in problems[:MAX_LISTED])
        listed += f"\n  and {len(problems) - MAX_LISTED:,} more" if len(problems) > MAX_LISTED else ""
        count = "" if len(problems) == 1 else f"{len(problems)} problems:"
        raise UsageError(f"recipe {path}: {count}{listed}")
    return recipe


def bundled_recipes() -> dict[str, Path]:
    """The bundled recipes' files by name, sorted."""
    return {path.stem: path for path in sorted(bundled_path("recipes").glob("*.yaml"))}


def find_recipe(path_or_name: str | Path) -> Path:
    """The file of a recipe: the path itself if it is a file, else the bundled recipe of that name."""
    name = os.path.expanduser(path_or_name)
    if "\0" not in str(name) and os.path.isfile(name):
        return Path(name)
    bundled = bundled_recipes()
    name = str(path_or_name)
    if name in bundled:
        return bundled[name]
    near = difflib.get_close_matches(Path(name).stem, bundled, n=3)
    choice = f"did you mean {' or '.join(near)}?" if near else f"the bundled recipes are {', '.join(bundled)}"
    raise UsageError(f"there is no recipe file and no bundled recipe {name}: {choice}")


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, with which editors complete and check it."""
    schema = Recipe.model_json_schema()
    schema["required"].remove("output_dir")  # load_recipe derives it from the file's name
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
