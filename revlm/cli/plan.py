"""`revlm plan`: the memory of a recipe by category and phase, whether it fits, and sweeps over one key."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from revlm.cli.paths import PATH
from revlm.cli.terminal.streams import print_json

if TYPE_CHECKING:
    from revlm.recipe import Recipe

DEFAULT_VOCAB_SIZE = 2048


def plan(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="recipe file, or name of a bundled recipe")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="such as data.seq_len=131072")
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(min=1, help="default: that of data.path or data.tokenizer, else 2048", show_default=False),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=N,N,...", help="plan several values of a key, with reversible and with stored activations"
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE.png", **PATH, help="plot the sweep")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="also measure real steps on random tokens")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Predict the peak memory of a training step by category and phase, before anything runs.

    The peaks do not include the memory of the process before the model. The device is the recipe's; to plan for CUDA on
    a machine without it, give memory.limit to see what fits.

    Examples:
      revlm plan novel-64k data.seq_len=131072 memory.limit=8GB
      revlm plan demo --sweep model.n_layers=2,8,32 --measure --output depth.png
    """
    from revlm.cli.plan_sweep import run_sweep
    from revlm.cli.planned import describe_plan
    from revlm.errors import UsageError
    from revlm.recipe import load_recipe

    if output is not None and (sweep is None or output.suffix != ".png"):
        raise UsageError(
            f"--output {output} plots a sweep as PNG: give --sweep KEY=N,N,... and a name that ends in .png"
        )
    if output is not None and not output.parent.is_dir():
        raise UsageError(
            f"the folder of --output {output} does not exist: create {output.parent}, or give another path"
        )
    loaded = load_recipe(recipe, overrides or [])
    chosen_vocab_size = _vocab_size(loaded, vocab_size)
    if sweep is not None:
        run_sweep(recipe, overrides or [], sweep, chosen_vocab_size, output, measure, as_json)
        return
    described = describe_plan(loaded, chosen_vocab_size, measure)
    if as_json:
        print_json(described, indent=2)
    else:
        _print_plan(described)


def _vocab_size(recipe: "Recipe", given: int | None) -> int:
    if given is not None:
        return given
    from revlm.corpus import open_tokenizer
    from revlm.corpus.store import read_manifest

    if recipe.data.tokenizer is not None:
        return open_tokenizer(recipe.data.tokenizer).vocab_size
    path = recipe.data.paths[0]  # all token folders share one tokenizer
    if path.exists():
        return read_manifest(path).tokenizer.vocab_size
    typer.echo(
        f"no tokens in {path} yet: assuming a vocabulary of {DEFAULT_VOCAB_SIZE:,} (--vocab-size)",
        err=True,
    )
    return DEFAULT_VOCAB_SIZE


def _print_plan(described: dict[str, Any]) -> None:
    from rich.table import Table

    from revlm.cli.terminal.tables import print_line, print_table
    from revlm.planning import CATEGORIES
    from revlm.text import human_bytes

    mode = "reversible" if described["reversible"] else "stored"
    table = Table(
        title=f"{described['seq_len']:,} tokens, {described['n_layers']} layers, {mode}, {described['precision']}, "
        f"{described['device']}",
        title_justify="left",
    )
    table.add_column("at the peak of")
    peaks = described["peaks"]
    for phase in peaks:
        table.add_column(phase, justify="right")
    for category, name in CATEGORIES.items():
        row = [peaks[phase][category] for phase in peaks]
        if any(row):
            table.add_row(name, *(human_bytes(size) if size else "" for size in row))
    table.add_section()
    table.add_row("planned", *(human_bytes(sum(peak.values())) for peak in peaks.values()), style="bold")
    if described["measured"]:
        table.add_row("measured", *(human_bytes(described["measured"][phase]) for phase in peaks), style="bold")
    print_table(table)
    print_line(
        f"peak {human_bytes(described['peak_bytes'])}; including the process before the model "
        f"{human_bytes(described['total_bytes'])}"
    )
    print_line(_verdict(described))


def _verdict(described: dict[str, Any]) -> str:
    from revlm.text import human_bytes

    if described["fits"] is None:
        return "whether it fits is unknown: give memory.limit"
    fits = "fits into" if described["fits"] else "does not fit into"
    verdict = f"{fits} the {human_bytes(described['limit_bytes'])} that {described['limit_owner']}"
    longest = described["longest_seq_len"]
    return f"{verdict}; " + (f"the longest data.seq_len that fits is {longest:,}" if longest else "1,024 tokens do not")
