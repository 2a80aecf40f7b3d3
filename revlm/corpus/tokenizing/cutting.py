"""Cuts long texts where a cut does not change the ids: after a newline, or before the spaces that follow a word.

A tokenizer whose pieces never span such a point gives the same ids for the parts as for the whole. The cuts depend on
the text alone, not on the pieces in which it arrives, and the text after a cut is cut as a text of its own.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_WORD_END = re.compile("(?<=[^ ]) ")
_WORDS = {
    (True, True): re.compile(r"\n| *[^ \n]+| +"),
    (True, False): re.compile(r"\n|[^\n]+"),
    (False, True): re.compile(r" *[^ ]+| +"),
    (False, False): re.compile(r"(?s).+"),
}


@dataclass(frozen=True)
class Cuts:
    """The points at which a text may be cut."""

    after_newlines: bool = True
    before_spaces: bool = True

    def parts(self, pieces: Iterable[str], characters: int, longest: int) -> Iterator[str]:
        """Yields the joined pieces in parts of at most `characters`, each as long as the cut points allow.

        A part without a cut point within `characters` ends at the next one, or unconditionally at `longest`.
        An empty text yields nothing.
        """
        held = ""
        for piece in pieces:
            held += piece
            start = 0
            while len(held) - start >= characters and (stop := self._stop(held, start, characters, longest)):
                yield held[start:stop]
                start = stop
            held = held[start:]
        if held:
            yield held

    def words(self, text: str) -> list[str]:
        """Returns a text in its smallest parts: cut at every cut point, and on both sides of newlines."""
        return _WORDS[self.after_newlines, self.before_spaces].findall(text)

    def _stop(self, text: str, start: int, characters: int, longest: int) -> int:
        """Returns the end of the part that begins at `start`; 0 where it depends on text still to come."""
        if stop := self._last(text, start, start + characters):
            return stop
        if stop := self._first(text, start + characters, start + longest):
            return stop
        return start + longest if len(text) - start > longest else 0

    def _last(self, text: str, start: int, end: int) -> int:
        """Returns the last cut point after `start` and not after `end`, or 0."""
        newline = text.rfind("\n", start, end) if self.after_newlines else -1
        if newline >= 0:
            return newline + 1
        space = text.rfind(" ", start, end) if self.before_spaces else -1
        word_end = start + len(text[start : space + 1].rstrip(" "))
        return word_end if word_end > start else 0

    def _first(self, text: str, start: int, end: int) -> int:
        """Returns the first cut point from `start` to `end`, or 0; the text up to `start` must have none."""
        newline = text.find("\n", start, end) + 1 if self.after_newlines else 0
        space = _WORD_END.search(text, start, newline or end) if self.before_spaces else None
        return space.start() if space else newline
