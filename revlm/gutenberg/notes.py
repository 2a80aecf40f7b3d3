"""Finds the notes that Project Gutenberg and its volunteers put between a header and the book.

These are credits ("Produced by ..."), thanks, addresses of images or other versions, and bracketed notes below the
small print. A note is a paragraph, or text in brackets, right after the header or another note. It is recognized by
its first words and by what it mentions. Where a book could begin the same way, more evidence is required; without it
the note stays: a line of Project Gutenberg's left in does less harm than a line of the book removed.
"""

import re

_LONGEST_NOTE = 3_000
_EBOOK = r"(?:e-?(?:text|book|dition)|electronic (?:text|edition|version|book))"

SPEAKS_OF_EBOOK = re.compile(
    rf"\b{_EBOOK}s?\b|project\s+gutenberg|gutenberg\.(?:org|net)|distributed\s+proofread|\bpgdp\b|Michael S\. Hart|"
    r"small print",
    re.IGNORECASE,
)
# Words that a note on a file contains and a book does not.
_SPEAKS_OF_FILE = re.compile(
    rf"{SPEAKS_OF_EBOOK.pattern}|@|https?://|www\.|\bhtml\b|\bOCR\b|\bproofread|\bscan(?:s|ned|ning)?\b|this file|"
    r"(?:page|digital|scanned) images|\bimages (?:generously|of the original)|\btranscription|\bvolunteers?\b",
    re.IGNORECASE,
)
_PARAGRAPH = re.compile(r"[ \t]*\S[^\n]*(?:\n[ \t]*[^\s][^\n]*)*")
_DECORATION = r"[\W_]*"
_BY = r"(?:re-?|first )?(?:typed|scanned|produced|digiti[sz]ed|keyed|proofed|proofread)"
_VERBS = (
    rf"{_BY}|prepared|created|made|entered|converted|transcribed|taken|compiled|provided|contributed|donated|edited|"
    "formatted|posted|updated|corrected|generated|submitted|released|put|reproduced|derived|started|completed"
)
# "Produced by A", "Typed in by A".
_CREDIT = re.compile(
    rf"{_DECORATION}(?:{_BY}(?:(?:,| and|,? &) {_BY})*(?: in| up)?|OCR(?:ed)?|HTML version|credits|{_EBOOK})"
    r"(?: for Project Gutenberg)?(?: by|:)\s+",
    re.IGNORECASE,
)
# A name, or an anonymous volunteer.
_SOMEBODY = re.compile(
    r"(?-i:[A-Z\"\u201c])|an? anonymous|volunteers?|"
    r"the (?:online|PG|project|internet|gutenberg|distributed|university)",
    re.IGNORECASE,
)
# "This etext was produced from B", "E-text prepared by A".
_CREDIT_OF_EBOOK = re.compile(
    rf"{_DECORATION}(?:this |the |our )?(?:original )?(?:project gutenberg(?:['\u2019]s)? )?"
    rf"(?:{_EBOOK}|html version|text file|transcription)s?"
    rf"(?: (?:was|were|is|has been|have been))?(?: \w+ly)?(?: first)? (?:{_VERBS})\b",
    re.IGNORECASE,
)
_CREDIT_OF_FILE = re.compile(
    rf"{_DECORATION}(?:this |the )(?:file|text|book|edition|version) was (?:{_VERBS})\b|"
    rf"{_DECORATION}from (?:page |digital |scanned )?images\b|"
    rf"{_DECORATION}(?:prepared|created|transcribed|edited|compiled|contributed|corrected|submitted|donated)"
    r" (?:by|from)\b|"
    rf"{_DECORATION}(?:(?:many|special|our|grateful|sincere|most|with|and) )*thanks? (?:to|you|are due|go|is due)\b|"
    rf"{_DECORATION}(?:we|i)(?: would like to| wish to)? (?:gratefully )?(?:thank|acknowledge)\b",
    re.IGNORECASE,
)
_TRANSCRIBED_FROM = re.compile(
    rf"{_DECORATION}(?:this text was )?transcribed from the\b.*\b(?:edition|by|@)", re.I | re.S
)
_THANKS_FOR_FILE = re.compile(
    r"\bthank[\s\S]*\bfor (?:typing|scanning|producing|preparing|proofreading|transcribing|providing|creating)\b"
    r"[^.]*\b(?:this|the) (?:text|file|transcript|edition)",
    re.IGNORECASE,
)
_PROSE = re.compile(r"\b(?:he|she|they|we|his|her|their|was|were|had|said|is)\b|\bI\b", re.IGNORECASE)

