"""Bins numbers of up to a million records while a journal is read, so that memory stays bounded."""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
MOST = 2048
"""Bins are joined in pairs when there are more than twice as many: no picture is as wide."""
_NOTHING = np.array([0.0, 0.0, np.nan, np.nan])[:, None, None]


class Bins:
    """Columns of numbers; each bin holds the sum, count, minimum and maximum of consecutive records.

    Up to 4,096 records have a bin each; beyond that, a bin has at most `width` records.
    """

    def __init__(self, columns: Iterable[Hashable]) -> None:
        self._place = {column: place for place, column in enumerate(columns)}
        self._bins: list[FloatArray] = []  # [sum, count, low, high], each [bins, columns]
        self.width = 1

    @property
    def columns(self) -> list[Hashable]:
        """The names of the columns."""
        return list(self._place)

    def add(self, rows: Sequence[Sequence[float | None]]) -> FloatArray:
        """Adds records, each a number or None per column; returns them as `[records, columns]`, None as NaN."""
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(self._place))
        known = ~np.isnan(table)
        folded, width = np.stack([np.where(known, table, 0.0), known.astype(np.float64), table, table]), 1
        while width < self.width:
            folded, width = _in_pairs(folded), width * 2
        self._bins.append(folded)
        while sum(each.shape[1] for each in self._bins) > 2 * MOST:
            self._bins, self.width = [_in_pairs(np.concatenate(self._bins, axis=1))], self.width * 2
        return table

    def sums(self, column: Hashable) -> FloatArray:
        """The sum of each bin, `[bins]`; NaN where it has no number."""
        return np.where(self._of(column, 1) > 0, self._of(column, 0), np.nan)

    def means(self, column: Hashable) -> FloatArray:
        """The mean of each bin, `[bins]`; NaN where it has no number."""
        return self.sums(column) / np.maximum(self._of(column, 1), 1)

    def lows(self, column: Hashable) -> FloatArray:
        """The minimum of each bin, `[bins]`; NaN where it has no number."""
        return self._of(column, 2)

    def highs(self, column: Hashable) -> FloatArray:
        """The maximum of each bin, `[bins]`; NaN where it has no number."""
        return self._of(column, 3)

    def widen(self, columns: Iterable[Hashable]) -> None:
        """Adds columns; earlier records have no number in them."""
        known = len(self._place)
        for column in columns:
            self._place.setdefault(column, len(self._place))
        added = len(self._place) - known
        self._bins = [
            np.concatenate([each, np.broadcast_to(_NOTHING, (4, each.shape[1], added))], axis=2) for each in self._bins
        ]

    def _of(self, column: Hashable, kind: int) -> FloatArray:
        place = self._place[column]
        return np.concatenate([each[kind, :, place] for each in self._bins]) if self._bins else np.zeros(0)


def _in_pairs(bins: FloatArray) -> FloatArray:
    """Joins pairs of adjacent bins, `[4, bins, columns]`; an odd last bin stays."""
    if bins.shape[1] % 2:
        bins = np.concatenate([bins, np.broadcast_to(_NOTHING, (4, 1, bins.shape[2]))], axis=1)
    first, second = bins[:, 0::2], bins[:, 1::2]
    lows, highs = np.fmin(first[2:3], second[2:3]), np.fmax(first[3:], second[3:])
    return np.concatenate([first[:2] + second[:2], lows, highs], axis=0)
