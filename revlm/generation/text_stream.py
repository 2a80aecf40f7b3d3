"""Turns the bytes of tokens into text that can be shown at once: complete characters, and no part of a stop text."""

import codecs
from collections.abc import Sequence

from revlm.errors import UsageError


class TextStream:
    """The streamed text of one sample, up to the first stop text.

    The stop text that is completed first ends it; if several are completed at once, the longest counts. A possible
    start of a stop text is held back until it is one or cannot become one. How the bytes are split does not matter.

    Attributes:
        stopped_by: the stop text that ended the text; None until one does.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        if "" in stops:
            raise UsageError("a stop text is empty and would end every text at once: leave it out")
        self.stopped_by: str | None = None
        self._stops = tuple(stops)
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def push(self, content: bytes) -> str:
        """Adds bytes; returns the text that can be shown now, with U+FFFD for invalid bytes."""
        return self._shown(self._characters.decode(content))

    def finish(self) -> str:
        """Ends the text; returns what was held back. An incomplete character is dropped."""
        return self._release(len(self._held))

    def _shown(self, new: str) -> str:
        if self.stopped_by is not None:
            return ""
        self._held += new
        found = [(self._held.find(stop) + len(stop), -len(stop), stop) for stop in self._stops if stop in self._held]
        if not found:
            return self._release(len(self._held) - self._possible_stop_length())
        end, _, self.stopped_by = min(found)
        shown, self._held = self._held[: end - len(self.stopped_by)], ""
        return shown

    def _possible_stop_length(self) -> int:
        """The length of the longest suffix of the held text that a stop text starts with."""
        longest = min(max(map(len, self._stops), default=0), len(self._held))
        ends = range(longest, 0, -1)
        return next((end for end in ends if any(stop.startswith(self._held[-end:]) for stop in self._stops)), 0)

    def _release(self, characters: int) -> str:
        shown, self._held = self._held[:characters], self._held[characters:]
        return shown
