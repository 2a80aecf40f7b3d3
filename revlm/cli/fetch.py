"""`revlm fetch`: downloads public-domain novels by name or Project Gutenberg number."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revlm.cli.options import PATH, AsJson
from revlm.cli.terminal.streams import print_json, print_message

if TYPE_CHECKING:
    from revlm.fetching import Fetched, Title

# `revlm tokenize` writes the tokens of this folder to data/novels, which the bundled recipe novel-64k reads.
DEFAULT_FOLDER = Path("data/texts/novels")


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Names from --list, or Project Gutenberg numbers.", show_default=False),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", **PATH, help="Folder for the texts, NAME.txt for each."),
    ] = DEFAULT_FOLDER,
    mirror: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Mirror of Project Gutenberg to use instead of https://www.gutenberg.org."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1, max=86_400, help="Timeout of one source; default: 60."),
    ] = None,
    list_titles: Annotated[bool, typer.Option("--list", help="List the known titles and their sources.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download public-domain novels by name or Project Gutenberg number; print their source and licence.

    If Project Gutenberg cannot be reached, the next source of the same title is tried.

    Example: revlm fetch crime-and-punishment 2600 -o data/texts/russian
    """
    from revlm.errors import DataError, UsageError
    from revlm.fetching import TIMEOUT_SECONDS, find_title, known_titles
    from revlm.fetching import fetch as fetch_title

    if list_titles:
        _print_titles(list(known_titles().values()), as_json)
        return
    if not names:
        raise UsageError(
            "no title was given: name one, as in `revlm fetch moby-dick`; `revlm fetch --list` shows the known titles"
        )
    for name in names:
        find_title(name)  # an unknown name fails here, before any download

    fetched, failures = [], []
    for name in names:
        try:
            fetched.append(
                fetch_title(
                    name, output, mirror=mirror, timeout_seconds=timeout or TIMEOUT_SECONDS, report=print_message
                )
            )
        except DataError as error:
            failures.append(str(error))
    _print_fetched(fetched, as_json)
    if failures:
        raise DataError("; ".join(failures))
    print_message(f"next: revlm tokenize {output}")


def _print_fetched(fetched: "list[Fetched]", as_json: bool) -> None:
    if as_json:
        print_json({"fetched": [{**vars(text), "path": str(text.path)} for text in fetched]}, indent=2)
        return
    for text in fetched:
        typer.echo(f"{text.path}\n  {text.title}, {text.bytes:,} bytes")
        typer.echo(f"  source   {text.source}\n  licence  {text.license}\n  sha256   {text.sha256}")


def _print_titles(titles: "list[Title]", as_json: bool) -> None:
    if as_json:
        keys = ("name", "title", "author")
        described = [
            {**{key: getattr(title, key) for key in keys}, "sources": [vars(source) for source in title.sources]}
            for title in titles
        ]
        print_json({"titles": described}, indent=2)
        return
    width = max(len(title.name) for title in titles)
    for title in titles:
        typer.echo(f"{title.name:{width}}  {title.title} ({title.author})")
        for source in title.sources:
            typer.echo(f"{'':{width}}  - {source}")
