"""Tracks the memory held during a step, by category, and the peak of each phase."""

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
"""The label of each category, in table order: lasting tensors, tensors per token, memory besides tensors."""


class Ledger:
    """Replays a step: tensors are allocated and freed in the order in which the code does so.

    Freed heap memory stays resident until the heap is trimmed, and counts as `allocator`. Later tensors of the same
    category reuse it; those of other categories have other sizes and seldom do.

    Attributes:
        peaks: for each phase, the bytes of each category at the phase's peak.
    """

    def __init__(self, in_heap: Collection[str] = ()) -> None:
        """`in_heap` are the categories whose tensors come from the heap."""
        self.peaks: dict[str, dict[str, int]] = {}
        self._held: Counter[str] = Counter()
        self._in_heap, self._resident = in_heap, Counter[str]()
        self._phase: str | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts allocations inside the `with` block towards a phase; memory already held counts too."""
        self._phase = name
        self._update_peak()
        yield
        self._phase = None

    def allocate(self, category: str, size_bytes: int) -> None:
        """Adds bytes to those held."""
        assert category in CATEGORIES
        self._held[category] += size_bytes
        self._update_peak()

    def free(self, category: str, size_bytes: int) -> None:
        """Subtracts bytes from those held."""
        self._held[category] -= size_bytes
        assert self._held[category] >= 0, f"more {category} freed than allocated"

    @contextmanager
    def held(self, category: str, size_bytes: int) -> Iterator[None]:
        """Holds bytes inside the `with` block."""
        self.allocate(category, size_bytes)
        yield
        self.free(category, size_bytes)

    def transient(self, category: str, size_bytes: int) -> None:
        """Allocates bytes and frees them at once."""
        with self.held(category, size_bytes):
            pass

    def trim(self) -> None:
        """Returns the heap's free memory to the system."""
        self._resident = Counter({category: self._held[category] for category in self._in_heap})

    @property
    def held_bytes(self) -> int:
        """The bytes held now."""
        return self._held.total()

    def _update_peak(self) -> None:
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
