"""Bins numbers of up to a million records while a journal is read, so that memory stays bounded."""

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
MAX_BINS = 2048
"""Bins are joined in pairs when there are more than twice as many: no picture is as wide."""
_MAX_NUMBERS = 1 << 20
"""Of a kind, in all columns: where there are thousands of columns, there are fewer bins."""
_FOLDED_AT_ONCE = 1024  # records; a power of two
_NOTHING = np.array([0.0, 0.0, np.nan, np.nan])[:, None, None]


class Bins:
    """Columns of numbers; each bin holds the sum, count, minimum and maximum of consecutive records.

    Up to 4,096 records have a bin each; beyond that, a bin has at most `width` records.
    """

    def __init__(self, columns: Iterable[Hashable]) -> None:
        self._index = {column: index for index, column in enumerate(columns)}
        self._bins: list[FloatArray] = []  # [sum, count, low, high], each [bins, columns]
        self._n_bins = 0
        self._new: list[FloatArray] = []  # each [records, columns]
        self._width = 1

    @property
    def columns(self) -> list[Hashable]:
        """The names of the columns."""
        return list(self._index)

    @property
    def width(self) -> int:
        """How many records a bin has at most."""
        self._fold()
        return self._width

    def add(self, table: FloatArray) -> None:
        """Takes in records, `[records, columns]`; NaN where a number is not known."""
        self._new.append(table)
        if sum(map(len, self._new)) >= _FOLDED_AT_ONCE:
            table = np.concatenate(self._new)
            whole = len(table) // _FOLDED_AT_ONCE * _FOLDED_AT_ONCE  # full bins of every width
            self._new = [table[:whole]]
            self._fold()
            self._new = [table[whole:]]

    def _fold(self) -> None:
        """Puts the new records into bins."""
        table = np.concatenate(self._new) if self._new else np.zeros((0, 0))
        if not len(table):
            return
        known = ~np.isnan(table)
        folded, width = np.stack([np.where(known, table, 0.0), known, table, table]), 1
        while width < self._width:
            folded, width = _in_pairs(folded), width * 2
        self._bins.append(folded)
        self._new = []
        self._n_bins += folded.shape[1]
        limit = min(2 * MAX_BINS, max(2, _MAX_NUMBERS // len(self._index)))
        while self._n_bins > limit:
            self._bins, self._width = [_in_pairs(np.concatenate(self._bins, axis=1))], self._width * 2
            self._n_bins = self._bins[0].shape[1]

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
        """Adds columns, of which the records until now have no number."""
        self._fold()
        known = len(self._index)
        for column in columns:
            self._index.setdefault(column, len(self._index))
        added = len(self._index) - known
        self._bins = [
            np.concatenate([each, np.broadcast_to(_NOTHING, (4, each.shape[1], added))], axis=2) for each in self._bins
        ]

    def _of(self, column: Hashable, kind: int) -> FloatArray:
        self._fold()
        index = self._index[column]
        return np.concatenate([each[kind, :, index] for each in self._bins]) if self._bins else np.zeros(0)


def _in_pairs(bins: FloatArray) -> FloatArray:
    """Joins pairs of adjacent bins, `[4, bins, columns]`; an odd last bin stays."""
    if bins.shape[1] % 2:
        bins = np.concatenate([bins, np.broadcast_to(_NOTHING, (4, 1, bins.shape[2]))], axis=1)
    first, second = bins[:, 0::2], bins[:, 1::2]
    lows, highs = np.fmin(first[2:3], second[2:3]), np.fmax(first[3:], second[3:])
    return np.concatenate([first[:2] + second[:2], lows, highs], axis=0)
