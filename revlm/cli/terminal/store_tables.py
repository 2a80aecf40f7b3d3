"""Token stores in a terminal: their contents, and what a command has just written."""

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from revlm.cli.terminal.console import Terminal, print_line, print_table
from revlm.corpus.store import LengthBin, StoreContents, StoreFolder, StoreSummary

BAR_WIDTH = 24
MAX_LINES = 20  # of each list of duplicates or skipped files
MAX_ROWS = 100  # of the table of documents; documents.jsonl has all of them


def print_summary(summary: StoreSummary, as_json: bool) -> None:
    """Prints the documents of a store that was just written, the removed bytes, duplicates and what was skipped.

    With `as_json`, prints one JSON object.
    """
    if as_json:
        typer.echo(json.dumps(summary.as_dict(), ensure_ascii=False))
        return
    print_table(_documents(StoreFolder(summary.output_dir)))
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


def print_contents(folder: Path, contents: StoreContents) -> None:
    """Prints totals, a histogram of lengths, the longest and shortest documents, duplicates and what was skipped."""
    console = Terminal()
    for line in _totals(folder, contents):
        print_line(line)
    if contents.lengths:
        print_table(_histogram(contents.lengths, "#" if console.options.ascii_only else "█"))
        print_table(_ends(contents))
    duplicates = [f"{number} {each.title} ({each.source}): {each.duplicate}" for number, each in contents.duplicates]
    skipped = [f"{each.path}: {each.reason}" for each in contents.skipped]
    for heading, file, lines in (("duplicates", "documents", duplicates), ("skipped", "skipped", skipped)):
        for line in _listed(heading, lines, f"{file}.jsonl"):
            print_line(line)


def _documents(store: StoreFolder) -> Table:
    """A table of at most `MAX_ROWS` documents with their tokens, bytes and removed bytes, and the totals."""
    table = Table("document", show_footer=True)
    manifest = store.manifest
    table.columns[0].footer = f"{manifest.documents:,} document{'s' * (manifest.documents != 1)}"
    removed = manifest.cleaning.removed_bytes
    totals = {"tokens": manifest.tokens, "bytes": manifest.bytes, "bytes removed": removed}
    for heading, total in totals.items():
        table.add_column(heading, footer=f"{total:,}", justify="right")
    for document in islice(store.documents(), MAX_ROWS):
        sizes = (document.tokens, document.bytes, document.cleaning.removed_bytes)
        table.add_row(Text(document.title), *(f"{size:,}" for size in sizes))
    if manifest.documents > MAX_ROWS:
        table.add_row(Text(f"... and {manifest.documents - MAX_ROWS:,} more, in documents.jsonl"))
    return table


def _totals(folder: Path, contents: StoreContents) -> list[str]:
    per_token = f", {contents.bytes_per_token:.2f} bytes per token" if contents.bytes_per_token else ""
    part = f"{contents.shard}: " if contents.shard else ""
    return [
        f"{folder}: {part}{contents.documents:,} documents, {contents.tokens:,} tokens, "
        f"{contents.bytes:,} bytes{per_token}",
        f"tokenizer: {contents.tokenizer}, vocabulary {contents.vocab_size:,}",
    ]


def _histogram(lengths: Iterable[LengthBin], sign: str) -> Table:
    bins = list(lengths)
    most = max(each.documents for each in bins)
    table = Table("tokens per document")
    for heading in ("documents", "tokens"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for each in bins:
        bar = sign * max(round(BAR_WIDTH * each.documents / most), each.documents > 0)
        table.add_row(f"{each.low:,} to {each.high:,}", f"{each.documents:,}", f"{each.tokens:,}", bar)
    return table


def _ends(contents: StoreContents) -> Table:
    """The longest documents and then, if there are more, the shortest, in descending order of length."""
    table = Table("document", "title")
    for heading in ("tokens", "bytes"):
        table.add_column(heading, justify="right")
    longest = dict(contents.longest)
    shortest = {number: each for number, each in reversed(contents.shortest) if number not in longest}
    for number, each in longest.items():
        table.add_row(str(number), Text(each.title), f"{each.tokens:,}", f"{each.bytes:,}")
    if len(longest) + len(shortest) < contents.documents:
        table.add_row("...")
    for number, each in shortest.items():
        table.add_row(str(number), Text(each.title), f"{each.tokens:,}", f"{each.bytes:,}")
    return table


def _listed(heading: str, lines: list[str], file: str) -> list[str]:
    more = [f"  ... and {len(lines) - MAX_LINES:,} more, in {file}"] if len(lines) > MAX_LINES else []
    return [f"{heading}: {len(lines):,}", *(f"  {line}" for line in lines[:MAX_LINES]), *more]
