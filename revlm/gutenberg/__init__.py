"""Finds the parts that Project Gutenberg adds to a text: a header with the title, notes, and the licence.

    a text -> matter: the slices of front and back matter, the title, and a line that remains in the text
           -> notes: the end of the notes below a header

Nothing here removes anything: `corpus.reading.cleaning` cuts, and `fetching` reads the title.
"""

from revlm.gutenberg.matter import (
    HEAD_CHARACTERS,
    TAIL_CHARACTERS,
    back_matter,
    front_matter,
    prose_in_header,
    remaining_mark,
    title_in,
    title_of,
)

__all__ = [
    "HEAD_CHARACTERS",
    "TAIL_CHARACTERS",
    "back_matter",
    "front_matter",
    "prose_in_header",
    "remaining_mark",
    "title_in",
    "title_of",
]
