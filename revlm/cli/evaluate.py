"""`revlm evaluate`: bits per byte of held-out documents, each and together, and loss by position."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from revlm.evaluation import Evaluation, Score


def evaluate(
    run: Annotated[Path | None, typer.Option(help="run folder; by default the newest under ./runs")] = None,
    data: Annotated[Path | None, typer.Option(help="score all documents of this token folder instead")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Score a trained model on the documents that its run held out: nats a token and bits per byte.

    Every token is scored once, with the text before it in its document, as far as data.seq_len reaches: a longer
    document is scored in pieces of that length.

    Example: revlm evaluate --run runs/novels
    """
    from revlm.evaluation import evaluate_run
    from revlm.generation import load_model
    from revlm.runs import newest_run

    folder = newest_run().path if run is None else run
    trained = load_model(folder, device)
    evaluation = evaluate_run(trained, data, lambda title: typer.echo(f"scoring {title}", err=True))
    if as_json:
        described = {
            "run": str(folder),
            "step": trained.step,
            "data": evaluation.data,
            "seq_len": evaluation.seq_len,
            "total": _score(evaluation.total),
            "documents": [{"title": title, **_score(score)} for title, score in evaluation.documents],
            "positions": [
                {"first": first, "last": last, "tokens": tokens, "loss": loss}
                for first, last, tokens, loss in evaluation.by_position.bins()
            ],
        }
        typer.echo(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{folder}, step {trained.step:,}, on {evaluation.data}")
        _print_tables(evaluation)


def _score(score: "Score") -> dict[str, Any]:
    return {"tokens": score.tokens, "bytes": score.bytes, "loss": score.loss, "bits_per_byte": score.bits_per_byte}


def _print_tables(evaluation: "Evaluation") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from revlm.report.units import visible_text

    console = Console()
    documents = Table()
    documents.add_column("document")
    for name in ("tokens", "bytes", "nats/token", "bits/byte"):
        documents.add_column(name, justify="right")
    for title, score in evaluation.documents:
        documents.add_row(Text(visible_text(title)), *_cells(score))
    documents.add_section()
    documents.add_row("total", *_cells(evaluation.total), style="bold")
    console.print(documents)
    positions = Table()
    for name in ("position in document", "tokens", "nats/token"):
        positions.add_column(name, justify="right")
    for first, last, tokens, loss in evaluation.by_position.bins():
        positions.add_row(f"{first:,}" if first == last else f"{first:,}-{last:,}", f"{tokens:,}", f"{loss:.4f}")
    console.print(positions)
    typer.echo(
        "every token was scored once, with the text before it in its document "
        f"within data.seq_len = {evaluation.seq_len:,} tokens"
    )


def _cells(score: "Score") -> list[str]:
    return [f"{score.tokens:,}", f"{score.bytes:,}", f"{score.loss:.4f}", f"{score.bits_per_byte:.4f}"]
