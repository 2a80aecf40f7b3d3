"""Reads e-books: the documents of an EPUB's spine, in their order, as one text.

Source: EPUB 3.3 (W3C Recommendation), sections 4 (container), 5 (package) and 6.1 (XHTML documents).
"""

import lzma
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from revlm.corpus.readers.raw import RawText, UnusableFileError, no_text, why

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_XHTML = ("application/xhtml+xml", "text/html", "text/x-oeb1-document")
_BLOCKS = """
    address article aside blockquote body dd details div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6
    header hr li main nav ol p pre section table tr ul
"""
# RuntimeError is zipfile's word for what is encrypted or compressed in another way, AssertionError html.parser's for
# markup that is none.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    ElementTree.ParseError,
    AssertionError,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
)
_DECLARED_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*\bencoding=["']([\w.-]+)["']""")


def read_epub(path: Path, text_column: str) -> Iterator[RawText]:
    """Yields the one text of a book; its title is that of the package."""
    try:
        with zipfile.ZipFile(path) as archive:
            text, title = _Book(path, archive).read()
    except _DAMAGE as error:
        raise UnusableFileError(path, f"is damaged or no EPUB ({why(error)})", "fetch it again") from error
    if reason := no_text(text):
        raise UnusableFileError(path, reason, "fetch or make it again")
    yield RawText((text,), path.stat().st_size, title=title)


class _Book:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path, self._archive = path, archive

    def read(self) -> tuple[str, str | None]:
        root_file = self._find(self._xml(_CONTAINER), "rootfile")
        package_name = root_file[0].get("full-path", "") if root_file else ""
        package = self._xml(package_name)
        names = self._spine(package, posixpath.dirname(package_name))
        if not names:
            raise UnusableFileError(self._path, "has no spine, so no order to read it in", "fetch or make it again")
        locked = self._locked()
        if any(name in locked for name in names):
            raise UnusableFileError(self._path, "is locked (DRM)", "get an edition that is not")
        titles = [" ".join("".join(each.itertext()).split()) for each in self._find(package, "title")]
        chapters = [_text_of(_decode(self._archive.read(name))) for name in names]
        return "\n\n\n".join(chapter for chapter in chapters if chapter) + "\n", next(filter(None, titles), None)

    def _spine(self, package: ElementTree.Element, folder: str) -> list[str]:
        items = {item.get("id"): item for item in self._find(package, "item")}
        order = [items.get(reference.get("idref")) for reference in self._find(package, "itemref")]
        return [
            posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
            for item in order
            if item is not None
            and item.get("media-type") in _XHTML
            and "nav" not in item.get("properties", "").split()  # the table of contents is no text of the book
        ]

    def _locked(self) -> set[str]:
        """Returns the files that are encrypted; fonts often are, which locks nothing."""
        if _ENCRYPTION not in self._archive.namelist():
            return set()
        return {unquote(each.get("URI", "")) for each in self._find(self._xml(_ENCRYPTION), "CipherReference")}

    def _xml(self, name: str) -> ElementTree.Element:
        return ElementTree.fromstring(self._archive.read(name))

    @staticmethod
    def _find(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
        """Returns all elements of a name below, whatever their namespace."""
        return [each for each in element.iter() if isinstance(each.tag, str) and each.tag.rpartition("}")[2] == name]


def _decode(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    declared = _DECLARED_ENCODING.match(raw)
    return raw.decode(declared[1].decode() if declared else "utf-8").removeprefix("\ufeff")


def _text_of(markup: str) -> str:
    parser = _Text()
    parser.feed(markup)
    parser.close()
    return parser.text()


class _Text(HTMLParser):
    """The text of an XHTML document: a blank line between blocks, white space as a browser shows it."""

    _BLOCKS = frozenset(_BLOCKS.split())
    _CELLS = frozenset(("td", "th"))
    _HIDDEN = frozenset(("head", "script", "style", "template"))

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._blocks: list[str] = []
        self._block: list[str] = []
        self._hidden = self._preformatted = 0

    def text(self) -> str:
        self._end_block()
        return "\n\n".join(self._blocks)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in self._BLOCKS:
            self._end_block()
        self._hidden += tag in self._HIDDEN
        self._preformatted += tag == "pre"
        if tag in self._CELLS:
            self._block.append(" ")
        if tag == "br":
            self._block.append("\n")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._block.append("\n")
        elif tag in self._BLOCKS:
            self._end_block()

    def handle_endtag(self, tag: str) -> None:
        if tag in self._BLOCKS:
            self._end_block()
        self._hidden -= tag in self._HIDDEN and self._hidden > 0
        self._preformatted -= tag == "pre" and self._preformatted > 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._block.append(data if self._preformatted else re.sub(r"[ \t\r\n\f]+", " ", data))

    def unknown_decl(self, data: str) -> None:
        if data.startswith("CDATA["):
            self.handle_data(data.removeprefix("CDATA["))

    def _end_block(self) -> None:
        lines = "".join(self._block).split("\n")
        if not self._preformatted:
            lines = [re.sub(" {2,}", " ", line).strip(" ") for line in lines]
        block = "\n".join(lines).strip("\n")
        if block.strip():
            self._blocks.append(block)
        self._block.clear()
