"""`revlm checkpoint`: lists, verifies, exports and prunes checkpoints."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revlm.cli.options import PATH, STYLE, AsJson, Run, Step, open_run
from revlm.cli.terminal.streams import print_json, print_message

if TYPE_CHECKING:
    from revlm.runs import RunFolder

app = typer.Typer(
    name="checkpoint",
    help="List, verify, export or prune the checkpoints of a run.\n\nExample: revlm checkpoint verify --run runs/demo",
    **STYLE,
)

_FORMATS = ("safetensors", "huggingface")


@app.command("list")
def list_command(run: Run = None, as_json: AsJson = False) -> None:
    """List the checkpoints of a run, with their sizes.

    Example: revlm checkpoint list --run runs/demo
    """
    from revlm.runs import list_checkpoints

    rows = []
    for path in list_checkpoints(open_run(run)):
        with suppress(FileNotFoundError):  # a training run has just pruned it
            rows.append({"path": str(path), "bytes": sum(file.stat().st_size for file in path.iterdir())})
    if as_json:
        print_json({"checkpoints": rows}, indent=2)
        return
    for row in rows:
        typer.echo(f"{row['path']}  {row['bytes']:>15,} bytes")
    if not rows:
        print_message("no checkpoint yet")


@app.command("verify")
def verify_command(run: Run = None, as_json: AsJson = False) -> None:
    """Verify the files of every checkpoint by their sha256.

    The exit code is 6 if a checkpoint is damaged. This also checks that the run's recipe and tokenizer are those of its
    newest checkpoint.

    Example: revlm checkpoint verify --run runs/demo
    """
    from revlm.corpus import Tokenizer
    from revlm.errors import StorageError
    from revlm.runs import (
        list_checkpoints,
        load_checkpoint,
        load_run_recipe,
        require_matching_checkpoint,
        verify_checkpoint,
    )

    folder = open_run(run)
    found = {str(path): verify_checkpoint(path) for path in list_checkpoints(folder)}
    if as_json:
        print_json({"checkpoints": found}, indent=2)
    else:
        for path, problems in found.items():
            typer.echo(f"{path}  {'; '.join(problems) or 'intact'}")
    damaged = [path for path, problems in found.items() if problems]
    if damaged:
        raise StorageError(
            f"{len(damaged)} of {len(found)} checkpoints of {folder} are damaged: remove them; "
            "`revlm train` resumes from the newest intact one"
        )
    if not found:
        raise StorageError(f"no checkpoint in {folder}: train the run first with `revlm train`")
    checkpoint = load_checkpoint(list_checkpoints(folder)[-1], groups=())
    fingerprint = Tokenizer.load(folder.path).fingerprint
    require_matching_checkpoint(folder, load_run_recipe(folder), fingerprint, checkpoint)


@app.command("export")
def export_command(
    target: Annotated[
        Path | None, typer.Argument(metavar="TARGET", **PATH, help="The new file or folder to write; or give -o.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="TARGET", **PATH, help="The new file or folder to write.")
    ] = None,
    run: Run = None,
    step: Step = None,
    layout: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help="Layout: safetensors (a file of weights) or huggingface (a folder)."
        ),
    ] = "safetensors",
    licence: Annotated[
        str, typer.Option("--license", metavar="ID", help="The hub's identifier of the licence, for the model card.")
    ] = "unknown",
) -> None:
    """Write the weights of a checkpoint to a safetensors file, or a folder that transformers loads.

    The folder of --format huggingface holds weights, tokenizer, configuration and a model card; `from_pretrained` of
    transformers opens it, and so does `revlm generate --run`.

    Examples:
      revlm checkpoint export weights.safetensors --run runs/demo --step 20
      revlm checkpoint export --format huggingface --run runs/demo -o demo-model
    """
    from revlm.errors import StorageError, UsageError
    from revlm.runs import checkpoint_path, export_weights, newest_checkpoint

    if (target is None) == (output is None):
        raise UsageError("the target is missing or given twice: give one new file or folder, as in -o TARGET")
    written = target if output is None else output
    assert written is not None
    if layout not in _FORMATS:
        raise UsageError(f"--format is {layout!r}: give one of {', '.join(_FORMATS)}")
    folder = open_run(run)
    if layout == "huggingface":
        typer.echo(_export_for_huggingface(folder, written, step, licence))
        return
    path = newest_checkpoint(folder, report=print_message) if step is None else checkpoint_path(folder, step)
    if path is None:
        raise StorageError(f"no checkpoint in {folder}: train the run first with `revlm train`")
    typer.echo(export_weights(path, written))


@app.command("prune")
def prune_command(
    keep_last: Annotated[int, typer.Option(metavar="N", min=1, help="Number of newest intact checkpoints to keep.")],
    run: Run = None,
    as_json: AsJson = False,
    keep_every: Annotated[
        int, typer.Option(metavar="N", min=0, help="Also keep checkpoints of every N-th step; 0: none.")
    ] = 0,
) -> None:
    """Remove all checkpoints of a run except for the newest intact ones.

    Example: revlm checkpoint prune --run runs/demo --keep-last 1 --keep-every 1000
    """
    from revlm.runs import prune_to_intact

    folder = open_run(run)
    with folder.lock():
        removed = [str(path) for path in prune_to_intact(folder, keep_last, keep_every)]
    typer.echo(json.dumps({"removed": removed}, indent=2) if as_json else "\n".join(removed or ["nothing to remove"]))


def _export_for_huggingface(folder: "RunFolder", target: Path, step: int | None, licence: str) -> Path:
    from revlm.errors import UsageError
    from revlm.generation import load_model

    try:
        from revlm.huggingface import export_model
    except ImportError as error:
        raise UsageError(
            f"--format huggingface needs transformers, which cannot be imported ({error}): "
            "`pip install 'revlm[huggingface]'`"
        ) from error
    return export_model(load_model(folder, "cpu", step, print_message), folder, target, licence)
