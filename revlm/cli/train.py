"""`revlm train`: runs the training loop and displays its records."""

from typing import Annotated

import typer

from revlm.cli.options import Overrides, RecipeName


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Run one step and write nothing.")] = False,
    allow_change: Annotated[
        bool,
        typer.Option(
            "--allow-change", help="Resume even if recipe, tokenizer or tokens have changed since the checkpoint."
        ),
    ] = False,
) -> None:
    """Train a model, or resume its run from the newest checkpoint.

    If the recipe, the tokenizer or the tokens have changed since the checkpoint, the command lists the changes and
    stops; --allow-change resumes anyway.

    SIGTERM, SIGINT (Ctrl-C), SIGHUP, SIGUSR1 and SIGUSR2 save a checkpoint and end with exit code 75: run the same
    command again to resume.

    Under torchrun and srun, each rank trains on its share of the train.gradient_accumulation_steps examples of a step;
    with train.sequence_parallel=P, P ranks share each example.

    Examples:
      revlm train demo train.max_steps=10
      torchrun --nproc-per-node 2 -m revlm train demo train.gradient_accumulation_steps=2
      torchrun --nproc-per-node 4 -m revlm train demo train.sequence_parallel=4
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
    is_rank0 = launch_of(os.environ).is_rank0
    with (
        Display(total_steps, Terminal(stderr=True, quiet=not is_rank0), loaded.logging.every) as display,
        StopSignals(display.message, "stopping after this example, with a checkpoint") as signals,
    ):
        from revlm.training import train as train_records  # takes seconds; signals are already handled

        records = train_records(
            loaded, display.message, lambda: signals.name, dry_run=dry_run, allow_change=allow_change
        )
        for record in records:
            if "console" in loaded.logging.backends:
                display.show(record)
    if is_rank0:
        print_outcome("dry run: ran one step and wrote nothing" if dry_run else str(loaded.output_dir))
