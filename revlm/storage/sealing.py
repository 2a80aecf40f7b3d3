"""Sealed files, which contain the sha256 of their own content, so that any change is noticed.

A text is sealed by a comment in its last line, and a JSON object by its last entry, `sha256`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

_LAST_LINE = re.compile(rb"# sha256 of the lines above: ([0-9a-f]{64})\n")
_DIGEST = "sha256"


def sealed(text: str) -> str:
    """Returns a text of complete lines with a last line that seals it."""
    return f"{text}# sha256 of the lines above: {hashlib.sha256(text.encode()).hexdigest()}\n"


def is_sealed(content: bytes) -> bool:
    """Whether a file's content is, to the bit, something that `sealed` returned."""
    start = content.rfind(b"\n", 0, -1) + 1
    seal = _LAST_LINE.fullmatch(content, start)
    return seal is not None and seal[1].decode() == hashlib.sha256(content[:start]).hexdigest()


def sealed_json(values: Mapping[str, Any]) -> bytes:
    """Returns the values as indented JSON whose last entry, `sha256`, is the digest of the others."""
    return _json({**values, _DIGEST: digest_of_json(values)})


def read_sealed(content: bytes) -> dict[str, Any]:
    """Returns the values of a sealed JSON object.

    Raises:
        ValueError: the content is not, byte for byte, what `sealed_json` returns for these values.
    """
    try:
        values = json.loads(content)
        digest = values.pop(_DIGEST)
        is_whole = digest == digest_of_json(values) and content == sealed_json(values)
    except Exception as error:  # whatever a damaged file makes of the parser
        raise ValueError("it is no sealed JSON object") from error
    if not is_whole:
        raise ValueError("its content changed since it was written")
    return dict(values)


def digest_of_json(values: Any) -> str:
    """Returns the sha256, in hexadecimal, of values as JSON holds them."""
    return hashlib.sha256(_json(values)).hexdigest()


def _json(values: Any) -> bytes:
    """JSON in UTF-8; lone surrogates, which stand for bytes of a path that are not UTF-8, are kept."""
    return (json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "surrogatepass")
