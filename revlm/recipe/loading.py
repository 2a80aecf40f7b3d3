"""Finds and reads the files of recipes."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from revlm.bundled import bundled_path
from revlm.errors import UsageError
from revlm.recipe.of_run import look_where_trained, run_folder_of
from revlm.recipe.overrides import apply_override, leave_one_of_path_and_stream
from revlm.recipe.problems import problems_of
from revlm.recipe.recipe import Recipe
from revlm.recipe.yaml_text import read_yaml_file, yaml_problem

MOST_LISTED = 20  # problems of one recipe that are listed


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file, or the bundled one of that name, with overrides such as `optimizer.lr=3e-4`.

    A recipe.yaml in a run folder means that folder, wherever it lies now, and data from where the run was trained.
    An override of `data.stream` takes the place of the file's `data.path`, and the other way round.

    Raises UsageError that lists everything wrong with it, unknown keys with the nearest known one.
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
        look_where_trained(values, run)
    problems = [problem for override in overrides if (problem := apply_override(values, override))]
    leave_one_of_path_and_stream(values, overrides)
    try:
        recipe = Recipe.model_validate({"output_dir": f"runs/{path.stem}", "data": {}} | values)
    except ValidationError as error:
        problems += [problem for problem in problems_of(error) if problem not in problems]
    if problems:
        listed = problems[0] if len(problems) == 1 else "".join(f"\n  {problem}" for problem in problems[:MOST_LISTED])
        listed += f"\n  and {len(problems) - MOST_LISTED:,} more" if len(problems) > MOST_LISTED else ""
        count = "" if len(problems) == 1 else f"{len(problems)} problems:"
        raise UsageError(f"recipe {path}: {count}{listed}")
    return recipe


def bundled_recipes() -> dict[str, Path]:
    """The files of the bundled recipes by name, sorted."""
    return {path.stem: path for path in sorted(bundled_path("recipes").glob("*.yaml"))}


def find_recipe(path_or_name: str | Path) -> Path:
    """The file of a recipe: the path itself where a file stands there, else the bundled one of that name."""
    name = os.path.expanduser(path_or_name)
    if "\0" not in str(name) and os.path.isfile(name):
        return Path(name)
    bundled = bundled_recipes()
    name = str(path_or_name)
    if name in bundled:
        return bundled[name]
    near = difflib.get_close_matches(Path(name).stem, bundled, n=3)
    choice = f"did you mean {' or '.join(near)}?" if near else f"the bundled ones are {', '.join(bundled)}"
    raise UsageError(f"no recipe file and no bundled recipe is called {name}: {choice}")


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, from which editors complete and check it."""
    schema = Recipe.model_json_schema()
    schema["required"].remove("output_dir")  # load_recipe derives it from the file's name
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
