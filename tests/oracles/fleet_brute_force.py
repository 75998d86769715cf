"""Fleets by enumeration: every vector of counts, every assignment, every way to fill nodes.

Slow and plain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

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


@dataclass(frozen=True)
class Best:
    """The best fleet: bill, instances by type, largest relative load, offers rented."""

    cost: float
    counts: tuple[int, ...]
    relative_load: float
    offers: tuple[int, ...]

    def beats(self, other: Best | None) -> bool:
        """Say whether it comes before another, by the order of plans; False if they are equal."""
        if other is None or self.cost < other.cost * (1 - TOLERANCE):
            return True
        if self.cost > other.cost * (1 + TOLERANCE):
            return False
        if sum(self.counts) != sum(other.counts):
            return sum(self.counts) < sum(other.counts)
        if abs(self.relative_load - other.relative_load) > 1e-8 * self.relative_load:
            return self.relative_load < other.relative_load
        if self.counts != other.counts:
            return self.counts > other.counts
        return sum(self.offers) < sum(other.offers)


def relative_load_of_ways(
    load: np.ndarray,
    type_of: Sequence[int],
    counts: Sequence[int],
    takes: np.ndarray,
    at_most: Sequence[float],
    slices: int | None,
) -> float:
    """Return the least largest load over count within budgets.

    Loads have shape (buckets, ways), what the buckets take (budgets, buckets, ways).
    """
    buckets, ways = load.shape
    open_to = [[c for c in range(ways) if counts[type_of[c]] and load[b, c] < math.inf]
               for b in range(buckets)]  # fmt: skip
    if not buckets:
        return 0.0
    if any(not each for each in open_to):
        return math.inf
    if slices is not None:
        return _sliced_ways(load, type_of, counts, takes, at_most, slices, open_to)
    pairs = [(b, c) for b in range(buckets) for c in open_to[b]]
    used = [g for g, n in enumerate(counts) if n]
    upper = [[load[b, c] * (type_of[c] == g) for b, c in pairs] + [-counts[g]] for g in used]
    upper += [[t[b, c] for b, c in pairs] + [0.0] for t in takes]
    found = linprog(
        [0.0] * len(pairs) + [1.0],
        A_ub=upper,
        b_ub=[0.0] * len(used) + [a * (1 + TOLERANCE) for a in at_most],
        A_eq=[[float(b == row) for b, _ in pairs] + [0.0] for row in range(buckets)],
        b_eq=[1.0] * buckets,
    )
    return float(found.x[-1]) if found.status == 0 else math.inf


def _sliced_ways(
    load: np.ndarray,
    type_of: Sequence[int],
    counts: Sequence[int],
    takes: np.ndarray,
    at_most: Sequence[float],
    slices: int,
    open_to: list[list[int]],
) -> float:
    best = math.inf
    choices = [itertools.combinations_with_replacement(ways, slices) for ways in open_to]
    for choice in itertools.product(*choices):
        loads = [0.0] * len(counts)
        taken = [0.0] * len(at_most)
        for b, ways in enumerate(choice):
            for c in ways:
                loads[type_of[c]] += load[b, c] / slices
                for r in range(len(taken)):
                    taken[r] += takes[r, b, c] / slices
        if all(t <= a * (1 + TOLERANCE) for t, a in zip(taken, at_most, strict=True)):
            best = min(best, max(u / n for u, n in zip(loads, counts, strict=True) if n))
    return best


def cheapest_offers(
    counts: Sequence[int],
    shapes: Sequence[tuple[int, int]],
    offers: Sequence[tuple[int, int, float, float]],
) -> tuple[float, tuple[int, ...]] | None:
    """Return (bill, offers rented) that hold the counts; cheapest, fewest, more of the earlier.

    Shapes are (device, width) by type, offers (device, size, price, available). Every set of
    offers is tried, every way to put the instances in.
    """
    bill = 0.0
    rented = [0] * len(offers)
    for device in {d for d, _ in shapes}:
        items = tuple(
            sorted(w for n, (d, w) in zip(counts, shapes, strict=True) if d == device
                   for _ in range(n))
        )  # fmt: skip
        here = [o for o, offer in enumerate(offers) if offer[0] == device]
        found = _cheapest_nodes(items, tuple(offers[o][1:] for o in here))
        if found is None:
            return None
        bill += found[0]
        for o, n in zip(here, found[1], strict=True):
            rented[o] = n
    return bill, tuple(rented)


@cache
def _cheapest_nodes(
    items: tuple[int, ...], offers: tuple[tuple[int, float, float], ...]
) -> tuple[float, tuple[int, ...]] | None:
    most = [int(min(available, len(items))) for _, _, available in offers]
    best: tuple[float, int, tuple[int, ...], tuple[int, ...]] | None = None
    for numbers in itertools.product(*(range(m + 1) for m in most)):
        price = sum(n * offer[1] for n, offer in zip(numbers, offers, strict=True))
        if best is not None and price > best[0] * (1 + TOLERANCE):
            continue
        nodes = [o[0] for n, o in zip(numbers, offers, strict=True) for _ in range(n)]
        if not _fits(items, tuple(sorted(nodes))):
            continue
        key = (price, sum(numbers), tuple(-n for n in numbers), numbers)
        cheaper = best is None or price < best[0] * (1 - TOLERANCE)
        if cheaper or (best is not None and key[1:] < best[1:]):
            best = key
    return None if best is None else (best[0], best[3])


@cache
def _fits(items: tuple[int, ...], rooms: tuple[int, ...]) -> bool:
    """Try every room for the largest item."""
    if not items:
        return True
    return any(
        room >= items[-1]
        and _fits(items[:-1], tuple(sorted((*rooms[:k], room - items[-1], *rooms[k + 1 :]))))
        for k, room in enumerate(rooms)
        if k == 0 or rooms[k - 1] != room
    )


def best_rented(
    load: np.ndarray,
    type_of: Sequence[int],
    prices: Sequence[float],
    *,
    takes: np.ndarray | None = None,
    at_most: Sequence[float] = (),
    shapes: Sequence[tuple[int, int]] | None = None,
    offers: Sequence[tuple[int, int, float, float]] | None = None,
    slices: int | None = None,
    most: Sequence[float] | None = None,
    least: Sequence[int] | None = None,
    survive_loss: bool = False,
    up_to: int = 4,
) -> Best | None:
    """Return the best fleet with ways, budgets and, where they are given, whole offers."""
    types = len(prices)
    taken = np.zeros((0, *load.shape)) if takes is None else takes
    ceiling = [int(min(m, up_to)) for m in (most or [math.inf] * types)]
    floor = least or [0] * types
    bills = []
    for vector in itertools.product(
        *(range(a, b + 1) for a, b in zip(floor, ceiling, strict=True))
    ):
        if offers is None:
            bills.append((sum(p * n for p, n in zip(prices, vector, strict=True)), vector, ()))
        elif (held := cheapest_offers(vector, shapes or (), offers)) is not None:
            bills.append((held[0], vector, held[1]))
    best: Best | None = None
    for bill, vector, rented in sorted(bills):
        if best is not None and bill > best.cost * (1 + TOLERANCE):
            break
        if best is not None and sum(vector) > sum(best.counts):
            continue
        relative = relative_load_of_ways(load, type_of, vector, taken, at_most, None)
        if slices is not None and relative <= 1 + TOLERANCE:  # slices never do better
            relative = relative_load_of_ways(load, type_of, vector, taken, at_most, slices)
        if relative > 1 + TOLERANCE:
            continue
        lost = [
            [n - (g == gone) for g, n in enumerate(vector)]
            for gone in range(types)
            if vector[gone] and survive_loss
        ]
        if any(
            relative_load_of_ways(load, type_of, rest, taken, at_most, None) > 1 + TOLERANCE
            for rest in lost
        ):
            continue
        found = Best(bill, vector, relative, rented)
        if found.beats(best):
            best = found
    return best
