"""Numbers of a million records in a few thousand bins, filled while a journal streams by."""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
MOST = 2048
"""Bins are joined in pairs when there are twice as many: no picture is as wide."""
_ROWS_AT_ONCE = 4096


class Bins:
    """Columns of numbers, of which every bin holds the mean, the least and the largest over as many records.

    As long as there are no more than 4,096 records, each has a bin of its own and nothing is lost.
    """

    def __init__(self, columns: Iterable[Hashable] = ()) -> None:
        self._place = {column: place for place, column in enumerate(columns)}
        self._rows: list[Sequence[float | None]] = []
        self._bins: list[FloatArray] = []  # [sum, count, low, high], each [bins, columns]
        self._width = 1

    @property
    def columns(self) -> list[Hashable]:
        """The names of the columns."""
        return list(self._place)

    @property
    def width(self) -> int:
        """The records of a bin."""
        self._fold()
        return self._width

    def add(self, row: Sequence[float | None]) -> None:
        """Takes in a record: a number or None for each column."""
        self._rows.append(row)
        if len(self._rows) == _ROWS_AT_ONCE:
            self._fold()

    def sums(self, column: Hashable) -> FloatArray:
        """The sum of each bin, `[bins]`; NaN where it has no number."""
        total, count = self._of(column, 0), self._of(column, 1)
        return np.where(count > 0, total, np.nan)

    def means(self, column: Hashable) -> FloatArray:
        """The mean of each bin, `[bins]`; NaN where it has no number."""
        return self.sums(column) / np.maximum(self._of(column, 1), 1)

    def lows(self, column: Hashable) -> FloatArray:
        """The least number of each bin, `[bins]`; NaN where it has none."""
        return self._of(column, 2)

    def highs(self, column: Hashable) -> FloatArray:
        """The largest number of each bin, `[bins]`; NaN where it has none."""
        return self._of(column, 3)

    def widen(self, columns: Iterable[Hashable]) -> None:
        """Adds columns, of which the records until now have no number."""
        self._fold()
        known = len(self._place)
        for column in columns:
            self._place.setdefault(column, len(self._place))
        added = len(self._place) - known
        empty = np.array([0.0, 0.0, np.nan, np.nan])[:, None, None]
        self._bins = [
            np.concatenate([each, np.broadcast_to(empty, (4, each.shape[1], added))], axis=2) for each in self._bins
        ]

    def _of(self, column: Hashable, kind: int) -> FloatArray:
        self._fold()
        place = self._place.get(column)
        count = sum(each.shape[1] for each in self._bins)
        if place is None:
            return np.full(count, 0.0 if kind < 2 else np.nan)
        return np.concatenate([each[kind, :, place] for each in self._bins]) if self._bins else np.zeros(0)

    def _fold(self) -> None:
        """Moves the rows that wait into bins; only the last bin may hold fewer records than the others."""
        if not self._rows:
            return
        rows = np.array(self._rows, dtype=np.float64).reshape(len(self._rows), -1)
        self._rows = []
        known = np.isfinite(rows)
        rows[~known] = np.nan
        folded = np.stack([np.where(known, rows, 0.0), known.astype(np.float64), rows, rows])
        width = 1
        while width < self._width:
            folded, width = _in_pairs(folded), width * 2
        self._bins.append(folded)
        while sum(each.shape[1] for each in self._bins) > 2 * MOST:
            self._bins, self._width = [_in_pairs(np.concatenate(self._bins, axis=1))], self._width * 2


def _in_pairs(bins: FloatArray) -> FloatArray:
    """Joins each two bins, `[4, bins, columns]` to half as many; a last one without a partner stays."""
    if bins.shape[1] % 2:
        nothing = np.array([0.0, 0.0, np.nan, np.nan])[:, None, None]
        bins = np.concatenate([bins, np.broadcast_to(nothing, (4, 1, bins.shape[2]))], axis=1)
    first, second = bins[:, 0::2], bins[:, 1::2]
    added = first[:2] + second[:2]
    return np.concatenate(
        [added, np.fmin(first[2:3], second[2:3]), np.fmax(first[3:], second[3:])],
        axis=0,
    )
