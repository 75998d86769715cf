"""All vectors of counts whose bins come to one bill, listed pool by pool.

Within a pool whose widths divide one another, counts fit bins where a few rows hold (see
:mod:`archwright.solve.counts.bins`), so the least cost of every demand is read from one table: the
cost of each set of bins at the room that it has for each width, then the least over all that have
more. The pools are joined by money, units and the bounds on θ; the last by the money left.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from archwright.solve.counts.bins import narrowed, unit_prices
from archwright.solve.counts.problem import EXACT, Bins, Floats, Ints, Problem

__all__ = ["list_packed"]

MOST_SETS = 1_000_000
"""Sets of bins, demands or joined vectors that are held at once."""


@dataclass(frozen=True, kw_only=True)
class _Pool:
    """The counts that a pool may hold: shapes (n, units of the pool) and (n,)."""

    units: npt.NDArray[np.intp]
    counts: Ints
    cost: Floats


def list_packed(
    problem: Problem,
    known_bounds: list[Floats],
    known: Ints,
    bill: float,
    *,
    at_most: int,
    exact: bool,
) -> Ints | None:
    """List the counts whose bins come to a bill, in as many units as those known or fewer.

    Args:
        problem: with bins.
        known_bounds: vectors w with θ(y) ≤ w · y for all counts y.
        known: counts of that bill.
        bill: the least one.
        at_most: counts listed.
        exact: as many units as known, not fewer.

    Returns:
        Shape (n, G); None if they are more than at most, or widths do not divide one another.
    """
    assert problem.bins is not None
    bins, units = narrowed(problem.bins), int(known.sum())
    prices = unit_prices(problem.bins)
    playing = np.isfinite(prices) & (problem.most > 0)
    top = np.minimum(np.where(playing, problem.most, 0.0), units)
    pools = []
    for pool in np.unique(bins.unit_pool[playing]):
        members = np.flatnonzero(playing & (bins.unit_pool == pool))
        made = _pool(bins, int(pool), members, problem.least, top, units, bill)
        if made is None:
            return None
        pools.append(made)
    pools.sort(key=lambda each: (len(each.cost), -prices[each.units].min()))
    bounds = np.array(known_bounds)
    gains = np.where(playing, bounds, 0.0) / np.where(playing, prices, 1.0)
    found = np.zeros((1, len(known)), dtype=np.int64)
    money, free = np.full(1, bill), np.full(1, units)
    slack = EXACT * bill
    for k, pool_ in enumerate(pools):
        later = np.concatenate([p.units for p in pools[k + 1 :]] or [np.zeros(0, np.intp)])
        pairs = _join(pool_, money, free, slack, last=not len(later), exact=exact)
        if pairs is None:
            return None
        rows, states = pairs
        counts = pool_.counts[states]
        money, free = money[rows] - pool_.cost[states], free[rows] - counts.sum(axis=1)
        keep = np.ones(len(rows), dtype=bool)
        for w, gain in zip(bounds, gains, strict=True):
            reach = found[rows] @ w + counts @ w[pool_.units]
            more = np.minimum(
                np.maximum(money, 0.0) * gain[later].max(initial=0.0),
                free * w[later].max(initial=0.0),
            )
            keep &= reach + more >= 1 - 1e-7
        rows, counts, money, free = rows[keep], counts[keep], money[keep], free[keep]
        found = found[rows]
        found[:, pool_.units] = counts
        if len(found) > (at_most if not len(later) else MOST_SETS):
            return None
    for row, limit in problem.limits:
        found = found[found @ row <= limit * (1 + EXACT)]
    return found[np.lexsort(found.T[::-1])]


def _join(
    pool: _Pool, money: Floats, free: Ints, slack: float, *, last: bool, exact: bool
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] | None:
    """Pair what is chosen so far with the counts of a pool; the last takes all money left."""
    order = np.argsort(pool.cost, kind="stable")
    cost = pool.cost[order]
    high = np.searchsorted(cost, money + slack, side="right")
    low = np.searchsorted(cost, money - slack) if last else np.zeros(len(money), np.intp)
    ways = np.maximum(high - low, 0)
    if ways.sum() > MOST_SETS:
        return None
    rows = np.repeat(np.arange(len(money)), ways)
    states = order[np.arange(ways.sum()) - np.repeat(np.cumsum(ways) - ways - low, ways)]
    number = pool.counts[states].sum(axis=1)
    fits = number == free[rows] if last and exact else number <= free[rows]
    return rows[fits], states[fits]


def _pool(
    bins: Bins,
    pool: int,
    members: npt.NDArray[np.intp],
    least: Floats,
    top: Floats,
    units: int,
    bill: float,
) -> _Pool | None:
    """List what a pool can hold for a bill, with its least cost."""
    widths = sorted(set(bins.unit_size[members].tolist()))
    if any(wider % width for width, wider in pairwise(widths)):
        return None
    here = np.flatnonzero(bins.pool == pool)
    sets = _grid(np.minimum(np.floor(bill * (1 + EXACT) / bins.cost[here]), bins.most[here]))
    if sets is None:
        return None
    spent = sets @ bins.cost[here]
    sets, spent = sets[spent <= bill * (1 + EXACT)], spent[spent <= bill * (1 + EXACT)]
    room = np.stack([sets @ (bins.size[here] // width) for width in widths], axis=1)
    most = np.minimum(
        top[members], room.max(axis=0)[np.searchsorted(widths, bins.unit_size[members])]
    )
    counts = _grid(most, low=least[members], at_most=units)
    if counts is None:
        return None
    wide = [bins.unit_size[members] >= width for width in widths]
    size = bins.unit_size[members]
    demand = np.stack(
        [counts @ (size * w) // width for w, width in zip(wide, widths, strict=True)], axis=1
    )
    inside = (demand <= room.max(axis=0)).all(axis=1)
    counts, demand = counts[inside], demand[inside]
    if not len(counts):
        return _Pool(units=members, counts=counts, cost=np.zeros(0))
    shape = room.max(axis=0) + 1
    if np.prod(shape.astype(np.float64)) > MOST_SETS:
        return None
    table = np.full(shape, np.inf)
    np.minimum.at(table, tuple(room.T), spent)
    for axis in range(len(widths)):  # whoever has more room will do
        table = np.flip(np.minimum.accumulate(np.flip(table, axis), axis=axis), axis)
    cost = table[tuple(demand.T)]
    held = np.isfinite(cost)
    return _Pool(units=members, counts=counts[held], cost=cost[held])


def _grid(high: Floats, low: Floats | None = None, at_most: float = np.inf) -> Ints | None:
    """List all whole vectors from low to high of a sum; None if they are too many."""
    found = np.zeros((1, 0), dtype=np.int64)
    for k, most in enumerate(high):
        values = np.arange(0 if low is None else int(low[k]), int(most) + 1)
        if len(found) * len(values) > MOST_SETS:
            return None
        found = np.column_stack(
            [np.repeat(found, len(values), axis=0), np.tile(values, len(found))]
        )
        found = found[found.sum(axis=1) <= at_most]
    return found
