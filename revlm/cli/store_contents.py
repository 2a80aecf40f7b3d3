"""The contents of a token store, for the terminal and as JSON."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from revlm.cli.terminal.console import Terminal
from revlm.cli.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from revlm.corpus.store import LengthBin, StoreContents, StoredDocument

BAR_WIDTH = 24
MOST_LINES = 20  # of the list of duplicates, and of the list of skipped files


def print_contents(folder: Path, contents: "StoreContents") -> None:
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


def contents_as_dict(contents: "StoreContents") -> dict[str, Any]:
    """Returns the contents as JSON values; documents have their numbers, and no sketches."""
    listed = {
        name: [document_as_dict(number, each) for number, each in getattr(contents, name)]
        for name in ("longest", "shortest", "duplicates")
    }
    return asdict(contents) | listed | {"bytes_per_token": contents.bytes_per_token}


def document_as_dict(number: int, document: "StoredDocument") -> dict[str, Any]:
    """Returns the fields of a document, its number first, without its sketch."""
    known = {"document": number, **asdict(document)}
    del known["sketch"]
    return known


def _totals(folder: Path, contents: "StoreContents") -> list[str]:
    per_token = f", {contents.bytes_per_token:.2f} bytes per token" if contents.bytes_per_token else ""
    part = f"{contents.shard}: " if contents.shard else ""
    return [
        f"{folder}: {part}{contents.documents:,} documents, {contents.tokens:,} tokens, "
        f"{contents.bytes:,} bytes{per_token}",
        f"tokenizer: {contents.tokenizer}, vocabulary {contents.vocab_size:,}",
    ]


def _histogram(lengths: "Iterable[LengthBin]", sign: str) -> Table:
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


def _ends(contents: "StoreContents") -> Table:
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
    more = [f"  ... and {len(lines) - MOST_LINES:,} more, in {file}"] if len(lines) > MOST_LINES else []
    return [f"{heading}: {len(lines):,}", *(f"  {line}" for line in lines[:MOST_LINES]), *more]
