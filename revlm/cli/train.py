"""`revlm train`: parses, shows the records of the loop."""

from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="a recipe file, or the name of a bundled recipe")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="such as train.max_steps=10")
    ] = None,
) -> None:
    """Train a model, or go on where its run stands.

    Example: revlm train demo train.max_steps=10
    """
    from revlm.cli.display import Display
    from revlm.recipe import load_recipe
    from revlm.training import train as train_records

    loaded = load_recipe(recipe, overrides or [])
    with Display(loaded.train.max_steps, logging_every=loaded.logging.every) as display:
        for record in train_records(loaded, display.message):
            display.show(record)
    typer.echo(str(loaded.output_dir))
