"""Units in bins: rows that hold exactly where whole units fit, and the bins to buy.

The bins of a pool hold y_w units of each width w. A width that divides every larger width of the
pool needs one row,

    Σ_{w' ≥ w} w' y_w' ≤ Σ_bins ⌊size / w⌋ w.

It is necessary, since units of these widths take multiples of w. It is enough once the larger
widths are placed: what they leave free of ⌊size / w⌋ w in a bin is a multiple of w, so as long as
the row has room, some bin has room for one more. So widths that divide one another need rows
alone. What remains, once such widths are taken from the small end, is placed by patterns: for each
size of bin an integer column for every maximal way to fill one (Gilmore and Gomory 1961).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError
from archwright.solve.counts.problem import EXACT, Bins, Floats, Ints
from archwright.solve.counts.solver import add_columns, add_row, highs, solve

__all__ = ["add_bins", "buy", "narrowed", "unit_prices"]

MOST_PATTERNS = 20_000
"""Ways to fill the bins of a pool that are told apart."""


def unit_prices(bins: Bins) -> Floats:
    """Return the least cost of the part of a bin that a unit of each type takes, shape (G,).

    inf where it fits none.
    """
    prices = np.full(len(bins.unit_size), np.inf)
    for g, (width, pool) in enumerate(zip(bins.unit_size, bins.unit_pool, strict=True)):
        fits = (bins.pool == pool) & (bins.size >= width) & (bins.most > 0)
        if fits.any():
            prices[g] = (bins.cost[fits] / bins.size[fits]).min() * width
    return prices


def narrowed(bins: Bins) -> Bins:
    """Return the bins that a least bill may need, equals merged.

    One that is no larger and no cheaper than another of its pool, of which there is no end, is
    left out.
    """
    classes: dict[tuple[int, int, float], float] = {}
    for o in np.flatnonzero(bins.most > 0):
        key = (int(bins.pool[o]), int(bins.size[o]), float(bins.cost[o]))
        classes[key] = classes.get(key, 0.0) + float(bins.most[o])
    kept = [
        (pool, size, cost, most)
        for (pool, size, cost), most in classes.items()
        if not any(
            other[0] == pool and other[1] >= size and other[2] <= cost and math.isinf(free)
            for other, free in classes.items()
            if other != (pool, size, cost)
        )
    ]
    table = np.array(kept, dtype=np.float64).reshape(-1, 4)
    return replace(
        bins,
        pool=table[:, 0].astype(np.int64),
        size=table[:, 1].astype(np.int64),
        cost=table[:, 2],
        most=table[:, 3],
    )


def add_bins(solver: Any, bins: Bins, playing: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Add columns for the bins, and hold the counts, the first columns, to what they hold.

    Args:
        solver: to add to; its first columns are the counts.
        bins: what can be bought.
        playing: types whose count may be above 0, shape (G,).
    """
    first = solver.getNumCol()
    add_columns(solver, np.zeros(len(bins.cost)), bins.most, whole=True)
    for pool in np.unique(bins.unit_pool[playing]):
        here = np.flatnonzero(bins.pool == pool)
        units = np.flatnonzero(playing & (bins.unit_pool == pool))
        widths = sorted(set(bins.unit_size[units].tolist()))
        while widths and all(wider % widths[0] == 0 for wider in widths):
            width = widths.pop(0)
            wide = units[bins.unit_size[units] >= width]
            room = bins.size[here] // width * width
            values = np.concatenate([bins.unit_size[wide], -room]).astype(np.float64)
            add_row(solver, -math.inf, 0.0, [*wide, *(first + here)], values)
        if widths:
            _add_patterns(solver, bins, here, units, widths, first)
    return np.arange(first, first + len(bins.cost), dtype=np.intp)


def _add_patterns(
    solver: Any,
    bins: Bins,
    here: npt.NDArray[np.intp],
    units: npt.NDArray[np.intp],
    widths: list[int],
    first: int,
) -> None:
    """Place widths that do not divide one another by the ways to fill each size of bin."""
    ways: list[tuple[int, ...]] = []
    columns: list[int] = []
    for size in sorted(set(bins.size[here].tolist())):
        found = _patterns(size, widths, MOST_PATTERNS - len(ways))
        if not found:
            continue
        at = solver.getNumCol()
        add_columns(solver, np.zeros(len(found)), np.full(len(found), np.inf), whole=True)
        used = [*range(at, at + len(found))]
        same = first + here[bins.size[here] == size]
        values = np.append(np.ones(len(found)), -np.ones(len(same)))
        add_row(solver, -math.inf, 0.0, [*used, *same], values)  # one pattern a bin
        ways += found
        columns += used
    held = np.array(ways, dtype=np.float64).reshape(-1, len(widths))
    for k, width in enumerate(widths):
        alike = units[bins.unit_size[units] == width]
        values = np.append(np.ones(len(alike)), -held[:, k])
        add_row(solver, -math.inf, 0.0, [*alike, *columns], values)


def _patterns(size: int, widths: list[int], most: int) -> list[tuple[int, ...]]:
    """List the maximal ways to fill a bin: numbers of each width, from the smallest up."""
    found: list[tuple[int, ...]] = []

    def fill(k: int, left: int, larger: tuple[int, ...]) -> None:
        if k == 0:
            found.append((left // widths[0], *larger))
            if len(found) > most:
                raise SpecificationError(
                    f"widths {', '.join(map(str, widths))} fill a node of {size} in more than "
                    f"{MOST_PATTERNS} ways; expected fewer widths, or widths that divide each "
                    "other"
                )
            return
        for number in range(left // widths[k], -1, -1):
            fill(k - 1, left - number * widths[k], (number, *larger))

    fill(len(widths) - 1, size, ())
    return [way for way in found if any(way)]


def buy(bins: Bins, counts: Ints) -> tuple[Ints, float]:
    """Return the bins that hold the counts, and their bill.

    Of least cost; then the fewest; then more of the earlier.

    Raises:
        InfeasibleError: there are too few bins.
    """
    n, types = len(bins.cost), len(counts)
    if not counts.any():
        return np.zeros(n, dtype=np.int64), 0.0
    solver = highs()
    add_columns(solver, counts.astype(np.float64), counts.astype(np.float64))
    usable = replace(bins, most=np.minimum(bins.most, counts.sum()))
    columns = add_bins(solver, usable, counts > 0)
    bought = _least(solver, columns, bins.cost)
    if bought is None:
        raise InfeasibleError("the bins that can be bought do not hold the units required")
    bill = float(bins.cost @ bought)
    add_row(solver, -math.inf, 1 + EXACT, columns, bins.cost / bill)
    fewest = _least(solver, columns, np.ones(n))
    bought = bought if fewest is None else fewest
    add_row(solver, float(bought.sum()), float(bought.sum()), columns)
    for o in range(n):
        if bought[:o].sum() == bought.sum():
            break  # nothing is left to order
        first = _least(solver, columns, -(np.arange(n) == o).astype(np.float64))
        bought = bought if first is None else first
        solver.changeColBounds(types + o, *[float(bought[o])] * 2)
    return bought, float(bins.cost @ bought)


def _least(solver: Any, columns: npt.NDArray[np.intp], cost: Floats) -> Ints | None:
    n = solver.getNumCol()
    weights = np.zeros(n)
    weights[columns] = cost
    solver.changeColsCost(n, np.arange(n, dtype=np.int32), weights)
    solution = solve(solver)
    return None if solution is None else np.rint(solution[columns]).astype(np.int64)
