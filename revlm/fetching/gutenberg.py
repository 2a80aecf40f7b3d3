"""One e-book of Project Gutenberg, over HTTPS, checked before it counts as had."""

import re
import unicodedata
import urllib.error

from revlm.fetching.deadline import Deadline
from revlm.fetching.download import download
from revlm.fetching.failure import SourceFailure, printable

GUTENBERG = "https://www.gutenberg.org"
LARGEST_TEXT_BYTES = 64 * 2**20  # the longest novels have about 7 MB
HEAD_CHARACTERS = 6_000
TAIL_CHARACTERS = 40_000  # the licence at the end has about 20,000
LONGEST_TITLE_CHARACTERS = 200
_START = re.compile(r"start of (?:th(?:e|is) )?(?:copyrighted )?project gutenberg", re.IGNORECASE)
# A tag or comment, which may begin a page; and the tags that no plain text has before its start line.
_MARKUP = re.compile(r"\s*<[!?/a-z]", re.IGNORECASE)
_TAGS = re.compile(
    r"<(?:!doctype|\?xml|/?(?:html|head|body|title|meta|link|script|style|div|p|br|hr|table|a|h[1-6]|pre|span|center"
    r"|frameset|form|iframe|noscript)(?=[\s/>]))",
    re.IGNORECASE,
)


def fetch_gutenberg(number: str, deadline: Deadline, *, title: str | None, mirror: str | None) -> bytes:
    """The UTF-8 text of an e-book exactly as Project Gutenberg ships it, with its front and back matter.

    `mirror` replaces https://www.gutenberg.org. Raises SourceFailure where the text cannot be had, or is not
    the whole text of `title` (None: whatever title has that number).
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
    """Where the plain UTF-8 text of an e-book lies, on the site itself and on its mirrors."""
    digits = "/".join(number[:-1]) or "0"
    return [
        f"cache/epub/{number}/pg{number}.txt",
        f"files/{number}/{number}-0.txt",
        f"{digits}/{number}/{number}-0.txt",
    ]


def header_title(text: bytes) -> str | None:
    """What the front matter names as the title, as it is read from a corpus, or None where it names none."""
    from revlm.corpus.reading.cleaning import CleanedText

    title = CleanedText([text.decode("utf-8-sig", errors="replace")]).title
    return printable(title, LONGEST_TITLE_CHARACTERS) if title else None


def check_text(text: bytes, url: str, title: str | None) -> None:
    """Raise SourceFailure unless this is plain UTF-8 text, of that title, up to its end."""
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceFailure(f"{url} is not UTF-8 text (byte {error.start})") from None
    head, tail = decoded[:HEAD_CHARACTERS], decoded[-TAIL_CHARACTERS:]
    start = _START.search(head)
    if _MARKUP.match(head.lstrip("\ufeff")) or _TAGS.search(head, 0, start.start() if start else len(head)):
        raise SourceFailure(f"{url} is a web page, not the text")
    if "\0" in decoded or not decoded.strip():
        raise SourceFailure(f"{url} is no text")
    named = header_title(text) or head
    if title is not None and not _mentions(named, title):
        other = header_title(text) or "something else"
        raise SourceFailure(f"{url} is {other!r}, not {title!r}")
    if start and not re.search(r"end of (?:the |this )?(?:copyrighted )?project gutenberg", tail, re.IGNORECASE):
        raise SourceFailure(f"{url} is cut off: the mark at the end of the text is missing")


def _mentions(text: str, title: str) -> bool:
    return f" {_plain_words(title)} " in f" {_plain_words(text)} "


def _plain_words(text: str) -> str:
    """Lower-case letters and digits, no accents, the rest as single spaces: editions differ in those."""
    letters = unicodedata.normalize("NFKD", text.replace("'", "").replace("\u2019", ""))
    unaccented = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(re.findall(r"[a-z0-9]+", unaccented.casefold()))
