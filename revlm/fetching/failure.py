"""Why a source did not give its text; the next source of the same title is tried then."""


class SourceFailure(Exception):
    """One source failed; the message is the reason, as the end of a sentence."""
