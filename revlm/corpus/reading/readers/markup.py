"""Extracts the text of XHTML, HTML, SVG and DTBook: a blank line between block elements, white space as in a browser.

libxml2's XML parser reads well-formed documents, its HTML parser all others. Nothing external is loaded, entities
declared in the document are expanded within libxml2's bounds, and no tree is built. Ruby annotations (`rt`), scripts,
styles, DTBook page numbers and MathML annotations are left out; MathML's presentation is the text. A fraction is
written with a slash.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape
from html.entities import html5
from typing import Any

from lxml import etree

from revlm.corpus.reading.readers.raw import Reading

_STEP_CHARACTERS = 1 << 16
_SPACES = re.compile(" {2,}")
_SPACE = re.compile(r"[ \t\r\n\f]+")
_BLOCKS_NAMES = """
    address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption
    figure footer form frameset h1 h2 h3 h4 h5 h6 header hgroup hr html legend li listing main menu nav ol
    optgroup p pre search section summary table tbody tfoot thead tr ul xmp svg text author bodymatter book
    bridgehead byline covertitle dateline docauthor doctitle epigraph frontmatter hd imggroup levelhd level
    level1 level2 level3 level4 level5 level6 lg line linegroup list note poem prodnote rearmatter sidebar
"""
_BLOCKS = frozenset(_BLOCKS_NAMES.split())
# Separated by a space, like the cells of a table.
_CELLS = frozenset(["td", "th", "mtd", "option", "textarea", "button", "lic"])
# Nothing separates them: parts of a word or of a formula.
_INLINE_NAMES = """
    a abbr acronym b bdi bdo big blink br cite code data del dfn em font i img ins kbd label mark nobr q rb ruby
    s samp small span strike strong sub sup time tt u var wbr image object picture map area input noscript slot
    output math mi mn mo ms mtext mrow mstyle msup msub msubsup mover munder munderover msqrt mroot mpadded
    mphantom menclose semantics mfenced mmultiscripts mprescripts none mspace merror mfrac maction g use defs
    textpath sent w noteref annoref
"""
_INLINE = frozenset(_INLINE_NAMES.split())
_HIDDEN_NAMES = """
    script style template rt rp rtc annotation annotation-xml title desc metadata noframes iframe pagenum
"""
_HIDDEN = frozenset(_HIDDEN_NAMES.split())
_PREFORMATTED = frozenset(["pre", "listing", "xmp"])
_SPECIAL = frozenset(["br", "mfrac", "poem"])
# A document of more takes half a minute on a busy machine, and is no chapter.
_MAX_ELEMENTS = 1 << 21
_HEAD_CHARACTERS = 1 << 12
_DEEPEST_TITLE = 3  # html, head, title; or title alone
# A document type, the end of its internal subset, the entities declared there, and those whose value is plain text.
_DOCTYPE = re.compile(r"<!DOCTYPE\b", re.IGNORECASE)
_END_OF_SUBSET = re.compile(r"\]\s*>")
_DECLARED = re.compile(r"<!ENTITY\s+([\w:.-]+)")
_PLAIN_ENTITY = re.compile(r"""<!ENTITY\s+([\w:.-]+)\s+(?:"([^"<&%]*)"|'([^'<&%]*)')\s*>""")
_CDATA = "<![CDATA["
_MARK = re.compile(r"<!\[CDATA\[|<!--|&([A-Za-z][A-Za-z0-9]*);")
_CLOSED_BY = {_CDATA: "]]>", "<!--": "-->"}
_BOMBS = (etree.ErrorTypes.ERR_ENTITY_LOOP, etree.ErrorTypes.ERR_RESOURCE_LIMIT)
_OF_XML = frozenset(("amp", "lt", "gt", "quot", "apos"))


