"""A text that carries its own sha256 in its last line, so that no change of it passes unnoticed."""

import hashlib
import re

_SEAL = re.compile(rb"# sha256 of the lines above: ([0-9a-f]{64})\n")


def sealed(text: str) -> str:
    """The text, whole lines of a language whose comments begin with #, with a last line that seals it."""
    return f"{text}# sha256 of the lines above: {hashlib.sha256(text.encode()).hexdigest()}\n"


def is_sealed(content: bytes) -> bool:
    """Whether a file holds, to the bit, what `sealed` returned."""
    start = content.rfind(b"\n", 0, -1) + 1
    seal = _SEAL.fullmatch(content, start)
    return seal is not None and seal[1].decode() == hashlib.sha256(content[:start]).hexdigest()
