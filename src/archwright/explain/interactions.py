"""Which pairs of parameters act together: what a pair explains beyond its two parameters alone."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError, unknown
from archwright.explain.columns import evenly, known, objective, parameters
from archwright.search.panels import Table
from archwright.search.study import Result

__all__ = ["interactions"]

Floats = npt.NDArray[np.float64]
Scale = Literal["value", "rank"]

_FEWEST = 40
_ROWS = 4000  # designs that the models are fitted to, at most
_FINEST = 24  # slices of a parameter alone, at most
_EACH = 20  # designs a slice; a model of more slices would take away part of what pairs explain

_LEAST = 0.001  # share of the variance below which a pair does not matter

Slices = tuple[npt.NDArray[np.intp], int]


def interactions(
    result: Result,
    metric: str,
    *,
    slices: int = 6,
    scale: Scale = "value",
    most: int = 8,
) -> Table:
    """Find the pairs of parameters that act together, by the variance that only a pair explains.

    An additive model of all parameters is fitted by least squares, each cut into fine slices
    (inactive is one of them). What it leaves is averaged in the cells of each pair; the variance
    of these averages, less what noise would give, is the gain in R². The best pair joins the
    model and the search goes on, so that a pair is not named for what an earlier one explains.
    It ends where no gain exceeds 0.1 % and its floor: what noise reaches in one of 20 studies.

    It is read off the trials: cells that the search never visited say nothing, and parameters
    that it moved together share their gain.

    Args:
        result: the trials of a study.
        metric: a metric, or the name of a combined loss.
        slices: slices of a parameter in a pair, at most.
        scale: ``value``, or ``rank``: places instead of values, for a metric with outliers.
        most: pairs in the table, at most.

    Returns:
        A table with a row a pair, in the order found: both names, the gain, the floor, cells
        with trials. It is empty where no pair is found.

    Raises:
        SpecificationError: an unknown metric or scale.
        InfeasibleError: fewer than 40 feasible designs have the metric.
    """
    if scale not in ("value", "rank"):
        raise SpecificationError(unknown("scale", scale, ["value", "rank"]))
    column = objective(result, metric)
    rows = np.flatnonzero(known(result, column))
    if len(rows) < _FEWEST:
        raise InfeasibleError(
            f"interactions need {_FEWEST} feasible designs with {metric!r}, found {len(rows)}"
        )
    rows = evenly(rows, _ROWS)
    values = column.values[rows]
    if scale == "rank":
        values = np.unique(values, return_inverse=True)[1].astype(np.float64)
    values = values - values.mean()
    columns = parameters(result)
    fine = max(slices, min(_FINEST, len(rows) // (_EACH * len(columns))))
    cuts = {}
    blocks = [np.ones((len(rows), 1))]
    for parameter in columns:
        taken = parameter.take(rows)
        coarse = _cut(taken.bins(slices, max(3, len(rows) // 400)))
        if coarse[1] > 1:
            cuts[parameter.name] = coarse
            blocks.append(_marks(_nested(coarse, _cut(taken.bins(fine, 3)))))
    found = _search(values, blocks, cuts, most)
    pairs = len(cuts) * (len(cuts) - 1) // 2
    what = f"{len(found) or 'none'} above chance and 0.1 % of the variance"
    return Table(
        title=f"Pairs that act together on {metric}",
        columns=["parameter", "with", "gain in R²", "floor", "cells"],
        rows=found,
        note=f"{len(rows):,} designs, {pairs:,} pairs, {what}.",
    )


def _search(
    values: Floats, blocks: list[Floats], cuts: dict[str, Slices], most: int
) -> list[list[str | float | int | None]]:
    """Take the best pair into the model, again and again."""
    spread = float((values**2).sum())
    pairs = list(combinations(cuts, 2))
    found: list[list[str | float | int | None]] = []
    used = sum(block.shape[1] for block in blocks)
    while pairs and len(found) < most and spread > 0:
        rest = _residual(values, np.hstack(blocks))
        gains = [_gain(rest, cuts[a], cuts[b], used, len(pairs)) for a, b in pairs]
        best = max(range(len(pairs)), key=lambda i: gains[i][0] - gains[i][1])
        gain, floor, cells, free = gains[best]
        if gain <= max(floor, _LEAST * spread):
            break
        first, second = pairs.pop(best)
        found.append([first, second, gain / spread, floor / spread, cells])
        used += free
        a, b = cuts[first], cuts[second]
        blocks.append(_marks((a[0] * b[1] + b[0], a[1] * b[1])))
    return found


def _cut(slices: Slices) -> Slices:
    """Slices with the inactive rows as a slice of their own."""
    place, count = slices
    return (place + 1, count + 1) if (place < 0).any() else slices


def _nested(coarse: Slices, fine: Slices) -> Slices:
    """The fine slices, cut once more where a coarse one ends, so that they add up to those."""
    found, place = np.unique(coarse[0] * fine[1] + fine[0], return_inverse=True)
    return place.astype(np.intp), len(found)


def _marks(slices: Slices) -> Floats:
    """One column a slice but the first, 1 in the rows of the slice."""
    place, count = slices
    marks = np.zeros((len(place), count))
    marks[np.arange(len(place)), place] = 1.0
    return marks[:, 1:]


def _residual(values: Floats, matrix: Floats) -> Floats:
    """What a linear model leaves."""
    from scipy.linalg import cho_factor, cho_solve
    from threadpoolctl import threadpool_limits

    gram = matrix.T @ matrix
    # The cells of a pair repeat the slices of its parameters; a hair of ridge keeps one of both.
    gram[np.diag_indices_from(gram)] += 1e-9 * len(values)
    with threadpool_limits(1):  # on a busy machine threads make so small a system slower
        rest: Floats = values - matrix @ cho_solve(cho_factor(gram), matrix.T @ values)
    return rest


def _gain(
    rest: Floats, first: Slices, second: Slices, used: int, pairs: int
) -> tuple[float, float, int, int]:
    """Sum of squares of a pair beyond chance, its floor, cells with trials, and freedom."""
    from scipy.stats import chi2

    cell = first[0] * second[1] + second[0]
    counts = np.bincount(cell, minlength=first[1] * second[1])
    sums = np.bincount(cell, weights=rest, minlength=len(counts))
    there = counts > 0
    between = float((sums[there] ** 2 / counts[there]).sum())
    free = int(there.sum()) - first[1] - second[1] + 1
    left = len(rest) - used - max(free, 0)
    if free < 1 or left < 1:
        return 0.0, 0.0, int(there.sum()), 0
    noise = max(float((rest**2).sum()) - between, 0.0) / left
    floor = noise * (float(chi2.isf(0.05 / pairs, free)) - free)
    return between - free * noise, floor, int(there.sum()), free
