"""Downloads an e-book of Project Gutenberg over HTTPS and checks it."""

import re
import unicodedata
import urllib.error

from revlm.fetching.deadline import Deadline
from revlm.fetching.download import download
from revlm.fetching.failure import SourceFailure, escaped
from revlm.gutenberg import TAIL_CHARACTERS, title_of

GUTENBERG = "https://www.gutenberg.org"
LARGEST_TEXT_BYTES = 64 * 2**20  # the longest novels have about 7 MB
_BEGINNING_CHARACTERS = 6_000  # a text that the site serves today has its title and its start line within these
LONGEST_TITLE_CHARACTERS = 200
_START = re.compile(r"start of (?:th(?:e|is) )?(?:copyrighted )?project gutenberg", re.IGNORECASE)
# A web page begins with a tag or a comment, and has tags that no plain text has before its start line.
_MARKUP = re.compile(r"\s*<[!?/a-z]", re.IGNORECASE)
_TAGS = re.compile(
    r"<(?:!doctype|\?xml|/?(?:html|head|body|title|meta|link|script|style|div|p|br|hr|table|a|h[1-6]|pre|span|center"
    r"|frameset|form|iframe|noscript)(?=[\s/>]))",
    re.IGNORECASE,
)


def fetch_gutenberg(number: str, deadline: Deadline, *, title: str | None, mirror: str | None) -> bytes:
    """Returns the UTF-8 text of an e-book exactly as Project Gutenberg ships it, with its front and back matter.

    `mirror` replaces https://www.gutenberg.org. Raises SourceFailure where the text cannot be fetched, or is not the
    whole text of `title` (None accepts any title).
    """
    base = (mirror or GUTENBERG).rstrip("/")
    missing = []
    for path in text_paths(number):
        url = f"{base}/{path}"
        try:
            text = download(url, deadline, limit_bytes=LARGEST_TEXT_BYTES, accept="text/plain").body
        except urllib.error.HTTPError as error:
            missing.append(f"{url} answered {error.code}")
            continue
        check_text(text, url, title)
        return text
    raise SourceFailure("; ".join(missing))


def text_paths(number: str) -> list[str]:
    """Returns the paths of an e-book's plain UTF-8 text, on the site and on its mirrors."""
    digits = "/".join(number[:-1]) or "0"
    return [
        f"cache/epub/{number}/pg{number}.txt",
        f"files/{number}/{number}-0.txt",
        f"{digits}/{number}/{number}-0.txt",
    ]


def header_title(text: bytes) -> str | None:
    """Returns the title that the front matter names, or None."""
    title = title_of(text.decode("utf-8-sig", errors="replace").removeprefix("\ufeff"))
    return escaped(title, LONGEST_TITLE_CHARACTERS) if title else None


def check_text(text: bytes, url: str, title: str | None) -> None:
    """Raises SourceFailure unless this is the complete plain UTF-8 text of `title`."""
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceFailure(f"{url} is not UTF-8 text (byte {error.start})") from None
    head, tail = decoded[:_BEGINNING_CHARACTERS], decoded[-TAIL_CHARACTERS:]
    start = _START.search(head)
    if _MARKUP.match(head.lstrip("\ufeff")) or _TAGS.search(head, 0, start.start() if start else len(head)):
        raise SourceFailure(f"{url} is a web page, not the text")
    if "\0" in decoded or not decoded.strip():
        raise SourceFailure(f"{url} is not text")
    named = header_title(text) or head
    if title is not None and not _mentions(named, title):
        other = header_title(text) or "something else"
        raise SourceFailure(f"{url} is {other!r}, not {title!r}")
    if start and not re.search(r"end of (?:the |this )?(?:copyrighted )?project gutenberg", tail, re.IGNORECASE):
        raise SourceFailure(f"{url} is truncated: the line at the end of the text is missing")


def _mentions(text: str, title: str) -> bool:
    return f" {_plain_words(title)} " in f" {_plain_words(text)} "


def _plain_words(text: str) -> str:
    """Returns words of lower-case letters and digits without accents, since editions differ in the rest."""
    letters = unicodedata.normalize("NFKD", text.replace("'", "").replace("\u2019", ""))
    unaccented = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(re.findall(r"[a-z0-9]+", unaccented.casefold()))