_VERSIONS = re.compile(
    rf"{_DECORATION}(?:(?:transcriber|editor|producer)?['\u2019]?s?['\u2019]? ?note:?\s*)?(?:"
    r"project gutenberg (?:also )?has\b|"
    r"(?:the )?(?:page )?images of (?:the|this) original\b[^.]*\b(?:are|is) available\b|"
    rf"there (?:is|are) (?:an?(?:other)?|several|two|other)\b[^.]*\b(?:editions?|versions?) of this "
    rf"(?:{_EBOOK}|file|title|work|book)\b|"
    rf"an? [\w ]{{1,30}}(?:edition|version) of this (?:{_EBOOK}|title) (?:is|may|can)\b|"
    rf"this (?:project gutenberg )?{_EBOOK} (?:contains|uses|includes|is (?:an? |best|encoded|for the use|also)|"
    r"has been|can|may)\b|"
    r"(?:all of )?(?:the|these) original project gutenberg e-?texts\b|"
    r"welcome to the world of free plain vanilla)",
    re.IGNORECASE,
)
_NOTE = re.compile(
    rf"{_DECORATION}(?:(?:transcriber|editor|producer|proofreader|proofer|scanner|publisher|preparer|redactor|digitizer)"
    r"s?['\u2019]?s? )?notes?\b",
    re.IGNORECASE,
)
_NOTE_HEADING = re.compile(rf"{_NOTE.pattern}[\W_]*", re.IGNORECASE)
_NUMBERED = re.compile(rf"[\[(]\s*{_EBOOK}\s*#\s*\d+\s*[\])]", re.IGNORECASE)
_TITLE_LINE = re.compile(
    rf"{_DECORATION}(?:this is )?(?:the |an? )?project gutenberg(?:['\u2019]s)?"
    rf"(?: (?:online )?(?:{_EBOOK}|edition)(?: of\b|,|:|\W*$)|[^\n]*,\s+by\b)",
    re.IGNORECASE,
)
_ABOUT_HEADER = re.compile(
    rf"(?:of|in) (?:this|the) (?:{_EBOOK}['\u2019]?s? )?header\b|trade-?mark|"
    r"(?:was|were) (?:first |last )?(?:posted|updated)|(?:last|recently) updated|"
    r"one year ahead of schedule|date last updated|edition:? \d+",
    re.IGNORECASE,
)
_ADDRESSES = re.compile(
    r"\W*(?:(?:https?://\S++|www\.\S++|(?:see|or|and|at|in|volumes?|[IVX]+)\b)\W*+)+", re.IGNORECASE
)


def end_of_notes(text: str, offset: int) -> int:
    """Returns the end of the notes that begin at `offset` of a text; `offset` where there are none."""
    end = at = offset
    while paragraph := paragraph_at(text, at):
        if bracketed_end := _bracketed_end(text, paragraph):
            end = at = bracketed_end
        elif _is_note(paragraph.group(), following=_following(text, paragraph)):
            end = at = paragraph.end()
            if _NOTE_HEADING.fullmatch(paragraph.group()) and (body := paragraph_at(text, at)):
                end = at = body.end()
        elif _is_rule(paragraph.group()) or (end > offset and _is_address(paragraph.group())):
            at = paragraph.end()
            end = at if _is_address(paragraph.group()) else end
        else:
            break
    return end


def paragraph_at(text: str, offset: int) -> re.Match[str] | None:
    """Returns the first paragraph at or after `offset`, or None."""
    first = re.compile(r"\S").search(text, offset)
    return _PARAGRAPH.match(text, max(offset, text.rfind("\n", 0, first.start()) + 1)) if first else None


def _bracketed_end(text: str, paragraph: re.Match[str]) -> int:
    """Returns the end of a note in brackets, which may span paragraphs; 0 where there is none."""
    begin = text.index(paragraph.group().lstrip()[0], paragraph.start())
    if text[begin] != "[":
        return 0
    depth, end = 0, 0
    for bracket in re.compile(r"[\[\]]").finditer(text, begin, begin + _LONGEST_NOTE):
        depth += 1 if bracket.group() == "[" else -1
        if not depth:
            end = bracket.end()
            break
    line_end = text.find("\n", end) if end else -1
    line_end = len(text) if line_end < 0 else line_end
    note = text[begin:end]
    if not end or text[end:line_end].strip(" \t*") or re.match(r"\[\s*illustration", note, re.IGNORECASE):
        return 0
    is_ours = _is_note(note, following="") or _ABOUT_HEADER.search(note) or _speaks_as_note(note)
    return line_end if is_ours else 0


def _speaks_as_note(note: str) -> bool:
    return bool(_NOTE.match(note) and _SPEAKS_OF_FILE.search(note)) or bool(_NUMBERED.search(note))


def _following(text: str, paragraph: re.Match[str]) -> str:
    body = paragraph_at(text, paragraph.end())
    return body.group() if body else ""


def _is_note(paragraph: str, *, following: str) -> bool:
    """Whether a paragraph is a note; `following` is the next one, which decides about a mere heading."""
    lines = paragraph.count("\n") + 1
    if len(paragraph) > _LONGEST_NOTE or lines > 20:
        return False
    if _CREDIT_OF_EBOOK.match(paragraph) or _VERSIONS.match(paragraph):
        return True
    speaks = bool(_SPEAKS_OF_FILE.search(paragraph))
    if _CREDIT_OF_FILE.match(paragraph) and (speaks or _THANKS_FOR_FILE.search(paragraph)):
        return True
    if (credit := _CREDIT.match(paragraph)) and lines <= 10:
        is_name = _SOMEBODY.match(paragraph, credit.end()) and not _PROSE.search(paragraph)
        if is_name or _SPEAKS_OF_FILE.search(paragraph, credit.end()):
            return True
    if _TRANSCRIBED_FROM.match(paragraph):
        return True
    if _NOTE_HEADING.fullmatch(paragraph):
        return bool(SPEAKS_OF_EBOOK.search(following)) and len(following) <= _LONGEST_NOTE
    if _NOTE.match(paragraph):
        return bool(SPEAKS_OF_EBOOK.search(paragraph))
    is_short = lines <= 4 and not _PROSE.search(paragraph)
    return is_short and bool(_NUMBERED.search(paragraph) or _TITLE_LINE.match(paragraph))


def _is_rule(paragraph: str) -> bool:
    return not re.search(r"\w", paragraph.replace("_", " "))


def _is_address(paragraph: str) -> bool:
    return len(paragraph) <= _LONGEST_NOTE and "://" in paragraph and _ADDRESSES.fullmatch(paragraph) is not None
