"""E-books: one that a widely used library wrote, one by hand, and each way in which one can be bad."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ebooklib import epub

from tests.corpus.reading.readers.reading import bytes_counted, read, refused_or_skipped

CHAPTERS = {
    "Première nuit": "<h1>Première nuit</h1><p>Il était une&nbsp;fois &mdash; «là-bas».</p><p>дым <i>и</i> 雨 🐋</p>",
    "Zweiter Tag": "<h2>Zweiter Tag</h2><blockquote><p>Ä &amp; ö &lt;ü&gt;<br/>Zeile</p></blockquote>"
    "<ul><li>eins</li><li>zwei</li></ul>",
    "Ending": '<p>It was<span epub:type="pagebreak" id="page_9" title="9"></span> calm.</p>',
}
TEXT = (
    "Première nuit\n\nIl était une\u00a0fois — «là-bas».\n\nдым и 雨 🐋\n\n\n"
    "Zweiter Tag\n\nÄ & ö <ü>\nZeile\n\neins\n\nzwei\n\n\n"
    "It was calm.\n"
)


def by_ebooklib(path: Path, *, spine: tuple[int, ...] = (0, 1, 2)) -> Path:
    """Writes a book whose manifest, table of contents and file names are in other orders than its spine."""
    book = epub.EpubBook()
    book.set_identifier("urn:isbn:0000000000000")
    book.set_title("Der Wärter — été")
    book.set_language("de")
    book.add_author("Nobody")
    book.set_cover("cover.png", b"\x89PNG")
    style = epub.EpubItem(uid="style", file_name="style/all.css", media_type="text/css", content="p { color: red }")
    book.add_item(style)
    chapters = []
    for number, (title, body) in enumerate(CHAPTERS.items()):
        chapter = epub.EpubHtml(title=title, file_name=f"text/{9 - number} été.xhtml", lang="de", content=body)
        chapter.add_item(style)
        chapters.append(chapter)
    for chapter in reversed(chapters):
        book.add_item(chapter)
    first, second, third = chapters
    book.toc = [(epub.Section("To be found in the table of contents alone"), [third, first]), second]
    book.guide = [{"type": "text", "title": "Begin reading", "href": first.file_name}]
    book.add_item(epub.EpubNcx())
    book.add_item(epub.EpubNav())
    book.spine = ["cover", "nav", *(chapters[place] for place in spine)]
    epub.write_epub(str(path), book)
    return path


def test_a_book_by_ebooklib_is_its_text_in_the_order_of_its_spine(tmp_path: Path) -> None:
    path = by_ebooklib(tmp_path / "book.epub")
    with zipfile.ZipFile(path) as archive:
        assert {"EPUB/nav.xhtml", "EPUB/toc.ncx", "EPUB/style/all.css"} <= set(archive.namelist())
    (document,), skipped = read(path)
    assert document.text == TEXT
    assert (document.title, document.source, skipped) == ("Der Wärter — été", "book.epub", [])
    assert bytes_counted(path) == path.stat().st_size


def test_the_spine_alone_says_the_order(tmp_path: Path) -> None:
    (document,), _ = read(by_ebooklib(tmp_path / "book.epub", spine=(2, 0, 1)))
    first, second, third = TEXT.strip("\n").split("\n\n\n")
    assert document.text == f"{third}\n\n\n{first}\n\n\n{second}\n"


CONTAINER_NAME, LZMA_HEADER = b"META-INF/container.xml", b"\11\4\5\0props"
CONTAINER = '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>A Small
 Book</dc:title></metadata><manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="two" href="text/two.xhtml" media-type="application/xhtml+xml"/>
<item id="one" href="text/one%20.xhtml" media-type="application/xhtml+xml"/>
<item id="css" href="style.css" media-type="text/css"/></manifest>
<spine>{}</spine></package>"""
SPINE = '<itemref idref="nav"/><itemref idref="one"/><itemref idref="two"/>'
ONE = """<?xml version="1.0" encoding="utf-8"?><html><head><title>no text</title><style>p {}</style></head>
<body><h1>Chapter&#160;One</h1><p>It was  a
dark<br/>and <i>stormy</i> night&mdash;</p><p>the end.</p><pre>  as
 it stands</pre></body></html>"""


