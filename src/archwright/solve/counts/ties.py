"""All vectors of counts of one cost, listed."""

from __future__ import annotations

import numpy as np

from archwright.solve.counts.problem import EXACT, Floats, Ints, Problem

__all__ = ["list_ties"]

FAR = 1e300
"""More than any price; finite, so that none of it costs nothing."""


def list_ties(
    problem: Problem,
    known_bounds: list[Floats],
    known: Ints,
    *,
    at_most: int,
    units: int | None = None,
) -> Ints | None:
    """List the counts as dear as those known, of a number of units; None if more than at most.

    Type by type, the dearest first, so that the many ways to spend little are only counted where
    the rest of the money leaves few. A bound caps a type by what the money left could add at best.
    """
    order = np.argsort(-problem.cost, kind="stable")
    prices, most, least = (x[order] for x in (problem.cost, problem.most, problem.least))
    money = float(problem.cost @ known)
    slack = EXACT * money
    bounds = np.array(known_bounds)[:, order]
    best = bounds / prices  # what money can add to a bound
    found: Ints = np.zeros((1, 0), dtype=np.int64)
    left, reach = np.array([money]), np.zeros((1, len(bounds)))
    for g, price in enumerate(prices):
        later = prices[g + 1 :]
        gain = best[:, g + 1 :].max(axis=1, initial=0.0)
        top = np.minimum(most[g], np.floor((left + slack) / price))
        if units is not None:
            top = np.minimum(top, units - found.sum(axis=1))
        lost = gain * price - bounds[:, g]  # by a bound for each unit of this type
        spare = reach + np.maximum(left, 0.0)[:, None] * gain - (1 - 1e-7)
        losing = lost > 1e-12 * gain * price
        caps = np.floor(spare[:, losing] / lost[losing] + 1e-6)
        top = np.minimum(top, caps.min(axis=1, initial=np.inf))
        low = np.full(len(found), least[g])
        if not len(later):  # the last type takes what is left
            low = np.maximum(low, np.ceil((left - slack) / price))
        ways = np.maximum(top - low + 1, 0).astype(np.int64)
        if ways.sum() > 10 * at_most:
            return None
        first = np.repeat(np.cumsum(ways) - ways - low.astype(np.int64), ways)
        found = np.column_stack([np.repeat(found, ways, axis=0), np.arange(ways.sum()) - first])
        left = money - found @ prices[: g + 1]
        reach = found @ bounds[:, : g + 1].T
        keep = (left <= slack) | (left >= later.min(initial=np.inf) - slack)
        if units is not None:
            free = units - found.sum(axis=1)
            keep &= free * later.max(initial=0.0) >= left - slack
            keep &= (free == 0) | (free * later.min(initial=FAR) <= left + slack)
        keep &= (reach + np.maximum(left, 0.0)[:, None] * gain >= 1 - 1e-7).all(axis=1)
        found, left, reach = found[keep], left[keep], reach[keep]
        if len(found) > at_most:
            return None
    named = np.empty_like(found)
    named[:, order] = found
    named = named[np.lexsort(named.T[::-1])]
    for row, limit in problem.limits:
        named = named[named @ row <= limit * (1 + EXACT)]
    return named