class MarkupError(Exception):
    """The markup cannot be parsed within the limits."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


class Markup:
    """The text of a document and the title in its head.

    Raises:
        MarkupError: elements are nested more deeply than the limit or are too many, or entities expand without bound.
    """

    def __init__(self, markup: str, reading: Reading) -> None:
        start, end = _document_type(markup)
        declared = set(_DECLARED.findall(markup, start, end))
        try:
            whole = _resolved(markup, lambda name: None if name in declared else _html_character(name))
            found = _parsed(whole, _xml_parser, reading)
        except etree.LxmlError as error:  # it is not well-formed
            if getattr(error, "code", None) in _BOMBS:
                raise MarkupError("its entities expand without bound", "leave it out") from error
            values = {name: one or other for name, one, other in _PLAIN_ENTITY.findall(markup, start, end)}
            without = _resolved(markup[:start] + markup[end:], values.get, cdata=_escaped)
            found = _parsed(without, _html_parser, reading)
        self.text, self.title = found.text(), found.title()


def _xml_parser(target: Any) -> Any:
    return etree.XMLParser(
        target=target, encoding="utf-8", no_network=True, load_dtd=False, resolve_entities="internal", huge_tree=False
    )


def _html_parser(target: Any) -> Any:
    return etree.HTMLParser(target=target, encoding="utf-8", no_network=True, huge_tree=False)


def _parsed(markup: str, parser_for: Any, reading: Reading) -> "_Text":
    """Returns the text after one pass of a parser, fed in steps so that a stop request is checked between them."""
    target = _Text(reading.limits.max_nesting)
    parser = parser_for(target)
    for start in range(0, len(markup), _STEP_CHARACTERS):
        reading.raise_if_stopped()
        parser.feed(markup[start : start + _STEP_CHARACTERS].encode())
        target.require_bounded()
    parser.close()
    target.require_bounded()
    return target


@dataclass(frozen=True, slots=True)
class _Kind:
    """What an element is for the text, by its name; looked up, so that millions of elements take little time."""

    name: str
    is_block: bool
    is_cell: bool
    is_inline: bool
    hides: bool
    is_preformatted: bool
    is_special: bool  # in its own way, or in that of its children


@lru_cache(maxsize=1 << 10)
def _kind_of(tag: str) -> _Kind:
    """Returns the kind of element of a name, without its namespace or the prefix that stands for one."""
    name = tag.rpartition("}")[2].rpartition(":")[2].lower()
    return _Kind(
        name,
        is_block=name in _BLOCKS,
        is_cell=name in _CELLS,
        is_inline=name in _INLINE,
        hides=name in _HIDDEN,
        is_preformatted=name in _PREFORMATTED,
        is_special=name in _SPECIAL,
    )


_NONE, _TITLE_OF_POEM = _kind_of(""), replace(_kind_of("title"), hides=False)


class _Text:
    """The target of a parser; collects the text of block elements.

    A block is preformatted as a whole or not at all, since preformatted elements begin and end one.
    """

    def __init__(self, max_nesting: int) -> None:
        self._max_nesting = max_nesting
        self._blocks: list[str] = []
        self._block: list[str] = []
        self._titles: list[str] = []
        self._open: list[_Kind] = []
        self._fractions: list[int] = []  # the children of each that is open
        self._elements = self._hidden = self._preformatted = 0
        self._last_closed: _Kind | None = None  # the element that ended just now, nothing after it
        self._is_too_much = False

    def text(self) -> str:
        """Returns the text with a blank line between block elements."""
        self._end_block()
        return "\n\n".join(self._blocks)

    def title(self) -> str:
        """Returns the title in the head, or an empty string."""
        return " ".join("".join(self._titles).split())

    def require_bounded(self) -> None:
        """Raises MarkupError where elements were too many or too deep: a parser passes on nothing its target raises."""
        if self._is_too_much and self._elements > _MAX_ELEMENTS:
            raise MarkupError(f"it has more than {_MAX_ELEMENTS:,} elements", "split it into several files")
        if self._is_too_much:
            reason = f"its elements are nested more than {self._max_nesting:,} deep"
            raise MarkupError(reason, "pass a higher --max-nesting if you trust it")

    def start(self, tag: str, attributes: Any) -> None:
        kind, parent = _kind_of(tag), self._open[-1] if self._open else _NONE
        self._elements += 1
        if len(self._open) >= self._max_nesting or self._elements > _MAX_ELEMENTS:
            self._is_too_much = True
            self.require_bounded()
        if parent.is_special or kind.is_special:
            kind = self._special(kind, parent)
        self._open.append(kind)
        self._hidden += kind.hides
        if not self._hidden:
            if kind.is_block:
                self._end_block()
            elif kind.is_cell or self._stands_apart(kind, attributes):
                self._block.append(" ")
        self._preformatted += kind.is_preformatted
        self._last_closed = None

    def _special(self, kind: _Kind, parent: _Kind) -> _Kind:
        """Returns the kind of an element that begins where it or its parent needs special treatment."""
        if parent.name == "mfrac":
            self._fractions[-1] += 1
            if self._fractions[-1] == 2 and not self._hidden:
                self._block.append("/")
        if kind.name == "mfrac":
            self._fractions.append(0)
        elif kind.name == "br" and not self._hidden:
            self._block.append("\n")
        elif (kind.name, parent.name) == ("title", "poem"):
            return _TITLE_OF_POEM
        return kind

    def _stands_apart(self, kind: _Kind, attributes: Any) -> bool:
        """Whether an element begins a word: it has its own position, or neither it nor the one before is inline."""
        if kind.name == "tspan" and not {"x", "y"}.isdisjoint(attributes):
            return True
        return self._last_closed is not None and not kind.is_inline and not self._last_closed.is_inline

    def end(self, tag: str) -> None:
        if not self._open or self._open[-1].name != _kind_of(tag).name:
            return  # of an element that the parser did not say had begun
        kind = self._open.pop()
        if kind.name == "mfrac":
            self._fractions.pop()
        if self._hidden:
            self._hidden -= kind.hides
            self._last_closed = None
        else:
            if kind.is_block:
                self._end_block()
            self._last_closed = kind
        self._preformatted -= kind.is_preformatted

    def data(self, data: str) -> None:
        if self._hidden:
            if self._open[-1].name == "title" and len(self._open) <= _DEEPEST_TITLE:
                self._titles.append(data)
            return
        self._block.append(data if self._preformatted else _SPACE.sub(" ", data))
        self._last_closed = None

    def close(self) -> "_Text":
        return self

    def _end_block(self) -> None:
        if not self._block:
            return
        block = "".join(self._block)
        self._block.clear()
        if not self._preformatted:
            block = _SPACES.sub(" ", block) if "  " in block else block
            block = "\n".join([line.strip(" ") for line in block.split("\n")]) if "\n" in block else block.strip(" ")
        block = block.strip("\n")
        if block and not block.isspace():
            self._blocks.append(block)


def _html_character(name: str) -> str | None:
    """Returns the value of an HTML character reference, escaped for XML; None for XML's own and unknown names."""
    character = None if name in _OF_XML else html5.get(f"{name};")
    return character if character is None else "".join(f"&#{ord(each)};" for each in character)


