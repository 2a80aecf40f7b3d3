"""Finds the front and back matter that Project Gutenberg adds to a text, without removing any of the text itself.

The marks are whole lines that name PROJECT GUTENBERG, with or without asterisks; they have changed since 1991, so each
generation has its pattern here. A line alone is not enough: a novel may quote one. There is front matter only below a
Project Gutenberg header, and back matter only where nothing, a licence or a trailer follows. Without this evidence the
text stays whole, and `remaining_mark` finds the line for a warning. The user's own text above a header or below a
licence is kept. Notes on the e-book right after the start line belong to the front (`notes`). Blank lines next to a cut
belong to it, and the newline that ends the last line stays.
"""

import re

from revlm.gutenberg.notes import SPEAKS_OF_EBOOK, end_of_notes, paragraph_at

# The longest known header, the "small print" of the 1990s, has about 20,000 characters; so has the licence at the end.
HEADER_LIMIT = 32_768
FOOTER_LIMIT = 65_536
# Plus the notes and blank lines next to the marks.
HEAD_CHARACTERS = HEADER_LIMIT + 8_192
TAIL_CHARACTERS = FOOTER_LIMIT + 8_192

_LINES = re.MULTILINE | re.IGNORECASE
_OF_EBOOK = r"(?:TH(?:E|IS) )?(?:COPYRIGHTED )?PROJECT GUTENBERG(?:['\u2019]S)? E-?(?:BOOK|TEXT)\b.*$"
_START = re.compile(rf"^[^\w\n]*START OF {_OF_EBOOK}", _LINES)
_END = re.compile(rf"^[^\w\n]*END OF {_OF_EBOOK}", _LINES)
_END_OF_TITLE = re.compile(
    r"^[^\w\n]*(?:This is )?(?:the )?End (?:of )?(?:the |this )?Project Gutenberg(?:[^\w\n]*$|"
    r"['\u2019]s\b(?=[^\n]*(?:\n[^\n]+){0,2}\bby\b)|(?:['\u2019]s|[- ]tm)?[ \t]+(?:E-?(?:text|book)|Edition|of)\b).*$",
    _LINES,
)
_SMALL_PRINT = re.compile(r"^[^\w\n]*(?:START\W*)?(?:THE )?(?:LEGAL )?SMALL PRINT\b.*$", _LINES)
_SMALL_PRINT_END = re.compile(r"^[^\w\n]*END\W*(?:OF )?(?:THE )?SMALL PRINT\b.*$", re.MULTILINE)
_NAME = re.compile(r"PROJECT\s+GUTENBERG", re.IGNORECASE)
_TITLE = re.compile(r"^Title:[ \t]*(\S.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)
# The first line of a header, up to the title: "The Project Gutenberg EBook of ", "Project Gutenberg's " (X, by Y).
_OPENING = re.compile(
    r"^[^\w\n]*(?:This is )?(?:the |an? )?Project Gutenberg"
    r"(?:(?:['\u2019]s|[- ]tm)?[ \t]+(?:E-?(?:text|book)|Edition)\b(?:[ \t]+of\b|[,:])?|"
    r"['\u2019]s\b(?=[^\n]{0,200}(?:\n[^\n]{1,200})?,\s+by\b))[ \t]*",
    _LINES,
)
_ABOVE_OPENING = re.compile(
    r"Project\s+Gutenberg|Copyright laws are changing|This header should be the first|small print", re.IGNORECASE
)
_FIELD = re.compile(r"\s*(?:[A-Z][\w.'\u2019()/ -]{1,40}:|[\W\d_]*$|by\b|translated\b|\[)", re.IGNORECASE)
_TRAILER = re.compile(
    r"PROJECT\s+GUTENBERG|gutenberg\.(?:org|net)|pglaf\.org|This (?:file|e-?text|e-?book) should be named|"
    r"Updated editions will replace|This and all associated files|Corrected editions of our e|"
    r"Versions based on separate sources|Creating the works from|e-?(?:text|book)s?\b",
    re.IGNORECASE,
)
_LICENCE = re.compile(
    r"FULL LICENSE|GUTENBERG LICENSE|SMALL PRINT|This (?:file|e-?text|e-?book) should be named|Literary Archive|"
    r"Updated editions will replace|Corrected editions of our e|Creating (?:the )?works from",
    re.IGNORECASE,
)
_LICENCE_END = re.compile(rf"\bto hear about new\s+e[Bb]ooks[^\w\n]*$|{_SMALL_PRINT_END.pattern}", re.MULTILINE)
_REMAINING = re.compile(
    rf"{_START.pattern}|{_END.pattern}|^[^\w\n]*START:? FULL LICENSE\b.*$|"
    r"^[^\w\n]*THE FULL PROJECT GUTENBERG.{0,8} LICENSE\b.*$|^[^\w\n]*START\W*THE SMALL PRINT\b.*$|"
    r"^[^\w\n]*END\W*THE SMALL PRINT\b.*$|"
    r"^[^\w\n]*The Project Gutenberg E-?(?:text|book) (?:of|,)\b.*$",
    _LINES,
)
# A licence ends before a longer passage that does not mention Project Gutenberg.
_GAP_CHARACTERS = 2_000
_PROSE_CHARACTERS = 30


def title_of(text: str) -> str | None:
    """Returns the title that the front matter of a text names, whatever its line ends, or None."""
    text = text[: 2 * HEAD_CHARACTERS].replace("\r\n", "\n").replace("\r", "\n")
    return title_in(text[front_matter(text)])


def title_in(front: str) -> str | None:
    """Returns the title that front matter names, or None.

    Headers written before 2001 have no line "Title:" but begin with "The Project Gutenberg Etext of X, by Y".
    """
    if title := _TITLE.search(front):
        return " ".join(title.group(1).split())
    if opening := _OPENING.search(front):
        return _without_author(_lines_of_title(front[opening.end() :]))
    if start := _START.search(front):
        mark = front[start.start() : _end_of_wrapped_mark(front, start)]
        named = re.split(r"E-?(?:BOOK|TEXT)\b(?:\s+OF\b)?", mark, maxsplit=1, flags=re.IGNORECASE)[1]
        return " ".join(named.split()).strip(" *,:-") or None
    return None


def _lines_of_title(text: str) -> str:
    """Returns the title, with the author, that begins `text` on one line or several."""
    taken: list[str] = []
    for line in text.split("\n")[:4]:
        if not line.strip() or re.match(r"\s*(?:[(\[]?#|\[|copyright|this |\*)", line, re.IGNORECASE):
            if line.strip() or taken:
                break
            continue
        taken.append(line)
        if line.rstrip().endswith("*"):
            break
    return re.sub(r"\s*[\[(]?#.*$|\s*\[.*$", "", " ".join(" ".join(taken).split())).strip(" *,:-")


def _without_author(named: str) -> str | None:
    """Returns the title in "X, by Y" and "X by Y Z"."""
    title, _, author = named.rpartition(", by ")
    if not author or not title:
        by = re.fullmatch(
            r"(.+?)[,;]? (?:by|By) ((?:[A-Z][\w.'\u2019-]*|de|van|von|of|la|du)(?: [^\d\W]\S*)+|[A-Z]\w{3,})", named
        )
        title = by.group(1) if by else named
    return title.strip(" *,:-") or None


def front_matter(text: str) -> slice:
    """Returns the slice of a text that is Project Gutenberg's front matter; an empty slice at 0 where there is none.

    Only the first `HEAD_CHARACTERS` of a text are searched.
    """
    text = text[:HEAD_CHARACTERS]
    end = _end_of_header(text)
    if not end:
        return slice(0, 0)
    return slice(_begin_of_header(text[:end]), _next_line_with_text(text, end_of_notes(text, end)))


def _end_of_header(text: str) -> int:
    mark = _START.search(text, 0, HEADER_LIMIT)
    end = _end_of_wrapped_mark(text, mark) if mark and _is_header(text[: mark.start()]) else 0
    small_print = _SMALL_PRINT_END.search(text, end, HEADER_LIMIT)
    if not small_print or not _NAME.search(text, 0, small_print.start()):
        return end
    between = text[end : small_print.start()]
    # The small print of a short book may stand at its end.
    if _END.search(between) or _END_OF_TITLE.search(between):
        return end
    if end:
        begin = _SMALL_PRINT.search(between)
        if not begin or not all(SPEAKS_OF_EBOOK.search(each) for each in _paragraphs(between[: begin.start()])):
            return end
    return small_print.end()


def _is_header(above: str) -> bool:
    """Whether the text above a start line is a header (or nothing), not the beginning of a book."""
    first_lines = "\n".join([line for line in above.split("\n") if line.strip()][:10])
    return not first_lines or bool(_NAME.search(first_lines) or _TITLE.search(first_lines))


def _begin_of_header(header: str) -> int:
    """Returns where a header begins in a text that ends with it; the text above it is the user's own."""
    opening = _OPENING.search(header) or _TITLE.search(header)
    if not opening:
        return 0
    above = _paragraphs(header[: opening.start()])
    is_own = any(re.search(r"\w", each) and not _ABOVE_OPENING.search(each) for each in above)
    return opening.start() if is_own else 0


def prose_in_header(front: str) -> str | None:
    """Returns the first paragraph above the start line that no Project Gutenberg header contains, or None."""
    start = _START.search(front)
    if not start or _SMALL_PRINT.search(front):
        return None
    for paragraph in _paragraphs(front[: start.start()]):
        if (
            len(paragraph) >= _PROSE_CHARACTERS
            and not SPEAKS_OF_EBOOK.search(paragraph)
            and not _FIELD.match(paragraph)
        ):
            return paragraph
    return None


def _end_of_wrapped_mark(text: str, mark: re.Match[str]) -> int:
    """Returns the end of a mark such as `*** START OF ... A LONG / TITLE ***`, which may span three lines."""
    line = mark.group().strip()
    if not line.startswith("***") or line.endswith("***"):
        return mark.end()
    wrapped = re.compile(r"(?:\n[^\n]*\S[^\n]*){1,2}?\*\*\*[ \t]*$", re.MULTILINE).match(text, mark.end())
    return wrapped.end() if wrapped else mark.end()


def _next_line_with_text(text: str, offset: int) -> int:
    """Returns the start of the first line at or after `offset` that is not blank; its indentation is kept."""
    first = re.compile(r"\S").search(text, offset)
    if not first:
        return len(text)
    return max(offset, text.rfind("\n", 0, first.start()) + 1)


def back_matter(text: str) -> slice:
    """Returns the slice of a text that is Project Gutenberg's back matter; an empty one at its end where there is none.

    Only the last `TAIL_CHARACTERS` of a text are searched.
    """
    start, zone = max(0, len(text) - TAIL_CHARACTERS), max(0, len(text) - FOOTER_LIMIT)
    nothing = slice(len(text), len(text))
    marks, titles = list(_END.finditer(text, zone)), list(_END_OF_TITLE.finditer(text, zone))
    if not marks and not titles:
        return nothing
    mark = (marks or titles)[-1]
    end = _end_of_back(text, _end_of_wrapped_mark(text, mark))
    if not end:
        return nothing
    # "End of Project Gutenberg's <title>, by <author>" stands a few lines above the mark, over one to three lines.
    first = next((each for each in titles if marks and _is_heading_of(each, mark, text)), mark)
    kept = text[start : first.start()].rstrip()
    return slice(start + len(kept) + (1 if kept and start + len(kept) < first.start() else 0), end)


def _is_heading_of(title: re.Match[str], mark: re.Match[str], text: str) -> bool:
    between = _paragraphs(text[title.start() : mark.start()])
    return len(between) == 1 and between[0].strip().count("\n") < 3


def _end_of_back(text: str, offset: int) -> int:
    """Returns the end of the licence that follows an end mark at `offset`, or 0 if something else follows.

    The user's own text below a licence is kept, with one of the newlines before it.
    """
    after = text[offset:]
    if not re.search(r"\w", after):
        return len(text)
    end = _end_of_licence(after)
    if not end or (re.search(r"\w", after[end:]) and not _LICENCE.search(after, 0, end)):
        return 0
    if not re.search(r"\w", after[end:]):
        return len(text)
    own = _next_line_with_text(text, offset + end)
    return own - 1 if text[own - 2 : own] == "\n\n" else own


def _end_of_licence(after: str) -> int:
    """Returns the end of the last paragraph of a licence that begins `after`, or 0 where none does."""
    end = at = 0
    known = _LICENCE_END.search(after)
    while (paragraph := paragraph_at(after, at)) and paragraph.start() - end <= _GAP_CHARACTERS:
        if known and paragraph.end() >= known.end():
            return known.end() if end or paragraph.start() < known.start() or _TRAILER.search(paragraph.group()) else 0
        at = paragraph.end()
        if _TRAILER.search(paragraph.group()):
            end = at
    return end


def remaining_mark(text: str) -> str | None:
    """Returns the first line of a text that Project Gutenberg puts before or after a book, or None."""
    if "utenberg" not in text and "GUTENBERG" not in text and "SMALL PRINT" not in text and "LICENSE" not in text:
        return None
    mark = _REMAINING.search(text)
    return " ".join(mark.group().split()) if mark else None


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]
