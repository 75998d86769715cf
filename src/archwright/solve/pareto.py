"""Pareto sets: which designs nothing else beats, and how much they cover.

Every loss is minimized. Row *a* dominates row *b* when it is nowhere worse and somewhere better.
A row with a NaN is a design without a score: it is never on a front and dominates nothing.
Equal rows don't dominate each other, so all copies of a front point stay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.errors import SpecificationError

__all__ = ["ParetoArchive", "hypervolume", "nondominated"]

_BLOCK = 256


def nondominated(losses: ArrayLike) -> NDArray[np.bool_]:
    """Mark the rows that no other row dominates.

    >>> nondominated([[1, 4], [2, 2], [3, 3], [2, 2]]).tolist()
    [True, True, False, True]

    Args:
        losses: shape (n, k), k >= 1, all minimized.

    Returns:
        Mask of shape (n,). One or two losses take O(n log n); more take O(n × front).
    """
    table = _table(losses)
    mask = np.zeros(len(table), dtype=bool)
    scored = np.flatnonzero(~np.isnan(table).any(axis=1))
    if not len(scored):
        return mask
    rows = table[scored]
    order = np.lexsort(rows.T[::-1])  # by the first loss, ties by the second, …
    rows = rows[order]
    starts = np.concatenate(([True], (rows[1:] != rows[:-1]).any(axis=1)))
    distinct = rows[starts]
    keep = _sweep(distinct) if table.shape[1] <= 2 else _blockwise(distinct)
    mask[scored[order]] = keep[np.cumsum(starts) - 1]
    return mask


def hypervolume(losses: ArrayLike, reference: ArrayLike) -> float:
    """Return the volume that the losses dominate below the reference point.

    >>> hypervolume([[1, 2], [2, 1]], [3, 3])
    3.0

    Args:
        losses: shape (n, k), all minimized. Rows that are not below the reference in every loss,
            and rows with a NaN, add nothing.
        reference: shape (k,), finite; a point worse than everything that should count.
    """
    table = _table(losses)
    corner = _reference(reference, table.shape[1])
    inside = table[(table < corner).all(axis=1)]
    if np.isneginf(inside).any():
        raise SpecificationError("hypervolume needs finite losses, got -inf")
    if not len(inside):
        return 0.0
    front = inside[nondominated(inside)]
    if front.shape[1] == 1:
        return float(corner[0] - front[0, 0])
    if front.shape[1] == 2:
        front = np.unique(front, axis=0)  # the first loss rises, so the second falls
        ceilings = np.concatenate((corner[1:], front[:-1, 1]))
        return float(((corner[0] - front[:, 0]) * (ceilings - front[:, 1])).sum())
    import moocore

    return float(moocore.hypervolume(front, ref=corner))


class ParetoArchive:
    """The nondominated rows among all that were added so far.

    >>> archive = ParetoArchive(2)
    >>> [archive.add([3, 3], 0), archive.add([1, 4], 1), archive.add([2, 2], 2)]
    [True, True, True]
    >>> archive.indices.tolist()
    [1, 2]
    """

    def __init__(self, k: int) -> None:
        if k < 1:
            raise SpecificationError(f"a Pareto archive needs at least one loss, got k = {k}")
        self._losses: NDArray[np.float64] = np.empty((16, k))
        self._indices: NDArray[np.int64] = np.empty(16, dtype=np.int64)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def losses(self) -> NDArray[np.float64]:
        """Losses of the archive, shape (size, k), in the order of arrival."""
        return self._losses[: self._size].copy()

    @property
    def indices(self) -> NDArray[np.int64]:
        """Payload indices of the archive, shape (size,), in the order of arrival."""
        return self._indices[: self._size].copy()

    def add(self, losses: ArrayLike, index: int) -> bool:
        """Offer one row; return whether it is now in the archive.

        Args:
            losses: shape (k,), all minimized. A row with a NaN is refused.
            index: what the row stands for, such as a trial number.
        """
        row = np.asarray(losses, dtype=np.float64)
        k = self._losses.shape[1]
        if row.shape != (k,):
            raise SpecificationError(f"expected {k} losses, got shape {row.shape}")
        if np.isnan(row).any():
            return False
        held = self._losses[: self._size]
        no_worse = (held <= row).all(axis=1)
        if (no_worse & (held < row).any(axis=1)).any():
            return False
        beaten = (held >= row).all(axis=1) & ~no_worse
        if beaten.any():
            stay = ~beaten
            size = int(stay.sum())
            self._losses[:size] = held[stay]
            self._indices[:size] = self._indices[: self._size][stay]
            self._size = size
        if self._size == len(self._losses):
            self._losses = np.concatenate((self._losses, np.empty_like(self._losses)))
            self._indices = np.concatenate((self._indices, np.empty_like(self._indices)))
        self._losses[self._size] = row
        self._indices[self._size] = index
        self._size += 1
        return True


def _sweep(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """One or two losses; rows are distinct and sorted, so only an earlier row can dominate."""
    keep = np.ones(len(rows), dtype=bool)
    if rows.shape[1] == 1:
        keep[1:] = False
    else:
        keep[1:] = rows[1:, 1] < np.minimum.accumulate(rows[:, 1])[:-1]
    return keep


def _blockwise(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Any number of losses; rows are distinct and sorted, so only an earlier row can dominate."""
    keep = np.zeros(len(rows), dtype=bool)
    front = rows[:0]
    for start in range(0, len(rows), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(rows)))
        block = block[_counts(rows[block], front) == 0]
        candidates = rows[block]
        # Distinct rows: "nowhere better, another row" is domination. A row covers itself once.
        alone = _counts(candidates, candidates) == 1
        keep[block[alone]] = True
        front = np.concatenate((front, candidates[alone]))
    return keep


def _counts(rows: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each row, how many of the others are nowhere worse."""
    no_worse = np.ones((len(rows), len(others)), dtype=bool)
    for column in range(rows.shape[1]):
        no_worse &= others[None, :, column] <= rows[:, None, column]
    counts: NDArray[np.int64] = no_worse.sum(axis=1)
    return counts


def _table(losses: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(losses, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 1:
        raise SpecificationError(f"losses must have shape (n, k) with k >= 1, got {table.shape}")
    return table


def _reference(reference: ArrayLike, k: int) -> NDArray[np.float64]:
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != (k,) or not np.isfinite(corner).all():
        raise SpecificationError(f"reference must be {k} finite numbers, got {corner.tolist()}")
    return corner
