"""Joins the files of a package into one plain-text document."""

import json
from collections.abc import Sequence

from revlm.fetching.failure import SourceFailure


def compose(title: str, files: Sequence[str], contents: Sequence[bytes]) -> bytes:
    """Returns the whole text in UTF-8: the text files in order, or the books of a file of verses (.jsonl).

    Raises SourceFailure where a file is not UTF-8, or a line is not a verse.
    """
    try:
        if len(files) == 1 and files[0].endswith(".jsonl"):
            text = _verses(title, contents[0].decode("utf-8"))
        else:
            text = "\n\n\n".join(content.decode("utf-8").strip("\n") for content in contents) + "\n"
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceFailure(f"{' '.join(files)} cannot be read ({error!r})") from None
    return text.encode("utf-8")


def _verses(title: str, lines: str) -> str:
    """Returns the books in file order, one paragraph per verse, preceded by chapter and verse, such as `3:16`.

    A line is an object with `book`, `chapter`, `verse` and `text`.
    """
    paragraphs = [title]
    book = None
    for line in lines.splitlines():
        verse = json.loads(line)
        if verse["book"] != book:
            book = verse["book"]
            paragraphs.append(f"\n{book}\n")
        paragraphs.append(f"{verse['chapter']}:{verse['verse']} {verse['text']}")
    return "\n\n".join(paragraphs) + "\n"
