"""A table of the documents of a token store, for the terminal."""

from itertools import islice
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from revlm.corpus.store import StoreFolder

# Nobody reads more rows than this; documents.jsonl has all of them.
MOST_ROWS = 100


def document_table(store: "StoreFolder") -> Table:
    """Returns a table of at most `MOST_ROWS` documents with their tokens, bytes and removed bytes, and the totals."""
    table = Table("document", show_footer=True)
    manifest = store.manifest
    table.columns[0].footer = f"{manifest.documents:,} document{'s' * (manifest.documents != 1)}"
    removed = manifest.cleaning.removed_bytes
    totals = {"tokens": manifest.tokens, "bytes": manifest.bytes, "bytes removed": removed}
    for heading, total in totals.items():
        table.add_column(heading, footer=f"{total:,}", justify="right")
    for document in islice(store.documents(), MOST_ROWS):
        sizes = (document.tokens, document.bytes, document.cleaning.removed_bytes)
        table.add_row(Text(document.title), *(f"{size:,}" for size in sizes))
    if manifest.documents > MOST_ROWS:
        table.add_row(Text(f"... and {manifest.documents - MOST_ROWS:,} more, in documents.jsonl"))
    return table
