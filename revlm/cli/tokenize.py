"""`revlm tokenize`: documents to tokens on disk."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from revlm.corpus import TokenizeSummary


def tokenize(
    corpus: Annotated[
        Path,
        typer.Argument(
            metavar="CORPUS",
            help="A folder, a quoted pattern such as 'books/**/*.txt', or one file: "
            ".txt, .md, .jsonl (.gz or .zst after it), .parquet, .epub.",
        ),
    ],
    output_dir: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="The token store; default data/<name of CORPUS>."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A SentencePiece model, or `bytes`; default: train one on the corpus."),
    ] = None,
    vocab_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Vocabulary of the tokenizer that is trained.")
    ] = 2048,
    errors: Annotated[
        Literal["strict", "skip"],
        typer.Option(help="At a file or text that cannot be used: stop, or list it and go on."),
    ] = "strict",
    text_column: Annotated[
        str, typer.Option(metavar="NAME", help="The column of the text in .jsonl and .parquet files.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Turns a folder of texts into tokens on disk, without loss, and lists every file that was skipped.

    Example: revlm tokenize novels -o data/novels --vocab-size 2048
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from revlm.corpus import tokenize_corpus

    columns = (
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        summary = tokenize_corpus(
            corpus,
            output_dir or default_output(corpus),
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            errors=errors,
            text_column=text_column,
            progress=lambda done, total, title: bar.update(task, completed=done, total=total, description=title),
        )
    if as_json:
        typer.echo(json.dumps(_as_dict(summary), ensure_ascii=False))
    else:
        _print(summary)


def default_output(corpus: Path) -> Path:
    """`data/<name of CORPUS>`: the folder's name, or the file's without its ending."""
    resolved = corpus.resolve()
    name = resolved.name if resolved.is_dir() else resolved.stem
    return Path("data") / (name or "corpus")


def _as_dict(summary: "TokenizeSummary") -> dict[str, object]:
    from dataclasses import asdict

    return asdict(summary) | {"output_dir": str(summary.output_dir)}


def _print(summary: "TokenizeSummary") -> None:
    """A table of the documents and what was removed, and a list of what was skipped, on standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("document", show_footer=True)
    table.columns[0].footer = f"{len(summary.documents)} document{'s' * (len(summary.documents) != 1)}"
    removed = sum(document.cleaning.removed_bytes for document in summary.documents)
    for heading, total in (("tokens", summary.tokens), ("bytes", summary.bytes), ("bytes removed", removed)):
        table.add_column(heading, footer=f"{total:,}", justify="right")
    for document in summary.documents:
        sizes = (document.tokens, document.bytes, document.cleaning.removed_bytes)
        table.add_row(Text(document.title), *(f"{size:,}" for size in sizes))
    console = Console()
    console.print(table)
    cleaning = summary.cleaning
    lines = [
        f"normalised: {cleaning.byte_order_marks:,} byte order marks, "
        f"{cleaning.crlf_line_ends:,} CRLF line ends, "
        f"{cleaning.lone_carriage_returns:,} lone carriage returns",
        f"Project Gutenberg matter removed: {cleaning.gutenberg_front_bytes:,} bytes in front, "
        f"{cleaning.gutenberg_back_bytes:,} bytes at the back",
        *(f"skipped {each.path}: {each.reason}" for each in summary.skipped),
        f"{summary.output_dir}: {summary.tokens:,} tokens, "
        f"{summary.tokenizer} vocabulary {summary.vocab_size:,}, {summary.seconds:.1f} s",
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)
