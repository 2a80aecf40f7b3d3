"""Bytes of tokens become text that can be shown at once: whole characters, and nothing of a stop text."""

import codecs
from collections.abc import Sequence

from revlm.errors import UsageError


class TextStream:
    """The text of one sample as it comes, up to the first stop text.

    The stop text that is complete first ends it; of several that are complete together, the longest. What begins like
    a stop text is held back until it is one or cannot become one. However the bytes are split, the text is the same.

    Attributes:
        stopped_by: the stop text that ended it; None as long as none did.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        if "" in stops:
            raise UsageError("a stop text is empty and would end every text at once: leave it out")
        self.stopped_by: str | None = None
        self._stops = tuple(stops)
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def push(self, content: bytes) -> str:
        """Returns what can be shown now that `content` has come; bytes that form no character are U+FFFD."""
        return self._shown(self._characters.decode(content))

    def finish(self) -> str:
        """Returns what was held back: no more will come. Of a character that is not whole by now, nothing is shown."""
        return self._release(len(self._held))

    def _shown(self, new: str) -> str:
        if self.stopped_by is not None:
            return ""
        self._held += new
        found = [(self._held.find(stop) + len(stop), -len(stop), stop) for stop in self._stops if stop in self._held]
        if not found:
            return self._release(len(self._held) - self._begun())
        end, _, self.stopped_by = min(found)
        shown, self._held = self._held[: end - len(self.stopped_by)], ""
        return shown

    def _begun(self) -> int:
        """The length of the longest end of what is held that a stop text begins with."""
        longest = min(max(map(len, self._stops), default=0), len(self._held))
        ends = range(longest, 0, -1)
        return next((end for end in ends if any(stop.startswith(self._held[-end:]) for stop in self._stops)), 0)

    def _release(self, characters: int) -> str:
        shown, self._held = self._held[:characters], self._held[characters:]
        return shown
