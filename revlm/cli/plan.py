"""`revlm plan`: the memory of a recipe by category and phase, whether it fits, and sweeps over one key."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from revlm.cli.options import PATH, AsJson, Overrides, RecipeName
from revlm.cli.terminal.streams import print_json, print_message
from revlm.errors import UsageError

if TYPE_CHECKING:
    from revlm.planning import FittedPlan
    from revlm.recipe import Recipe
    from revlm.runs import Start

DEFAULT_VOCAB_SIZE = 2048


def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            show_default=False,
            help="Vocabulary size; default: that of data.path or data.tokenizer, else 2048.",
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=N,N,...", help="Plan several values of a key, with reversible and with stored activations."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE.png", **PATH, help="Plot the sweep.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Also measure real steps on random tokens.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict the peak memory of a training step by category and phase, before anything runs.

    The peaks do not include the memory of the process before the model. The device is the recipe's; to plan for CUDA on
    a machine without it, give memory.limit to see what fits.

    Examples:
      revlm plan novel-64k data.seq_len=131072 memory.limit=8GB
      revlm plan demo --sweep model.n_layers=2,8,32 --measure --output depth.png
    """
    from revlm.cli.terminal.plan_tables import print_plan
    from revlm.recipe import load_recipe
    from revlm.runs import list_checkpoints, read_start

    if output is not None and (sweep is None or output.suffix != ".png"):
        raise UsageError(
            f"--output {output} plots a sweep as PNG: give --sweep KEY=N,N,... and a name that ends in .png"
        )
    if output is not None and not output.parent.is_dir():
        raise UsageError(
            f"the folder of --output {output} does not exist: create {output.parent}, or give another path"
        )
    loaded = load_recipe(recipe, overrides or [])
    is_begun = bool(list_checkpoints(loaded.output_dir))
    start = None if is_begun else read_start(loaded, print_message)
    chosen_vocab_size = vocab_size or (_vocab_size(loaded) if start is None else start.vocab_size)
    if sweep is not None:
        _run_sweep(recipe, overrides or [], sweep, chosen_vocab_size, output, measure, as_json, start)
        return
    described = _describe(loaded, chosen_vocab_size, measure, start)
    if as_json:
        print_json(described, indent=2)
    else:
        print_plan(described)


def _vocab_size(recipe: "Recipe") -> int:
    from revlm.corpus import open_tokenizer
    from revlm.corpus.store import read_manifest

    if recipe.data.tokenizer is not None:
        return open_tokenizer(recipe.data.tokenizer).vocab_size
    path = recipe.data.paths[0]  # all token stores share one tokenizer
    if path.exists():
        return read_manifest(path).tokenizer.vocab_size
    print_message(f"no tokens in {path} yet: assuming a vocabulary of {DEFAULT_VOCAB_SIZE:,} (--vocab-size)")
    return DEFAULT_VOCAB_SIZE


def _describe(recipe: "Recipe", vocab_size: int, measure: bool, start: "Start | None" = None) -> dict[str, Any]:
    """The JSON object of one plan; with `measure`, also the peaks of real steps. `start` decides the buckets."""
    from revlm.model.precision import resolve_precision
    from revlm.planning import fit_plan
    from revlm.training.resolving import with_stored_buckets

    settings = {} if start is None else start.settings
    recipe = recipe.model_copy(update={"model": with_stored_buckets(recipe, settings)})
    fitted = fit_plan(recipe, vocab_size)
    plan, limit = fitted.plan, fitted.limit
    return {
        "device": fitted.device,
        "precision": resolve_precision(recipe.train.precision, fitted.device),
        "reversible": recipe.model.reversible,
        "n_layers": recipe.model.n_layers,
        "seq_len": plan.seq_len,
        "vocab_size": vocab_size,
        "n_buckets": recipe.model.n_buckets,
        "started_from": None if start is None else start.record(),
        "peaks": plan.peaks,
        "peak_bytes": plan.peak_bytes,
        "process_bytes": plan.process_bytes,
        "total_bytes": plan.total_bytes,
        "sequence_parallel": plan.sequence_parallel,
        "sent_bytes": plan.sent_bytes,
        "limit_bytes": None if limit is None else limit.size_bytes,
        "limit_owner": None if limit is None else limit.owner,
        "fits": fitted.fits,
        "longest_seq_len": fitted.longest_seq_len,
        "measured": _measured(recipe, vocab_size, fitted) if measure else None,
    }


def _measured(recipe: "Recipe", vocab_size: int, fitted: "FittedPlan") -> dict[str, int] | None:
    """The peaks of real steps; None, with a message, if they do not fit or this machine lacks the device."""
    import torch

    from revlm.text import human_bytes

    tokens, limit = fitted.plan.seq_len, fitted.limit
    if recipe.train.device.startswith("cuda") and not torch.cuda.is_available():
        print_message("not measured: this machine has no CUDA device")
        return None
    if limit is not None and not fitted.fits:
        room = f"{human_bytes(limit.size_bytes)} that {limit.owner}"
        print_message(f"not measured: {tokens:,} tokens do not fit into the {room}")
        return None
    from revlm.training.measurement import measure_step

    print_message(f"measuring steps of {tokens:,} tokens, {recipe.model.n_layers} layers ...")
    return measure_step(recipe, vocab_size)


def _run_sweep(
    recipe: str,
    overrides: list[str],
    sweep: str,
    vocab_size: int,
    output: Path | None,
    measure: bool,
    as_json: bool,
    start: "Start | None" = None,
) -> None:
    """Prints the plans for several values of one key, reversible and stored; plots them to `output` if given."""
    from revlm.cli.terminal.plan_tables import MODES, print_sweep
    from revlm.recipe import load_recipe

    key, values = _parse_sweep(sweep)
    rows: list[dict[str, Any]] = []
    for value in values:
        row: dict[str, Any] = {"value": value}
        for mode in MODES:
            changed = [*overrides, f"{key}={value}", f"model.reversible={str(mode == 'reversible').lower()}"]
            described = _describe(load_recipe(recipe, changed), vocab_size, measure, start)
            measured = described["measured"]
            row[mode] = {name: described[name] for name in ("peak_bytes", "total_bytes", "fits")}
            row[mode]["measured_peak_bytes"] = max(measured.values()) if measured else None
        rows.append(row)
    # Printed first: measurements that took long are not lost if the plot cannot be written.
    if as_json:
        print_json({"key": key, "vocab_size": vocab_size, "rows": rows}, indent=2)
    else:
        print_sweep(key, rows)
    if output is not None:
        _plot_sweep(key, rows, output)
        if not as_json:
            print_message(f"wrote {output}")


def _parse_sweep(sweep: str) -> tuple[str, list[int]]:
    key, _, listed = sweep.partition("=")
    values = listed.split(",")
    if not key or not all(value.strip().isdecimal() for value in values):
        raise UsageError(f"--sweep {sweep} should be KEY=N,N,... with whole numbers, such as model.n_layers=2,8,32")
    return key.strip(), sorted({int(value) for value in values})


def _plot_sweep(key: str, rows: list[dict[str, Any]], output: Path) -> None:
    from revlm.cli.terminal.plan_tables import MODES
    from revlm.report import Curve, write_sweep

    values = [row["value"] for row in rows]
    curves = [
        Curve(mode, values, *([row[mode][name] for row in rows] for name in ("peak_bytes", "measured_peak_bytes")))
        for mode in MODES
    ]
    write_sweep(output, key, curves)
