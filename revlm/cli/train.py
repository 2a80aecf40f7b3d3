"""`revlm train`: parses, shows the records of the loop."""

from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="a recipe file, or the name of a bundled recipe")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="such as train.max_steps=10")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="do one step and write nothing")] = False,
    allow_change: Annotated[
        bool,
        typer.Option(
            "--allow-change", help="go on also where recipe, tokenizer or tokens changed since the checkpoint"
        ),
    ] = False,
) -> None:
    """Train a model, or go on where its run stands.

    A run whose recipe, tokenizer or tokens have changed is refused, with what changed; --allow-change goes on.
    SIGTERM, SIGINT (Ctrl-C), SIGHUP, SIGUSR1 and SIGUSR2 save the run and end with exit code 75: run the same command
    again to go on.
    Under torchrun and srun the processes train together, each on its part of the train.gradient_accumulation_steps
    examples of a step.

    Examples:
      revlm train demo train.max_steps=10
      torchrun --nproc-per-node 2 -m revlm train demo train.gradient_accumulation_steps=2
    """
    import os

    from revlm.cli.terminal.console import Terminal
    from revlm.cli.terminal.display import Display
    from revlm.cli.terminal.signals import StopSignals
    from revlm.cli.terminal.streams import print_outcome
    from revlm.launch import launch_of
    from revlm.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    total_steps = 1 if dry_run else loaded.train.max_steps
    is_first = launch_of(os.environ).is_first
    with (
        Display(total_steps, Terminal(stderr=True, quiet=not is_first), loaded.logging.every) as display,
        StopSignals(display.message, "stopping after this example, with a checkpoint") as signals,
    ):
        from revlm.training import train as train_records  # takes seconds, in which signals are already heard

        records = train_records(
            loaded, display.message, lambda: signals.name, dry_run=dry_run, allow_change=allow_change
        )
        for record in records:
            if "console" in loaded.logging.backends:
                display.show(record)
    if is_first:
        print_outcome("dry run: one step was done and nothing written" if dry_run else str(loaded.output_dir))
