"""Finds what Project Gutenberg adds to a text: its header with the title, notes, its licence.

    a text -> matter: the slices of front and back matter, the title, a line that is left inside
           -> notes: how far the notes below a header reach

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
