"""What a command prints after it has written a token store."""

import json
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from revlm.corpus import StoreSummary


def print_summary(summary: "StoreSummary", as_json: bool) -> None:
    """Prints the contents of the store on standard output: for people, or as one JSON object."""
    if as_json:
        typer.echo(json.dumps(_as_dict(summary), ensure_ascii=False))
    else:
        _print(summary)


def _as_dict(summary: "StoreSummary") -> dict[str, object]:
    from dataclasses import asdict

    from revlm.corpus.store import StoreFolder

    documents = [asdict(document) for document in StoreFolder(summary.output_dir).documents()]
    for document in documents:
        del document["sketch"]
    duplicates = [{"source": source, "duplicate": duplicate} for source, duplicate in summary.duplicates]
    return asdict(summary) | {
        "output_dir": str(summary.output_dir),
        "documents": documents,
        "duplicates": duplicates,
    }


def _print(summary: "StoreSummary") -> None:
    """A table of the documents and removed bytes, and a list of what was skipped."""
    from revlm.cli.document_table import document_table
    from revlm.cli.terminal.tables import print_line, print_table
    from revlm.corpus.store import StoreFolder

    print_table(document_table(StoreFolder(summary.output_dir)))
    cleaning = summary.cleaning
    lines = [
        f"normalised: {cleaning.byte_order_marks:,} byte order marks, "
        f"{cleaning.crlf_line_ends:,} CRLF line ends, "
        f"{cleaning.lone_carriage_returns:,} lone carriage returns",
        f"Project Gutenberg matter removed: {cleaning.gutenberg_front_bytes:,} bytes at the front, "
        f"{cleaning.gutenberg_back_bytes:,} bytes at the back",
        *(f"{source}: {duplicate}; --deduplicate leaves it out" for source, duplicate in summary.duplicates),
        *(f"skipped {each.path}: {each.reason}" for each in summary.skipped),
        f"{summary.output_dir}: {summary.tokens:,} tokens, "
        f"{summary.tokenizer} vocabulary {summary.vocab_size:,}, {summary.seconds:.1f} s",
    ]
    for line in lines:
        print_line(line)
