"""Fleets by enumeration: every vector of counts, every assignment. Slow and plain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog

TOLERANCE = 1e-9


def relative_load(load: np.ndarray, counts: Sequence[int], slices: int | None) -> float:
    """Return the least largest load over count, for loads of shape (buckets, types)."""
    buckets = len(load)
    used = [g for g, n in enumerate(counts) if n > 0]
    if not buckets:
        return 0.0
    if not used:
        return math.inf
    if slices is None:
        return _divisible(load[:, used], [counts[g] for g in used])
    ways = [
        [way.count(k) / slices for k in range(len(used))]
        for way in itertools.combinations_with_replacement(range(len(used)), slices)
    ]
    best = math.inf
    far = np.where(np.isinf(load), 1e9, load)
    for choice in itertools.product(ways, repeat=buckets):
        total = sum(np.array(way) * far[b, used] for b, way in enumerate(choice))
        best = min(best, max(t / counts[g] for t, g in zip(total, used, strict=True)))
    return best


def _divisible(load: np.ndarray, counts: list[int]) -> float:
    if np.isinf(load).all(axis=1).any():
        return math.inf
    buckets, types = load.shape
    n = buckets * types
    allowed = np.isfinite(load).ravel()
    load = np.where(np.isinf(load), 0.0, load)
    upper = np.zeros((types, n + 1))
    equal = np.zeros((buckets, n + 1))
    for b in range(buckets):
        for g in range(types):
            upper[g, b * types + g] = load[b, g]
            equal[b, b * types + g] = 1.0
    upper[:, -1] = [-count for count in counts]
    found = linprog(
        np.append(np.zeros(n), 1.0),
        A_ub=upper,
        b_ub=np.zeros(types),
        A_eq=equal,
        b_eq=np.ones(buckets),
        bounds=[(0, None if a else 0) for a in allowed] + [(0, None)],
    )
    return float(found.x[-1])


def best_fleet(
    load: np.ndarray,
    cost: Sequence[float],
    *,
    slices: int | None = None,
    most: Sequence[float] | None = None,
    least: Sequence[int] | None = None,
    survive_loss: bool = False,
    up_to: int = 7,
) -> tuple[float, tuple[int, ...]] | None:
    """Return (cost, counts): cheapest, fewest, roomiest, more of the earlier; None if nothing."""
    types = len(cost)
    ceiling = [up_to if most is None else int(min(m, up_to)) for m in (most or [up_to] * types)]
    floor = least or [0] * types
    vectors = itertools.product(*(range(a, b + 1) for a, b in zip(floor, ceiling, strict=True)))
    priced = sorted((sum(c * n for c, n in zip(cost, v, strict=True)), v) for v in vectors)
    cheapest: float | None = None
    good: list[tuple[int, float, tuple[int, ...], tuple[int, ...]]] = []
    for price, vector in priced:
        if cheapest is not None and price > cheapest * (1 + TOLERANCE):
            break
        load_of = relative_load(load, vector, slices)
        if load_of > 1 + TOLERANCE:
            continue
        if survive_loss and any(
            relative_load(load, [n - (g == lost) for g, n in enumerate(vector)], None)
            > 1 + TOLERANCE
            for lost in range(types)
            if vector[lost]
        ):
            continue
        cheapest = price if cheapest is None else cheapest
        good.append((sum(vector), load_of, tuple(-n for n in vector), vector))
    if cheapest is None:
        return None
    fewest = min(g[0] for g in good)
    good = [g for g in good if g[0] == fewest]
    least_load = min(g[1] for g in good)
    good = [g for g in good if g[1] <= least_load * (1 + 1e-8)]
    return cheapest, min(good, key=lambda g: g[2])[3]
