"""Removes what Project Gutenberg puts before and after a text, and nothing of the text itself.

The marks are whole lines that name PROJECT GUTENBERG, with or without asterisks; they changed over the years,
so each generation has its pattern here. A line alone is not enough: a novel may quote one. The front is only
cut where what stands above it is a Project Gutenberg header, the back only where nothing follows or what
follows speaks of Project Gutenberg again, as its licence does. Where this evidence is missing the text stays
whole. The credits right after the start line ("Produced by ...") belong to the front; blank lines next to a cut go
with it, and the newline that ends the last line stays.
"""

import re

# The longest header known, the "small print" of the 1990s, has about 20,000 characters; the licence at the
# end as many.
HEADER_LIMIT = 32_768
FOOTER_LIMIT = 65_536
# With what may lie next to the marks: credits and blank lines.
HEAD_CHARACTERS = HEADER_LIMIT + 8_192
TAIL_CHARACTERS = FOOTER_LIMIT + 8_192

_START = re.compile(
    r"^[^\w\n]*START OF TH(?:E|IS) PROJECT GUTENBERG E-?(?:BOOK|TEXT)\b.*$", re.MULTILINE | re.IGNORECASE
)
_SMALL_PRINT_END = re.compile(r"^[^\w\n]*END\W*THE SMALL PRINT!.*$", re.MULTILINE)
_END = re.compile(r"^[^\w\n]*END OF TH(?:E|IS) PROJECT GUTENBERG E-?(?:BOOK|TEXT)\b.*$", re.MULTILINE | re.IGNORECASE)
_END_OF_TITLE = re.compile(r"^[^\w\n]*End of (?:the |this )?Project Gutenberg\b.*$", re.MULTILINE | re.IGNORECASE)
_NAME = re.compile(r"PROJECT\s+GUTENBERG", re.IGNORECASE)
_TITLE = re.compile(r"^Title:[ \t]*(\S.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)
_CREDITS = re.compile(
    r"\s*(?:Produced by|E-?text prepared by|This e-?(?:text|book) was (?:produced|prepared) by|"
    r"Transcribed from the)\b"
    r"[^\n]*(?:\n[^\n]*\S[^\n]*){0,9}(?:\n[ \t]*(?=\n)|\Z)",
    re.IGNORECASE,
)


def title_in(front: str) -> str | None:
    """Returns the title that front matter names, None where it names none."""
    title = _TITLE.search(front)
    return " ".join(title.group(1).split()) if title else None


def front_end(text: str) -> int:
    """Returns the offset of the first character of the text proper: 0 where there is no Gutenberg header.

    No more than the first `HEAD_CHARACTERS` of a text count.
    """
    text = text[:HEAD_CHARACTERS]
    mark = _START.search(text, 0, HEADER_LIMIT)
    is_header = mark and _is_header(text[: mark.start()])
    end = _end_of_wrapped_mark(text, mark) if mark and is_header else 0
    small_print = _SMALL_PRINT_END.search(text, end, HEADER_LIMIT)
    if small_print and _NAME.search(text, 0, small_print.start()):
        end = small_print.end()
    if not end:
        return 0
    while credit := _CREDITS.match(text, end):
        end = credit.end()
    return _next_line_with_text(text, end)


def _is_header(above: str) -> bool:
    """Whether the text above a start line is a header (or nothing), not the beginning of a book."""
    first_lines = "\n".join([line for line in above.split("\n") if line.strip()][:10])
    return not first_lines or bool(_NAME.search(first_lines) or _TITLE.search(first_lines))


def _end_of_wrapped_mark(text: str, mark: re.Match[str]) -> int:
    """The end of a mark such as `*** START OF ... A LONG / TITLE ***`, its title over up to three lines."""
    line = mark.group().strip()
    if not line.startswith("***") or line.endswith("***"):
        return mark.end()
    wrapped = re.compile(r"(?:\n[^\n]*\S[^\n]*){1,2}?\*\*\*[ \t]*$", re.MULTILINE).match(text, mark.end())
    return wrapped.end() if wrapped else mark.end()


def _next_line_with_text(text: str, offset: int) -> int:
    """The start of the first line at or after `offset` that is not blank, so that its indentation is kept."""
    first = re.compile(r"\S").search(text, offset)
    if not first:
        return len(text)
    return max(offset, text.rfind("\n", 0, first.start()) + 1)


def back_start(text: str, start: int) -> int:
    """Returns the offset of the first character after the text proper, which begins at `start`.

    All of `text` where there is no footer. No more than the last `TAIL_CHARACTERS` of a text count.
    """
    start = max(start, len(text) - TAIL_CHARACTERS)
    zone = max(start, len(text) - FOOTER_LIMIT)
    marks = list(_END.finditer(text, zone))
    titles = list(_END_OF_TITLE.finditer(text, zone))
    if marks:
        end = marks[-1]
        # "End of Project Gutenberg's <title>, by <author>" stands a few lines above the mark, over one to
        # three lines.
        for title in titles:
            if title.start() < end.start() and _only_a_heading(text[title.start() : end.start()]):
                end = title
                break
    elif titles:
        end = titles[-1]
    else:
        return len(text)
    after = text[end.end() :]
    if after.strip() and not _NAME.search(after):
        return len(text)
    kept = text[start : end.start()].rstrip()
    return start + len(kept) + (1 if kept and start + len(kept) < end.start() else 0)


def _only_a_heading(between: str) -> bool:
    paragraphs = [paragraph for paragraph in re.split(r"\n\s*\n", between) if paragraph.strip()]
    return len(paragraphs) == 1 and paragraphs[0].strip().count("\n") < 3
