"""`revlm recipes`: the bundled recipes, and the schema of all recipes."""

from typing import Annotated

import typer

from revlm.cli.options import AsJson
from revlm.cli.terminal.streams import print_json
from revlm.errors import UsageError


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Bundled recipe, or recipe file.", show_default=False),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of recipes, for editors.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the bundled recipes, or print one as YAML with its comments.

    With --json, a recipe is printed resolved: every key with its value.

    Example: revlm recipes demo > mine.yaml
    """
    from revlm.recipe import bundled_recipes, find_recipe, load_recipe, recipe_schema

    if schema and name is not None:
        raise UsageError(f"--schema prints the schema of all recipes: leave {name} out")
    if schema:
        print_json(recipe_schema(), indent=2)
    elif name is not None and as_json:
        print_json(load_recipe(name).model_dump(mode="json"), indent=2)
    elif name is not None:
        load_recipe(name)  # rejects a file that is not a recipe
        typer.echo(find_recipe(name).read_text(encoding="utf-8"), nl=False)
    else:
        first_comments = {name: _first_comment(path.read_text()) for name, path in bundled_recipes().items()}
        _print_list(first_comments, as_json)


def _print_list(first_comments: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json({"recipes": first_comments}, indent=2)
        return
    width = max(map(len, first_comments))
    for name, comment in first_comments.items():
        typer.echo(f"{name:<{width}}  {comment}")


def _first_comment(text: str) -> str:
    """The purpose of a bundled recipe, from its first line, `# name: purpose`."""
    return text.partition("\n")[0].lstrip("# ").partition(": ")[2]
