"""Cuts long texts where a cut changes nothing: after a newline, or before the spaces that follow a word.

A tokenizer whose pieces never reach over such a place gives the same ids for the parts as for the whole. Where the
parts end depends on the text alone, not on the pieces in which it arrives, and what follows a cut is cut as if it were
a text of its own.
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
    """The places at which a text may be cut."""

    after_newlines: bool = True
    before_spaces: bool = True

    def parts(self, pieces: Iterable[str], characters: int, longest: int) -> Iterator[str]:
        """Yields the pieces joined, in parts of at most `characters`, each as long as the places allow.

        Where there is no place within `characters` a part ends at the next one, and at `longest` whatever is there.
        Nothing is yielded for an empty text.
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
        """Returns a text in its smallest parts: cut at every place, and on both sides of newlines."""
        return _WORDS[self.after_newlines, self.before_spaces].findall(text)

    def _stop(self, text: str, start: int, characters: int, longest: int) -> int:
        """Returns where the part from `start` ends; 0 where that depends on text still to come."""
        if stop := self._last(text, start, start + characters):
            return stop
        if stop := self._first(text, start + characters, start + longest):
            return stop
        return start + longest if len(text) - start > longest else 0

    def _last(self, text: str, start: int, end: int) -> int:
        """Returns the last place after `start` and not after `end`, 0 where there is none."""
        newline = text.rfind("\n", start, end) if self.after_newlines else -1
        if newline >= 0:
            return newline + 1
        space = text.rfind(" ", start, end) if self.before_spaces else -1
        word_end = start + len(text[start : space + 1].rstrip(" "))
        return word_end if word_end > start else 0

    def _first(self, text: str, start: int, end: int) -> int:
        """Returns the first place from `start`, before which there is none, to `end`; 0 where there is none."""
        newline = text.find("\n", start, end) + 1 if self.after_newlines else 0
        space = _WORD_END.search(text, start, newline or end) if self.before_spaces else None
        return space.start() if space else newline
