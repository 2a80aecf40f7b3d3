"""Guesses the encoding of bytes that are not UTF-8, and shows the first words that the guess decodes.

UTF-16 and UTF-32 are recognized by their byte order mark or by the positions of NULs. `charset-normalizer` scores the
other common encodings; it can be wrong, so the error shows the words for the user to judge.
"""

import codecs
import re
from typing import NamedTuple

# Longest first: UTF-32's little-endian mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WITHOUT_MARK = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
# Among encodings that fit equally well the first wins: those most declared on the web, then older systems' own.
_COMMON_NAMES = """
    cp1252 cp1251 gb18030 cp932 cp949 big5 cp1250 euc_jp cp1253 cp1254 cp1255 cp1256 cp874 cp1257 cp1258
    iso8859_2 iso8859_15 iso8859_5 iso8859_7 iso8859_8 iso8859_6 iso8859_9 koi8_r koi8_u cp866 iso2022_jp
    iso2022_kr johab mac_cyrillic mac_latin2 mac_roman cp437 cp850 cp852 cp737 cp862 cp855
"""
_COMMON = _COMMON_NAMES.split()
_SAMPLE_BYTES = 1 << 14
_FEWEST_BYTES = 3  # that are not ASCII; fewer fit nearly every encoding
_LEAST_CONFIDENCE, _MAX_CONFIDENCE = 0.2, 0.99
_SHOWN_CHARACTERS = 40
_SHOWN_READINGS = 2
# What no word contains: a capital or a symbol of old code pages after a lower-case letter.
_ODD_CASE = re.compile(
    r"(?<=[^\W\d_])(?:(?<=[a-zß-öø-ÿа-яёα-ώ])[A-ZÀ-ÖØ-ÞА-ЯΑ-Ω]|[\xa1-\xb6\xb8-\xbf\xd7\xf7\u201a\u201e†‡•‰™])"
)


class Guess(NamedTuple):
    """The clause that follows "is not UTF-8", and the remedy."""

    clause: str
    remedy: str


def mark_of(raw: bytes) -> str | None:
    """Returns the encoding, UTF-16 or UTF-32, whose byte order mark begins the bytes, or None."""
    return next((name for mark, name in _MARKS.items() if raw.startswith(mark)), None)


def guess_of(raw: bytes) -> Guess:
    """Returns a guess at the encoding of bytes from the start of a text, or around its first invalid byte."""
    if name := mark_of(raw) or _wide_without_mark(raw):
        return _said({name: _words(raw[: _SAMPLE_BYTES & ~3].decode(name, "replace"))}, "")
    if b"\0" in raw:
        return Guess("its encoding is unknown, and its NULs suggest that it is not text", "leave it out")
    sample = _telling(raw)
    readings, confidence = _likeliest(sample)
    if not readings:
        return Guess("its encoding is unknown", "convert it to UTF-8")
    words = {name: _words(_decoded(sample, name)) for name in readings[:_SHOWN_READINGS]}
    return _said(words, f", confidence {confidence:.0%}")


def _said(words: dict[str, str], confidence: str) -> Guess:
    said = " or ".join(f"{_of_iconv(name)} (“{shown}”{confidence})" for name, shown in words.items())
    right = "these words are" if len(words) == 1 else "the words of one are"
    remedy = f"if {right} right, convert it, as with `iconv -f {_of_iconv(next(iter(words)))} -t utf-8`"
    return Guess(f"perhaps {said}", remedy)


def _wide_without_mark(raw: bytes) -> str | None:
    """Returns the UTF-16 or UTF-32 encoding in which bytes with NULs are text, or None.

    A text's characters lie in few 256-character ranges of Unicode, so the encoding with the fewest ranges wins.
    """
    sample = raw[: _SAMPLE_BYTES & ~3]
    sample = sample[: len(sample) & ~3]
    if len(sample) < 8 or 0 not in sample:
        return None
    fitting: dict[str, int] = {}
    for name in _WITHOUT_MARK:
        try:
            text = sample.decode(name)
        except UnicodeDecodeError:
            continue
        wordlike = sum(each.isalnum() or each.isspace() or each.isprintable() for each in text)
        if "\0" not in text and wordlike == len(text):
            fitting[name] = len({ord(each) >> 8 for each in text})
    return min(fitting, key=fitting.__getitem__, default=None)


def _telling(raw: bytes) -> bytes:
    """Returns the lines that are not ASCII, which alone distinguish encodings, up to `_SAMPLE_BYTES`."""
    lines, size = [], 0
    for line in raw.split(b"\n"):
        if not line.isascii() or b"\x1b" in line:
            lines.append(line)
            size += len(line) + 1
        if size > _SAMPLE_BYTES:
            break
    return b"\n".join(lines)[:_SAMPLE_BYTES]


def _likeliest(sample: bytes) -> tuple[list[str], float]:
    """Returns the best-fitting encodings that decode the bytes differently, and the confidence in each."""
    import charset_normalizer

    if sum(byte > 127 for byte in sample) < _FEWEST_BYTES and b"\x1b" not in sample:
        return [], 0.0
    found = charset_normalizer.from_bytes(sample, cp_isolation=list(_COMMON), preemptive_behaviour=False)
    best = found.best()
    if best is None:
        return [], 0.0
    alike = [each for each in found if each.chaos - best.chaos < 0.02 and best.coherence - each.coherence < 0.05]
    fitting = {name for each in alike for name in (each.encoding, *each.could_be_from_charset) if name in _COMMON}
    names: dict[str, str] = {}
    for name in sorted(fitting, key=_COMMON.index):
        names.setdefault(_decoded(sample, name), name)
    readings = sorted(names, key=lambda text: len(_ODD_CASE.findall(text)))  # a stable sort keeps common ones first
    confidence = min(1 - best.chaos, _MAX_CONFIDENCE) / max(1, len(readings))
    return [names[text] for text in readings] if confidence >= _LEAST_CONFIDENCE else [], confidence


def _decoded(sample: bytes, name: str) -> str:
    """Returns the decoded sample without a character that its end cuts in two."""
    return codecs.getincrementaldecoder(name)("replace").decode(sample)


def _words(text: str) -> str:
    """Returns a few words around the first letter beyond ASCII, to be quoted in a message."""
    lines = [" ".join(line.split()) for line in text.lstrip("\ufeff").splitlines()]
    line = next((line for line in lines if not line.isascii()), next(filter(None, lines), ""))
    first = next((place for place, each in enumerate(line) if not each.isascii()), 0)
    start = max(0, line.rfind(" ", 0, max(0, first - _SHOWN_CHARACTERS // 2)) + 1)
    shown = line[start : start + _SHOWN_CHARACTERS]
    shown = "".join(each if each.isprintable() else "\ufffd" for each in shown)
    return ("…" if start else "") + shown + ("…" if len(line) > start + _SHOWN_CHARACTERS else "")


def _of_iconv(name: str) -> str:
    """Returns the name that `iconv` uses for an encoding of Python's."""
    name = re.sub(r"^iso8859_", "ISO-8859-", name)
    name = re.sub(r"^(koi8|euc|iso2022)_", lambda match: f"{match[1].replace('iso2022', 'ISO-2022').upper()}-", name)
    return {
        "cp1252": "WINDOWS-1252", "cp949": "UHC", "mac_cyrillic": "MACCYRILLIC", "mac_latin2": "MAC-CENTRALEUROPE",
        "mac_roman": "MACINTOSH", "utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE", "utf-32-le": "UTF-32LE",
        "utf-32-be": "UTF-32BE",
    }.get(name, name.upper())  # fmt: skip
