"""The table of titles that `revlm fetch` knows: one row per source, in the order in which they are tried."""

import csv
import difflib
from dataclasses import dataclass

from revlm.bundled import bundled_path
from revlm.errors import UsageError

TABLE = "data/titles.tsv"
LONGEST_NUMBER = 9  # digits
GUTENBERG_LICENSE = "see the text's own front matter; Project Gutenberg licence"


@dataclass(frozen=True)
class Source:
    """One source of a title.

    `kind` is `gutenberg`, `npm` or `pypi`; `location` is an e-book number or a pinned package; `files` are the members
    of the package that make up the text; `bytes` and `sha256` are those of the whole text, None where not recorded.
    """

    kind: str
    location: str
    license: str
    files: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        match self.kind:
            case "gutenberg":
                return f"Project Gutenberg e-book {self.location}"
            case _:
                return f"{self.kind} package {self.location.partition('#')[0]}"


@dataclass(frozen=True)
class Title:
    """A book and all its sources; `title` is None where only its number is known."""

    name: str
    title: str | None
    author: str | None
    sources: tuple[Source, ...]


def known_titles() -> dict[str, Title]:
    """Returns every title of the bundled table by name, in table order.

    Raises StorageError where the table is missing.
    """
    titles: dict[str, Title] = {}
    with bundled_path(TABLE).open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            earlier = titles[row["name"]].sources if row["name"] in titles else ()
            sources = (*earlier, _source(row))
            titles[row["name"]] = Title(row["name"], row["title"], row["author"], sources)
    return titles


def find_title(name_or_number: str) -> Title:
    """Returns the title with a name, or with a Project Gutenberg number, which need not be in the table.

    Raises UsageError for an unknown name; the message suggests the nearest known ones.
    """
    titles = known_titles()
    wanted = name_or_number.strip()
    if wanted.isascii() and wanted.isdigit():
        return _numbered(wanted.lstrip("0") or "0", titles)
    name = wanted.casefold().replace(" ", "-").replace("_", "-")
    if name in titles:
        return titles[name]
    nearest = difflib.get_close_matches(name, titles, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    raise UsageError(
        f"no title is called {name_or_number!r}: {hint}`revlm fetch --list` shows the known names, "
        "and any Project Gutenberg number works too"
    )


def _numbered(number: str, titles: dict[str, Title]) -> Title:
    if number == "0":
        raise UsageError("0 is not a Project Gutenberg number: they start at 1, as in `revlm fetch 2554`")
    if len(number) > LONGEST_NUMBER:
        raise UsageError(
            f"{number[:LONGEST_NUMBER]}... is not a Project Gutenberg number: they have at most 6 digits so far"
        )
    for title in titles.values():
        if any(source.kind == "gutenberg" and source.location == number for source in title.sources):
            return title
    source = Source("gutenberg", number, GUTENBERG_LICENSE)
    return Title(f"gutenberg-{number}", None, None, (source,))


def _source(row: dict[str, str]) -> Source:
    kind, _, location = row["source"].partition(":")
    return Source(
        kind,
        location,
        row["license"],
        files=tuple(row["files"].split()),
        bytes=int(row["bytes"]) if row["bytes"] else None,
        sha256=row["sha256"] or None,
    )