def _resolved(markup: str, value_of: Callable[[str], str | None], cdata: Callable[[str], str] = str) -> str:
    """Returns the markup with entities that have a value replaced by it and `cdata` applied to CDATA sections."""
    parts: list[str] = []
    position = 0
    while match := _MARK.search(markup, position):
        if name := match[1]:
            value = value_of(name)
            parts += [markup[position : match.start()], match[0] if value is None else value]
            position = match.end()
            continue
        end = markup.find(_CLOSED_BY[match[0]], match.end())
        if end < 0:
            break
        end += len(_CLOSED_BY[match[0]])
        section = markup[match.start() : end]
        parts += [markup[position : match.start()], cdata(section) if section.startswith(_CDATA) else section]
        position = end
    return "".join([*parts, markup[position:]])


def _escaped(section: str) -> str:
    """Returns a CDATA section as escaped text, since HTML has no CDATA."""
    return escape(section.removeprefix(_CDATA).removesuffix(_CLOSED_BY[_CDATA]), quote=False)


def _document_type(markup: str) -> tuple[int, int]:
    """Returns the start and end of the document type with its internal subset; 0, 0 where there is none."""
    found = _DOCTYPE.search(markup, 0, _HEAD_CHARACTERS)
    if found is None:
        return 0, 0
    close, bracket = markup.find(">", found.end()), markup.find("[", found.end())
    if 0 <= bracket < close:
        end = _END_OF_SUBSET.search(markup, bracket)
        return (found.start(), end.end()) if end else (0, 0)
    return (found.start(), close + 1) if close >= 0 else (0, 0)
