"""`revlm data`: shows token stores, and merges shards."""

import json
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revlm.cli.options import PATH, STYLE, AsJson, Deduplicate, Verify
from revlm.cli.terminal.streams import print_message

if TYPE_CHECKING:
    from revlm.corpus.store import TokenStore

app = typer.Typer(
    name="data",
    help="Show a token store, or merge shards.\n\nExample: revlm data show data/novels",
    **STYLE,
)


@app.command("show")
def show_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", **PATH, help="A token store.")],
    document: Annotated[
        str | None,
        typer.Option(
            metavar="N or TITLE",
            help="Print the text of one document, given by number, from 0, or by part of its title.",
        ),
    ] = None,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Show a store's documents, tokens and lengths, its duplicates, and what was skipped.

    With --verify, the exit code is 3 if a file or document is damaged.

    \b
    Examples:
      revlm data show data/novels --verify
      revlm data show data/novels --document whale > whale.txt
    """
    from revlm.cli.terminal.store_tables import print_contents
    from revlm.corpus.store import TokenStore, inspect_store

    if verify:
        _verify(folder, as_json)
    store = TokenStore(folder, verified=verify)
    if document is not None:
        _print_document(store, document, as_json)
    elif as_json:
        shown = {"folder": str(folder), **inspect_store(store).as_dict(), "verified": verify}
        typer.echo(json.dumps(shown, ensure_ascii=False))
    else:
        print_contents(folder, inspect_store(store))


@app.command("merge")
def merge_command(
    stores: Annotated[
        list[Path],
        typer.Argument(metavar="SHARD", **PATH, help="All shards of a corpus, or complete stores, in order."),
    ],
    output_dir: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", **PATH, help="The merged token store.")],
    deduplicate: Deduplicate = False,
    verify: Verify = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an existing token store of other corpora.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Merge the shards of a corpus into the store that tokenizing it at once would have written, byte for byte.

    The shards are not changed. Stores that are not shards are merged in the order given.

    Example: revlm data merge data/novels-*-of-5 -o data/novels
    """
    from revlm.cli.terminal.progress import TokenizeProgress
    from revlm.cli.terminal.signals import StopSignals
    from revlm.cli.terminal.store_tables import print_summary
    from revlm.corpus import merge_stores

    with TokenizeProgress() as bar, StopSignals(bar.message, "stopping after this document") as signals:
        summary = merge_stores(
            stores,
            output_dir,
            deduplicate=deduplicate,
            verify=verify,
            replace=replace,
            progress=bar.show,
            message=bar.message,
            stop=lambda: signals.name,
        )
    print_summary(summary, as_json)


def _verify(folder: Path, as_json: bool) -> None:
    from revlm.cli.terminal.progress import TokenizeProgress
    from revlm.corpus.store import find_damage
    from revlm.errors import DataError

    with TokenizeProgress() as bar:
        damage = find_damage(folder, bar.show)
    if not damage:
        print_message(f"{folder}: intact, every file and every document's text has its sha256")
        return
    if as_json:
        documents = [{"document": number, "title": title} for number, title in damage.documents]
        shown = {"folder": str(folder), "damaged_files": list(damage.files), "damaged_documents": documents}
        typer.echo(json.dumps(shown, ensure_ascii=False))
    raise DataError(f"{folder} is damaged in {damage}; tokenize it again")


def _print_document(store: "TokenStore", choice: str, as_json: bool) -> None:
    """Writes the text as stored, block by block, whatever the terminal's encoding."""
    from itertools import islice

    from revlm.cli.terminal.streams import print_content
    from revlm.corpus.store import decoded, described, find_document

    number = find_document(store, choice)
    if as_json:
        known = next(islice(store.documents(), number, None))
        content = b"".join(decoded(store, number))
        is_text = store.tokenizer.document_kind == "text"
        shown = {"text": content.decode()} if is_text else {"base64": b64encode(content).decode()}
        typer.echo(json.dumps({**described(number, known), **shown}, ensure_ascii=False))
        return
    for piece in decoded(store, number):
        print_content(piece)
