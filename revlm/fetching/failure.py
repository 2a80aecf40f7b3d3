"""The error of one source of a title, after which the next source is tried."""


class SourceFailure(Exception):
    """One source failed; the message is the reason, as the end of a sentence.

    Reasons quote servers and archives: unprintable characters are escaped, and long reasons are truncated.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(escaped(reason))


def escaped(text: str, longest: int = 500) -> str:
    """Returns a text with unprintable characters escaped, which a terminal might interpret, truncated to `longest`."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:longest])
    return shown + ("..." if len(text) > longest else "")
