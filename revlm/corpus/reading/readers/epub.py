"""Reads e-books: the documents of an EPUB's spine, in order, as one text.

For a spine document in another format its fallback is read; pictures hold no text. Ruby annotations are left out (see
`markup`), and so is the table of contents.

Source: EPUB 3.3 (W3C Recommendation), sections 3.5 (foreign resources), 4 (container) and 5 (package).
"""

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lxml import etree

from revlm.corpus.reading.readers.archive import Archive, opened_archive
from revlm.corpus.reading.readers.declared import EncodingError, decoded
from revlm.corpus.reading.readers.markup import Markup, MarkupError
from revlm.corpus.reading.readers.raw import RawText, Reading, UnusableFileError, no_text, shown, title_of
from revlm.corpus.reading.readers.rows import in_pieces

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
# XHTML, the HTML and OEB of older books, pages that are drawings with text, and talking books.
_READABLE = frozenset(
    ("application/xhtml+xml", "text/html", "text/x-oeb1-document", "image/svg+xml", "application/x-dtbook+xml")
)
# Limit of the package and container documents, which are parsed into trees fifty times their size.
_PACKAGE_BYTES = 8 << 20
_TEXTLESS = ("image/", "audio/", "video/", "font/")


def read_epub(path: Path, reading: Reading) -> Iterator[RawText]:
    """Yields the one text of a book, read chapter by chapter; its title is the package's."""
    with opened_archive(path, reading) as archive:
        book = _Book(path, archive, reading)
        yield RawText(book.pieces(), path.stat().st_size, title=book.title)


class _Book:
    def __init__(self, path: Path, archive: Archive, reading: Reading) -> None:
        self._path, self._archive, self._reading = path, archive, reading
        [root_file] = self._elements(self._xml(_CONTAINER), "rootfile")[:1] or [None]
        if root_file is None:
            raise archive.fault(_CONTAINER, "names no package")
        package_name = root_file.get("full-path", "")
        package = self._xml(package_name)
        titles = (" ".join("".join(each.itertext()).split()) for each in self._elements(package, "title"))
        self.title = title_of(next(filter(None, titles), None))
        self._names = self._spine(package, package_name)
        locked = self._locked()
        if any(name in locked for name in self._names):
            raise UnusableFileError(path, "is locked (DRM)", "get an edition that is not")

    def pieces(self) -> Iterator[str]:
        """Yields the text, with two blank lines between documents.

        Raises:
            UnusableFileError: a document cannot be read; the error names it.
        """
        separator = ""
        for name in self._names:
            if text := self._text(name):
                yield separator
                yield from in_pieces(text)
                separator = "\n\n\n"
        yield "\n"

    def _text(self, name: str) -> str:
        with self._archive.naming(name):
            try:
                markup = decoded(self._archive.read(name))
                if reason := no_text(markup):
                    raise self._archive.fault(name, reason)
                return Markup(markup, self._reading).text
            except EncodingError as error:
                raise self._archive.fault(name, str(error), error.remedy) from error
            except MarkupError as error:
                raise self._archive.fault(name, f"cannot be parsed: {error}", error.remedy) from error

    def _spine(self, package: Any, package_name: str) -> list[str]:
        """Returns the names of the spine's documents inside the archive, in order, each once."""
        items = {item.get("id"): item for item in self._elements(package, "item")}
        references = self._elements(package, "itemref")
        if not references:
            raise UnusableFileError(
                self._path, "has no spine, so its reading order is unknown", "fetch or make it again"
            )
        names: dict[str, None] = {}
        for reference in references:
            identifier = reference.get("idref")
            if identifier not in items:
                raise self._archive.fault(package_name, f"has no item {shown(identifier)}, which its spine names")
            item = self._readable(items[identifier], items, package_name)
            # The table of contents is not part of the text.
            if item is not None and "nav" not in item.get("properties", "").split():
                names[self._name(item.get("href", ""), posixpath.dirname(package_name))] = None
        if not names:
            kinds = sorted({items[each.get("idref")].get("media-type", "") for each in references})
            reason = f"holds no text in its spine, only {', '.join(map(shown, kinds[:8]))}"
            raise UnusableFileError(self._path, reason, "get an edition with text")
        return list(names)

    def _readable(self, item: Any, items: dict[Any, Any], package_name: str) -> Any | None:
        """Returns the item or the first readable one of its fallbacks; None where it holds no text."""
        seen: list[Any] = []
        each = item
        while each is not None and each not in seen:
            if _media_type(each) in _READABLE:
                return each
            seen.append(each)
            each = items.get(each.get("fallback"))
        kind = _media_type(item)
        if kind.startswith(_TEXTLESS):
            return None
        reason = f"names {shown(item.get('href', ''))} in its spine, of type {shown(kind)}, and no fallback for it"
        raise self._archive.fault(package_name, reason, "convert it to XHTML")

    def _name(self, href: str, folder: str) -> str:
        """Returns the name inside the archive of a reference in the package, percent-encoded or not."""
        href = href.partition("#")[0]
        names = [posixpath.normpath(posixpath.join(folder, each)).lstrip("/") for each in (unquote(href), href)]
        return next((name for name in names if name in self._archive), names[0])

    def _locked(self) -> set[str]:
        """Returns the names of encrypted files; encrypted fonts do not lock a book."""
        if _ENCRYPTION not in self._archive:
            return set()
        references = self._elements(self._xml(_ENCRYPTION), "CipherReference")
        return {posixpath.normpath(unquote(each.get("URI", ""))).lstrip("/") for each in references}

    def _xml(self, name: str) -> Any:
        raw = self._archive.read(name, _PACKAGE_BYTES)
        parser = etree.XMLParser(no_network=True, load_dtd=False, resolve_entities="internal", huge_tree=False)
        with self._archive.naming(name):
            return etree.fromstring(raw, parser)

    @staticmethod
    def _elements(element: Any, name: str) -> list[Any]:
        """Returns all descendants with a name, whatever their namespace."""
        return list(element.iter(f"{{*}}{name}"))


def _media_type(item: Any) -> str:
    return str(item.get("media-type", "")).partition(";")[0].strip().lower()
