"""`revlm tokenize`: documents to tokens on disk."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from revlm.corpus import TokenizeSummary
    from revlm.corpus.sources import Source


def tokenize(
    corpus: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS",
            help="A folder, a quoted pattern such as 'books/**/*.txt', or one file: "
            ".txt, .md, .jsonl (.gz or .zst after it), .parquet, .epub; or hf:owner/name, a dataset of the hub.",
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
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Of a dataset of the hub; default train.")] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="NAME", help="Branch, tag or commit of a dataset of the hub.")
    ] = None,
    config: Annotated[str | None, typer.Option(metavar="NAME", help="Configuration of a dataset of the hub.")] = None,
    deduplicate: Annotated[
        bool, typer.Option("--deduplicate", help="Leave out texts that are there already, also as another edition.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that encode; default: one a core.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on where the same work was killed, or begin again.")
    ] = True,
    show_removed: Annotated[
        bool, typer.Option("--show-removed", help="Print what cleaning takes from each text, and write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Turns a folder of texts into tokens on disk, without loss, and lists every file that was skipped.

    Ctrl-C and SIGTERM end it with exit code 75, and a kill loses little: the same command goes on.

    Example: revlm tokenize novels -o data/novels --vocab-size 2048
    """
    from revlm.cli.signals import StopSignals
    from revlm.cli.tokenize_progress import TokenizeProgress
    from revlm.corpus import tokenize_corpus
    from revlm.corpus.sources import open_source

    if show_removed:
        _print_removed(
            open_source(corpus, errors=errors, text_column=text_column, split=split, revision=revision, config=config)
        )
        return
    with TokenizeProgress() as bar, StopSignals(bar.message, "stopping after this block") as signals:
        summary = tokenize_corpus(
            corpus,
            output_dir or default_output(corpus),
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            errors=errors,
            text_column=text_column,
            split=split,
            revision=revision,
            config=config,
            deduplicate=deduplicate,
            workers=workers,
            resume=resume,
            progress=bar.show,
            message=bar.message,
            stop=lambda: signals.name,
        )
    if as_json:
        typer.echo(json.dumps(_as_dict(summary), ensure_ascii=False))
    else:
        _print(summary)


def default_output(corpus: str) -> Path:
    """`data/<name of CORPUS>`: the folder's name, or the file's without its ending; of hf:owner/name the name."""
    resolved = Path(corpus.removeprefix("hf:")).resolve()
    name = resolved.name if resolved.is_dir() else resolved.stem
    return Path("data") / (name or "corpus")


def _print_removed(source: "Source") -> None:
    """Prints, document by document, what stood before and after the text, and how many line ends changed."""
    from revlm.corpus.events import START, Dropped, Ended

    for event in source.events(START):
        if isinstance(event, Dropped):
            typer.echo(f"== {event.skipped.path}: no document, {event.skipped.reason}")
        if isinstance(event, Ended):
            counts = event.cleaning
            typer.echo(
                f"== {event.source}: {counts.removed_bytes:,} bytes removed "
                f"({counts.byte_order_marks} byte order marks, {counts.crlf_line_ends:,} CRLF line ends), "
                f"{counts.lone_carriage_returns:,} lone carriage returns normalised"
            )
            for name, removed in (("front", event.front), ("back", event.back)):
                if removed:
                    typer.echo(f"-- {name}: {len(removed.encode()):,} bytes\n{removed.rstrip()}")


def _as_dict(summary: "TokenizeSummary") -> dict[str, object]:
    from dataclasses import asdict

    from revlm.corpus.store import TokenStore

    documents = [asdict(document) for document in TokenStore(summary.output_dir).documents()]
    for document in documents:
        del document["sketch"]
    duplicates = [{"source": source, "duplicate": duplicate} for source, duplicate in summary.duplicates]
    return asdict(summary) | {
        "output_dir": str(summary.output_dir),
        "documents": documents,
        "duplicates": duplicates,
    }


def _print(summary: "TokenizeSummary") -> None:
    """A table of the documents and what was removed, and a list of what was skipped, on standard output."""
    from rich.console import Console
    from rich.text import Text

    from revlm.cli.document_table import document_table
    from revlm.corpus.store import TokenStore

    console = Console()
    console.print(document_table(TokenStore(summary.output_dir)))
    cleaning = summary.cleaning
    lines = [
        f"normalised: {cleaning.byte_order_marks:,} byte order marks, "
        f"{cleaning.crlf_line_ends:,} CRLF line ends, "
        f"{cleaning.lone_carriage_returns:,} lone carriage returns",
        f"Project Gutenberg matter removed: {cleaning.gutenberg_front_bytes:,} bytes in front, "
        f"{cleaning.gutenberg_back_bytes:,} bytes at the back",
        *(f"{source}: {duplicate}; --deduplicate leaves it out" for source, duplicate in summary.duplicates),
        *(f"skipped {each.path}: {each.reason}" for each in summary.skipped),
        f"{summary.output_dir}: {summary.tokens:,} tokens, "
        f"{summary.tokenizer} vocabulary {summary.vocab_size:,}, {summary.seconds:.1f} s",
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)
