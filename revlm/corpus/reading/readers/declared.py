"""Decodes markup by its byte order mark or its declared encoding; UTF-8 where it declares none.

Source: XML 1.0, appendix F; HTML, section "determining the character encoding" and its table of labels.
"""

import codecs
import re

from revlm.corpus.reading.readers.charsets import guess_of, mark_of

_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]{0,200}?\bencoding\s*=\s*["']([\w.:-]+)["'][^>]*\?>""")
_META = re.compile(rb"""<meta\b[^>]{0,200}?\bcharset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_HEAD_BYTES = 1 << 12
# The encodings that documents use. Python has others, some of which take time quadratic in the length of a text.
_KNOWN_NAMES = """
    ascii utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be gb2312 gbk gb18030 hz big5
    big5hkscs euc_jp euc_kr johab shift_jis cp932 cp949 iso2022_jp iso2022_kr koi8-r koi8-u cp437 cp737 cp850
    cp852 cp855 cp862 cp866 cp874 tis-620 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
    iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-10
    iso8859-11 iso8859-13 iso8859-14 iso8859-15 iso8859-16 mac-roman mac-cyrillic mac-greek mac-latin2
"""
_KNOWN = frozenset(_KNOWN_NAMES.split())


class EncodingError(Exception):
    """The bytes are not in their declared encoding, or that encoding is unknown."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


def decoded(raw: bytes) -> str:
    """Returns markup as text without its byte order mark and its XML declaration, whose encoding no longer applies.

    Raises:
        EncodingError: it cannot be decoded.
    """
    name = mark_of(raw) or _declared(raw) or "utf-8"
    try:
        codec = codecs.lookup(name).name
        if codec not in _KNOWN:
            raise LookupError
        text = codecs.decode(raw, codec)
    except UnicodeDecodeError as error:
        guess = guess_of(raw[max(0, error.start - _HEAD_BYTES) :] if error.start > _HEAD_BYTES else raw)
        place = f"byte 0x{raw[error.start]:02x} at byte offset {error.start}"
        raise EncodingError(f"is not {name.upper()}: {place}; {guess.clause}", guess.remedy) from error
    except LookupError as error:
        raise EncodingError(f"declares an unknown encoding ({name[:40]})", "convert it to UTF-8") from error
    if codec == "iso8859-1" and any("\x80" <= each < "\xa0" for each in text[:_HEAD_BYTES]):
        text = raw.decode("cp1252", "replace")  # HTML reads this label as windows-1252
    return re.sub(r"^\ufeff?\s*<\?xml\b[^>]*\?>", "", text, count=1).removeprefix("\ufeff")


def _declared(raw: bytes) -> str | None:
    head = raw[:_HEAD_BYTES].removeprefix(codecs.BOM_UTF8)
    if head.startswith((b"<\0", b"\0<")):  # UTF-16 without a byte order mark
        return "utf-16-le" if head.startswith(b"<") else "utf-16-be"
    found = None if raw.startswith(codecs.BOM_UTF8) else _DECLARATION.search(head) or _META.search(head)
    name = found[1].decode("ascii", "replace").lower() if found else None
    return "utf-8" if name in ("utf-16", "utf-32") else name  # the declaration was found as ASCII, so it is neither
