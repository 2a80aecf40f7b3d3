"""One plan as `revlm plan` shows it: peaks, limits, and on request the measured peaks of real steps."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from revlm.planning import Plan
    from revlm.recipe import Recipe
    from revlm.runs import MemoryLimit


def planned_device(recipe: "Recipe") -> tuple[str, "MemoryLimit | None"]:
    """The type of a recipe's device, and its memory limit; None if the limit is unknown on this machine."""
    import torch

    from revlm.planning import planning_limit
    from revlm.runs import MemoryLimit, choose_device

    word = recipe.train.device
    if word.startswith("cuda") and not torch.cuda.is_available():
        given = recipe.memory.limit
        return "cuda", None if given is None else MemoryLimit(given, "memory.limit allows")
    device = choose_device(word)
    return device.type, planning_limit(recipe, device)


def describe_plan(recipe: "Recipe", vocab_size: int, measure: bool) -> dict[str, Any]:
    """One plan as a JSON object: peaks, whether it fits, and with `measure` the peaks of real steps."""
    from revlm.model.precision import resolve_precision
    from revlm.planning import longest_seq_len, plan_memory

    device, limit = planned_device(recipe)
    planned = plan_memory(recipe, vocab_size, device)
    fits = None if limit is None else planned.total_bytes <= limit.size_bytes
    longest = None if limit is None else longest_seq_len(recipe, vocab_size, device, limit.size_bytes)
    measured = _measured(recipe, vocab_size, planned, limit) if measure else None
    return {
        "device": device,
        "precision": resolve_precision(recipe.train.precision, device),
        "reversible": recipe.model.reversible,
        "n_layers": recipe.model.n_layers,
        "seq_len": planned.seq_len,
        "vocab_size": vocab_size,
        "peaks": planned.peaks,
        "peak_bytes": planned.peak_bytes,
        "process_bytes": planned.process_bytes,
        "total_bytes": planned.total_bytes,
        "limit_bytes": None if limit is None else limit.size_bytes,
        "limit_owner": None if limit is None else limit.owner,
        "fits": fits,
        "longest_seq_len": longest,
        "measured": measured,
    }


def _measured(recipe: "Recipe", vocab_size: int, planned: "Plan", limit: "MemoryLimit | None") -> dict[str, int] | None:
    """The peaks of real steps; None, with a message, if they do not fit or this machine lacks the device."""
    import torch

    from revlm.text import human_bytes

    if recipe.train.device.startswith("cuda") and not torch.cuda.is_available():
        typer.echo("not measured: this machine has no CUDA device", err=True)
        return None
    if limit is not None and planned.total_bytes > limit.size_bytes:
        room = f"{human_bytes(limit.size_bytes)} that {limit.owner}"
        typer.echo(f"not measured: {planned.seq_len:,} tokens do not fit into the {room}", err=True)
        return None
    from revlm.training.measurement import measure_step

    typer.echo(f"measuring steps of {planned.seq_len:,} tokens, {recipe.model.n_layers} layers ...", err=True)
    return measure_step(recipe, vocab_size)