def by_hand(path: Path, **more: str) -> Path:
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": PACKAGE.format(SPINE),
        "OEBPS/nav.xhtml": "<html><body>Contents</body></html>",
        "OEBPS/text/one .xhtml": ONE,
        "OEBPS/text/two.xhtml": "<html><body><div>Chapter <b>Two</b><p>more</p>rest</div></body></html>",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (files | more).items():
            archive.writestr(name, content)
    return path


def test_a_book_by_hand_is_read_in_the_order_of_its_spine(tmp_path: Path) -> None:
    (document,), skipped = read(by_hand(tmp_path / "book.epub"))
    assert document.text == (
        "Chapter\u00a0One\n\nIt was a dark\nand stormy night—\n\nthe end.\n\n  as\n it stands\n\n\n"
        "Chapter Two\n\nmore\n\nrest\n"
    )
    assert (document.title, document.source, skipped) == ("A Small Book", "book.epub", [])


DTBOOK = (
    '<dtbook xmlns="http://www.daisy.org/z3986/2005/dtbook/"><book><bodymatter><level1><h1>Talking</h1><p>A book.</p>'
    "</level1></bodymatter></book></dtbook>"
)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg"><text><tspan x="0" y="1">A page</tspan><tspan x="0" y="2">drawn</tspan>'
    "</text></svg>"
)


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ('<item id="page" href="text/page.svg" media-type="image/svg+xml"/>', "A page drawn"),
        ('<item id="page" href="text/page.dtb" media-type="application/x-dtbook+xml"/>', "Talking\n\nA book."),
        (
            '<item id="page" href="text/page.bin" media-type="application/x-unknown" fallback="other"/>'
            '<item id="other" href="text/page.dtb" media-type="application/x-dtbook+xml"/>',
            "Talking\n\nA book.",
        ),
    ],
)
def test_a_page_of_a_spine_in_another_format_is_read_or_its_fallback(tmp_path: Path, items: str, text: str) -> None:
    package = PACKAGE.format('<itemref idref="page"/><itemref idref="two"/>').replace(
        "</manifest>", f"{items}</manifest>"
    )
    pages = {"OEBPS/text/page.svg": SVG, "OEBPS/text/page.dtb": DTBOOK, "OEBPS/text/page.bin": "..."}
    (document,), skipped = read(by_hand(tmp_path / "book.epub", **{"OEBPS/book.opf": package}, **pages))
    assert " ".join(document.text.split()) == " ".join(f"{text} Chapter Two more rest".split())
    assert skipped == []


def test_a_spine_of_pictures_alone_is_named_as_that(tmp_path: Path) -> None:
    picture = '<item id="page" href="text/page.png" media-type="image/png"/></manifest>'
    package = PACKAGE.format('<itemref idref="page"/>').replace("</manifest>", picture)
    path = by_hand(tmp_path / "book.epub", **{"OEBPS/book.opf": package}, **{"OEBPS/text/page.png": "..."})
    refused_or_skipped(path, "holds no text in its spine, only 'image/png'", [])


