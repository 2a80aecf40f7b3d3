"""A table of the documents of a token store, for the terminal."""

from itertools import islice
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from revlm.corpus.store import TokenStore

# More lines than this nobody reads: the rest is in documents.jsonl.
MOST_ROWS = 100


def document_table(store: "TokenStore") -> Table:
    """Returns a table of at most `MOST_ROWS` documents with their tokens, bytes and what was removed, and the sums."""
    table = Table("document", show_footer=True)
    table.columns[0].footer = f"{len(store):,} document{'s' * (len(store) != 1)}"
    removed = store.cleaning.removed_bytes
    totals = {"tokens": store.manifest["tokens"], "bytes": store.manifest["bytes"], "bytes removed": removed}
    for heading, total in totals.items():
        table.add_column(heading, footer=f"{total:,}", justify="right")
    for document in islice(store.documents(), MOST_ROWS):
        sizes = (document.tokens, document.bytes, document.cleaning.removed_bytes)
        table.add_row(Text(document.title), *(f"{size:,}" for size in sizes))
    if len(store) > MOST_ROWS:
        table.add_row(Text(f"... and {len(store) - MOST_ROWS:,} more, in documents.jsonl"))
    return table
