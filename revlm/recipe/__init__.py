"""The recipe: everything that decides a training run, as one frozen, strictly validated value.

A recipe is a YAML file. `load_recipe` reads it (or a bundled one by name), applies `key=value` overrides and
reports every problem at once; `Recipe.to_yaml` writes the resolved recipe, which loads as an equal one.
"""

from revlm.recipe.data import Data, Stream
from revlm.recipe.loading import bundled_recipes, find_recipe, load_recipe, recipe_schema
from revlm.recipe.model import MAX_ROUNDS, NUMBERS_OF_BUCKETS, LayerKind, Model
from revlm.recipe.recipe import Recipe
from revlm.recipe.section import parse_size
from revlm.recipe.training import LoggingBackend, Train

__all__ = [
    "MAX_ROUNDS",
    "NUMBERS_OF_BUCKETS",
    "Data",
    "LayerKind",
    "LoggingBackend",
    "Model",
    "Recipe",
    "Stream",
    "Train",
    "bundled_recipes",
    "find_recipe",
    "load_recipe",
    "parse_size",
    "recipe_schema",
]