def test_a_page_without_a_fallback_is_named(tmp_path: Path) -> None:
    unknown = '<item id="page" href="text/page.bin" media-type="application/x-unknown"/></manifest>'
    package = PACKAGE.format('<itemref idref="page"/>').replace("</manifest>", unknown)
    path = by_hand(tmp_path / "book.epub", **{"OEBPS/book.opf": package}, **{"OEBPS/text/page.bin": "..."})
    refused_or_skipped(path, "names 'text/page.bin' in its spine, of type 'application/x-unknown', and no fallback", [])


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"OEBPS/book.opf": PACKAGE.format("")}, "has no spine"),
        ({"META-INF/container.xml": "<container/>"}, "'META-INF/container.xml' inside names no package"),
        ({"META-INF/container.xml": "<container"}, "'META-INF/container.xml' inside is damaged"),
        (
            {"META-INF/encryption.xml": '<e><CipherReference URI="OEBPS/text/two.xhtml"/></e>'},
            r"is locked \(DRM\); get an edition that is not",
        ),
    ],
)
def test_an_ebook_that_cannot_be_read(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    refused_or_skipped(by_hand(tmp_path / "book.epub", **files), reason, [])


def with_flags(raw: bytes, flags: int, method: int) -> bytes:
    """An archive whose directory says of every file that it is, say, encrypted."""
    changed = bytearray(raw)
    for mark, flags_at, method_at in ((b"PK\1\2", 8, 10), (b"PK\3\4", 6, 8)):
        place = -1
        while (place := raw.find(mark, place + 1)) >= 0:
            changed[place + flags_at] |= flags
            changed[place + method_at] = method
    return bytes(changed)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda raw: with_flags(raw, 0, zipfile.ZIP_DEFLATED), id="deflated bytes that are none"),
        pytest.param(lambda raw: with_flags(raw, 1, zipfile.ZIP_STORED), id="encrypted"),
        pytest.param(lambda raw: with_flags(raw, 0, 99), id="another compression"),
    ],
)
def test_an_archive_whose_files_cannot_be_had(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = by_hand(tmp_path / "book.epub")
    path.write_bytes(damage(path.read_bytes()))
    refused_or_skipped(path, "'META-INF/container.xml' inside is damaged", [])


def test_compressed_bytes_that_are_damaged(tmp_path: Path) -> None:
    stored, path = by_hand(tmp_path / "stored.epub"), tmp_path / "book.epub"
    with zipfile.ZipFile(stored) as book, zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name in book.namelist():
            archive.writestr(name, book.read(name))
    raw = path.read_bytes()
    start = raw.index(CONTAINER_NAME) + len(CONTAINER_NAME) + len(LZMA_HEADER)
    path.write_bytes(raw[:start] + bytes([255] * 20) + raw[start + 20 :])
    refused_or_skipped(path, "'META-INF/container.xml' inside is damaged", [])


def test_markup_that_is_none_is_passed_over_as_in_a_browser(tmp_path: Path) -> None:
    more = {"OEBPS/text/two.xhtml": "<html><body><p>a<![what[b]]></p></body></html>"}
    (document,), _ = read(by_hand(tmp_path / "book.epub", **more))
    assert document.text.endswith("\n\n\na\n")


def test_cells_of_a_table_stand_apart_and_marked_text_is_kept(tmp_path: Path) -> None:
    body = """<p>before <![CDATA[3 < 4 & 5]]> after</p><table><tr><th>Port</th><th>Tons</th></tr>
<tr><td>Calm</td><td>c<i>2</i></td><td/></tr><tr><td><p>one</p></td><td>two</td></tr></table>"""
    (document,), _ = read(by_hand(tmp_path / "book.epub", **{"OEBPS/text/two.xhtml": f"<body>{body}</body>"}))
    chapter = document.text.split("\n\n\n")[1]
    assert chapter == "before 3 < 4 & 5 after\n\nPort Tons\n\nCalm c2\n\none\n\ntwo\n"


def test_fonts_that_are_encrypted_lock_nothing(tmp_path: Path) -> None:
    more = {"META-INF/encryption.xml": '<e><CipherReference URI="OEBPS/font.otf"/></e>'}
    assert len(read(by_hand(tmp_path / "book.epub", **more))[0]) == 1


def test_what_is_no_archive_is_no_ebook(tmp_path: Path) -> None:
    path = tmp_path / "book.epub"
    path.write_bytes(b"PK\3\4 cut off")
    refused_or_skipped(path, "is damaged or not an EPUB", [])
