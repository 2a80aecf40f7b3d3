"""`revlm checkpoint`: lists, verifies, exports and prunes checkpoints."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revlm.cli.options import PATH, STYLE, AsJson, Run, Step
from revlm.cli.terminal.streams import print_json

if TYPE_CHECKING:
    from revlm.runs import RunFolder

app = typer.Typer(
    name="checkpoint",
    help="List, verify, export or prune the checkpoints of a run.\n\nExample: revlm checkpoint verify --run runs/demo",
    **STYLE,
)


@app.command("list")
def list_command(run: Run = None, as_json: AsJson = False) -> None:
    """List the checkpoints of a run, with their sizes.

    Example: revlm checkpoint list --run runs/demo
    """
    from revlm.runs import list_checkpoints

    rows = []
    for path in list_checkpoints(_open(run)):
        with suppress(FileNotFoundError):  # a training run has just pruned it
            rows.append({"path": str(path), "bytes": sum(file.stat().st_size for file in path.iterdir())})
    if as_json:
        print_json({"checkpoints": rows}, indent=2)
        return
    for row in rows:
        typer.echo(f"{row['path']}  {row['bytes']:>15,} bytes")
    if not rows:
        typer.echo("no checkpoint yet", err=True)


@app.command("verify")
def verify_command(run: Run = None, as_json: AsJson = False) -> None:
    """Verify the files of every checkpoint by their sha256.

    The exit code is 6 if a checkpoint is damaged. This also checks that the run's recipe and tokenizer are those of its
    newest checkpoint.

    Example: revlm checkpoint verify --run runs/demo
    """
    from revlm.corpus import Tokenizer
    from revlm.errors import StorageError
    from revlm.runs import list_checkpoints, load_checkpoint, load_own_recipe, require_own, verify_checkpoint

    folder = _open(run)
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
    require_own(folder, load_own_recipe(folder), fingerprint, checkpoint.step, checkpoint.state)


@app.command("export")
def export_command(
    target: Annotated[Path, typer.Argument(metavar="FILE", **PATH, help="The safetensors file to write.")],
    run: Run = None,
    step: Step = None,
) -> None:
    """Write the weights of a checkpoint to a safetensors file.

    Example: revlm checkpoint export weights.safetensors --run runs/demo --step 20
    """
    from revlm.errors import StorageError
    from revlm.runs import checkpoint_path, export_weights, newest_checkpoint

    folder = _open(run)
    if step is None:
        path = newest_checkpoint(folder, report=lambda message: typer.echo(message, err=True))
    else:
        path = checkpoint_path(folder, step)
    if path is None:
        raise StorageError(f"no checkpoint in {folder}: train the run first with `revlm train`")
    typer.echo(export_weights(path, target))


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

    folder = _open(run)
    with folder.lock():
        removed = [str(path) for path in prune_to_intact(folder, keep_last, keep_every)]
    typer.echo(json.dumps({"removed": removed}, indent=2) if as_json else "\n".join(removed or ["nothing to remove"]))


def _open(run: Path | None) -> "RunFolder":
    from revlm.runs import RunFolder, newest_run

    return newest_run() if run is None else RunFolder.open(run)
