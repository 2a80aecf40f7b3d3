"""Texts as Project Gutenberg ships them, pages of a web server, and packages, all invented."""

import base64
import contextlib
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.loopback import serving


def ebook(title: str, *, body: str = "It was a calm night at sea.\n" * 40) -> bytes:
    """A text as Project Gutenberg ships one: byte order mark, CRLF, front and back matter."""
    text = (
        f"\ufeffThe Project Gutenberg eBook of {title}\n\nTitle: {title}\n\nAuthor: Nobody\n\n"
        f"*** START OF THE PROJECT GUTENBERG EBOOK {title.upper()} ***\n\n{body}\n"
        f"*** END OF THE PROJECT GUTENBERG EBOOK {title.upper()} ***\n\nThe licence follows.\n"
    )
    return text.replace("\n", "\r\n").encode("utf-8")


@dataclass
class Page:
    body: bytes = b""
    status: int = 200
    content_length: int | str | None = None
    announces_length: bool = True
    stalls: bool = False
    drips: bool = False
    content_type: str = "text/plain"


@dataclass
class Library:
    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    dripping: threading.Event = field(default_factory=threading.Event)
    """set once a page has sent the first of its bytes, one at a time"""


@contextmanager
def open_library() -> Iterator[Library]:
    """A web server on loopback that answers with the pages put into it, and 404 otherwise."""
    closing = threading.Event()

    def drip(file: io.BufferedIOBase, body: bytes) -> None:
        """Sends a byte at a time, each well within what a client waits for one."""
        with contextlib.suppress(OSError):
            for start in range(len(body)):
                if closing.wait(0.05):
                    return
                file.write(body[start : start + 1])
                library.dripping.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            library.asked.append(self.path)
            library.authorizations.append(self.headers["Authorization"])
            page = library.pages.get(self.path, Page(b"no such page", status=404))
            if page.stalls:
                closing.wait(30)
                return
            self.send_response(page.status)
            if page.announces_length:
                self.send_header("Content-Length", str(page.content_length or len(page.body)))
            self.send_header("Content-Type", page.content_type)
            self.end_headers()
            if page.drips:
                drip(self.wfile, page.body)
                return
            self.wfile.write(page.body)

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Handler) as url:
        library = Library(url)
        try:
            yield library
        finally:
            closing.set()


def archive_of(files: dict[str, bytes]) -> bytes:
    """A .tar.gz of those files."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


def npm_answer(version: str, address: str, archive: bytes) -> bytes:
    """What a registry of npm says of a package with that one version."""
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    return json.dumps({"versions": {version: {"dist": {"tarball": address, "integrity": integrity}}}}).encode()
