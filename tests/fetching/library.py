"""Texts as Project Gutenberg ships them, pages of a web server, and packages, all invented."""

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


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


@dataclass
class Library:
    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@contextmanager
def open_library() -> Iterator[Library]:
    """A web server on loopback that answers with the pages put into it, and 404 otherwise."""
    closing = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            library.asked.append(self.path)
            page = library.pages.get(self.path, Page(b"no such page", status=404))
            if page.stalls:
                closing.wait(30)
                return
            self.send_response(page.status)
            if page.announces_length:
                self.send_header("Content-Length", str(page.content_length or len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    library = Library(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield library
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def write_archive(path: Path, files: dict[str, bytes]) -> str:
    """Writes a .tar.gz of those files; returns its sha256."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()
