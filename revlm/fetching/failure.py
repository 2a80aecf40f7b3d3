"""Why a source did not give its text; the next source of the same title is tried then."""


class SourceFailure(Exception):
    """One source failed; the message is the reason, as the end of a sentence.

    Reasons quote what servers and archives hold: what is not printable is shown escaped, and a long one is cut.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(printable(reason))


def printable(text: str, longest: int = 500) -> str:
    """Returns a text in which every character that a terminal might obey is shown escaped."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:longest])
    return shown + ("..." if len(text) > longest else "")
