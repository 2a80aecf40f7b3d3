"""One e-book of Project Gutenberg, over HTTPS, checked before it counts as had."""

import http.client
import re
import unicodedata
import urllib.error
import urllib.request

from revlm.fetching.failure import SourceFailure

GUTENBERG = "https://www.gutenberg.org"
TIMEOUT_SECONDS = 6.0  # of each wait for the network: to connect, and for the next bytes
LARGEST_TEXT_BYTES = 64 * 2**20  # the longest novels have about 7 MB
CHUNK_BYTES = 1 << 16
HEAD_CHARACTERS = 6_000
TAIL_CHARACTERS = 40_000  # the licence at the end has about 20,000


def fetch_gutenberg(number: str, *, title: str | None, mirror: str | None) -> bytes:
    """The UTF-8 text of an e-book exactly as Project Gutenberg ships it, with its front and back matter.

    `mirror` replaces https://www.gutenberg.org. Raises SourceFailure where the text cannot be had, or is not
    the whole text of `title` (None: whatever title has that number).
    """
    base = (mirror or GUTENBERG).rstrip("/")
    missing = []
    for path in text_paths(number):
        url = f"{base}/{path}"
        try:
            text = _download(url)
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
    """What the front matter names as the title, or None where it names none."""
    head = text.decode("utf-8-sig", errors="replace")[:HEAD_CHARACTERS]
    found = re.search(r"^Title:[ \t]*(\S.*?)[ \t\r]*$", head, re.MULTILINE)
    return found.group(1) if found else None


def check_text(text: bytes, url: str, title: str | None) -> None:
    """Raise SourceFailure unless this is plain UTF-8 text, of that title, up to its end."""
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceFailure(f"{url} is not UTF-8 text (byte {error.start})") from None
    head, tail = decoded[:HEAD_CHARACTERS], decoded[-TAIL_CHARACTERS:]
    if re.match(r"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise SourceFailure(f"{url} is a web page, not the text")
    if "\0" in decoded or not decoded.strip():
        raise SourceFailure(f"{url} is no text")
    named = header_title(text) or head
    if title is not None and not _mentions(named, title):
        other = header_title(text) or "something else"
        raise SourceFailure(f"{url} is {other!r}, not {title!r}")
    if re.search(r"start of th(e|is) project gutenberg", head, re.IGNORECASE) and not re.search(
        r"end of (the |this )?project gutenberg", tail, re.IGNORECASE
    ):
        raise SourceFailure(f"{url} is cut off: the mark at the end of the text is missing")


def _download(url: str) -> bytes:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "revlm fetch", "Accept": "text/plain"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return _read_whole(response, url)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise SourceFailure(f"{url} cannot be reached ({reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise SourceFailure(f"{url} broke off ({error or type(error).__name__})") from None
    except ValueError as error:  # urllib's word for a URL that is none
        raise SourceFailure(f"{url} is no usable address ({error})") from None


def _read_whole(response: http.client.HTTPResponse, url: str) -> bytes:
    announced = response.headers.get("Content-Length")
    if announced is not None and not announced.isdecimal():
        raise SourceFailure(f"{url} cannot be checked: its server announces a length of {announced!r}")
    received = bytearray()
    while chunk := response.read(CHUNK_BYTES):
        received += chunk
        if len(received) > LARGEST_TEXT_BYTES:
            raise SourceFailure(f"{url} is larger than {LARGEST_TEXT_BYTES:,} bytes, too large for a novel")
    if announced is not None and len(received) != int(announced):
        raise SourceFailure(f"{url} is cut off: {len(received):,} of {int(announced):,} bytes came")
    return bytes(received)


def _mentions(text: str, title: str) -> bool:
    return f" {_plain_words(title)} " in f" {_plain_words(text)} "


def _plain_words(text: str) -> str:
    """Lower-case letters and digits, no accents, the rest as single spaces: editions differ in those."""
    letters = unicodedata.normalize("NFKD", text.replace("'", "").replace("\u2019", ""))
    unaccented = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(re.findall(r"[a-z0-9]+", unaccented.casefold()))
