"""What is held at each moment of a step, by category, and the fullest moment of each phase."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

CATEGORIES = {
    "weights": "weights",
    "optimizer": "optimizer state",
    "gradients": "weight gradients",
    "data": "tokens and positions",
    "streams": "streams",
    "stream_gradients": "stream gradients",
    "attention": "attention's whole tensors",
    "attention_workspace": "attention work space",
    "tiles": "tiles of tokens",
    "loss": "loss",
    "kept": "kept activations",
    "allocator": "freed, not reused",
    "libraries": "libraries",
}
"""The words for each category, in the order of tables: what lasts, what the tokens need, what lies beside it."""


class Ledger:
    """A step is replayed on it: tensors are taken and given back in the order in which the code makes and frees them.

    What came from the heap stays resident when it is given back, until the heap is trimmed, and counts as `allocator`:
    a later block of the same category takes its place, one of another category, and so of another size, seldom does.

    Attributes:
        peaks: for each phase, the bytes of each category at the phase's fullest moment.
    """

    def __init__(self, in_heap: Collection[str] = ()) -> None:
        """`in_heap` are the categories whose tensors come from the heap."""
        self.peaks: dict[str, dict[str, int]] = {}
        self._held: Counter[str] = Counter()
        self._in_heap, self._resident = in_heap, Counter[str]()
        self._phase: str | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the moments of a block towards a phase; what is held when it begins counts too."""
        self._phase = name
        self._look()
        yield
        self._phase = None

    def take(self, category: str, size_bytes: int) -> None:
        """Adds bytes to what is held."""
        assert category in CATEGORIES
        self._held[category] += size_bytes
        self._look()

    def give_back(self, category: str, size_bytes: int) -> None:
        """Takes bytes from what is held."""
        self._held[category] -= size_bytes
        assert self._held[category] >= 0, f"more {category} given back than taken"

    @contextmanager
    def held(self, category: str, size_bytes: int) -> Iterator[None]:
        """Holds bytes for a block."""
        self.take(category, size_bytes)
        yield
        self.give_back(category, size_bytes)

    def moment(self, category: str, size_bytes: int) -> None:
        """Holds bytes for a moment."""
        with self.held(category, size_bytes):
            pass

    def trim(self) -> None:
        """Gives back to the system what is free in the heap."""
        self._resident = Counter({category: self._held[category] for category in self._in_heap})

    @property
    def held_bytes(self) -> int:
        """All that is held now."""
        return self._held.total()

    def _look(self) -> None:
        free = 0
        for category in self._in_heap:
            self._resident[category] = max(self._resident[category], self._held[category])
            free += self._resident[category] - self._held[category]
        if self._phase is None:
            return
        peak = self.peaks.get(self._phase)
        if peak is None or self.held_bytes + free > sum(peak.values()):
            self.peaks[self._phase] = {category: self._held[category] for category in CATEGORIES}
            self.peaks[self._phase]["allocator"] += free
