"""Allocation: how many whole units of each type carry divisible or sliced items most cheaply.

Items (buckets of requests, say) load a type by a known fraction of one unit; loads add up, and a
type's units must cover its load. A type may carry an item in several ways, which take differently
of budgets that all items share. The choice is lexicographic: least cost, then fewest units, then
the largest smallest headroom, then more units of the earlier type. Units are bought alone or in
whole bins (:mod:`archwright.solve.counts.bins`); then the bill of the bins is the cost.

How: one mixed-integer programme over counts and shares (HiGHS) gives the least cost, a second the
fewest units at that cost. For given counts y, loading the items so that the largest relative load
is least is a linear programme, and a dual solution u, μ ≥ 0 of it bounds every vector of counts:

    largest relative load ≥ N(u, μ) / (u · y)
    with  N(u, μ) = Σ_items min_c (u_type(c) load_c + Σ_r μ_r takes_rc) - Σ_r μ_r at_most_r,

c over the ways of all types, r over the budgets. All vectors with the least cost and count are
listed and compared by load, best bound first, so few are solved in full; where units are bought in
bins, integer programmes decide instead. The same bounds, as cuts u · y ≥ N(u, μ) (Benders 1962),
hold the programmes to exact feasibility and to fleets that survive the loss of a unit. Items cut
into slices are first tried on the counts that are best for divisible items; where they do not
pack, the programme over slices decides.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from archwright.errors import InfeasibleError
from archwright.solve.counts.bins import buy, unit_prices
from archwright.solve.counts.explain import least_taken, unserved
from archwright.solve.counts.loading import divide, pack
from archwright.solve.counts.packed_ties import list_packed
from archwright.solve.counts.problem import (
    EXACT,
    Allocation,
    Bins,
    Ints,
    Problem,
    prepared,
)
from archwright.solve.counts.programme import Counts
from archwright.solve.counts.ties import list_ties

__all__ = [
    "Allocation",
    "Bins",
    "Problem",
    "allocate",
    "least_taken",
    "unit_prices",
    "unserved",
]

MOST_TIES = 50_000
"""Vectors of equal cost and count that are listed when slices are packed."""


def allocate(problem: Problem) -> Allocation:
    """Return the best allocation.

    >>> allocate(Problem(load=np.array([[2.0, 0.5]]), cost=np.array([1.0, 3.0]),
    ...                  most=np.full(2, np.inf), least=np.zeros(2))).counts
    array([2, 0])

    Raises:
        InfeasibleError: no number of units that is allowed carries the items.
        SpecificationError: widths fill bins in too many ways.
    """
    if not len(problem.load):
        return _nothing_to_carry(problem)
    problem = prepared(problem)
    if problem.bins is not None:
        prices = unit_prices(problem.bins)
        fits = np.isfinite(prices)
        problem = replace(
            problem,
            cost=np.where(fits, prices, 1.0),
            most=np.where(fits, problem.most, np.minimum(problem.most, 0.0)),
            load=np.where(fits[problem.types], problem.load, np.inf),
        )
        if (problem.least > problem.most).any():
            raise InfeasibleError("units are required that fit no bin")
    if np.isinf(problem.load).all(axis=1).any():
        raise InfeasibleError("no unit that is allowed may carry an item")
    found = _choose(problem, Counts(replace(problem, slices=None)))
    if found is None:  # no counts that cheap hold whole slices
        found = _choose(problem, Counts(problem))
    assert found is not None  # the counts known are among those listed
    if problem.bins is not None:
        found = replace(found, bins=buy(problem.bins, found.counts)[0])
    return found


def _choose(problem: Problem, search: Counts) -> Allocation | None:
    """Choose among all counts of the least cost of a search; None where slices never pack."""
    known = search.cheapest()
    ties = _listed(problem, search, known, exact=False)
    if ties is None:
        known = search.fewest(known)
        ties = _listed(problem, search, known, exact=True)
    proven = ties is not None
    if ties is None:
        ties = search.roomiest(known)[None]
    for units in np.unique(ties.sum(axis=1)):
        found = _roomiest_listed(problem, search, ties[ties.sum(axis=1) == units])
        if found is not None:
            proven |= problem.slices is None
            return replace(found, proven=found.proven and proven)
    return None


def _listed(problem: Problem, search: Counts, known: Ints, *, exact: bool) -> Ints | None:
    """List the counts as dear as those known, all or (exact) of their number of units.

    None where they are too many, or units are bought in bins whose rows do not tell what fits.
    """
    if problem.bins is not None:
        return list_packed(
            problem, search.bounds, known, search.bill, at_most=MOST_TIES, exact=exact
        )
    units = int(known.sum()) if exact else None
    return list_ties(problem, search.bounds, known, at_most=MOST_TIES, units=units)


def _roomiest_listed(problem: Problem, search: Counts, ties: Ints) -> Allocation | None:
    """Return the best of the counts listed by headroom and order; None where none carries.

    The most promising goes first, so that few need solving.
    """
    least = np.zeros(len(ties))  # of the relative load, by the bounds seen so far; inf once done
    seen = 0
    best: Allocation | None = None
    while True:
        for w in search.bounds[seen:]:
            with np.errstate(divide="ignore"):
                np.maximum(least, 1 / (ties @ w), out=least)
        seen = len(search.bounds)
        at = int(np.argmin(least))
        limit = 1.0 if best is None else best.relative_load
        if least[at] > limit * (1 + 2 * EXACT):
            return best
        counts, low = ties[at], least[at]
        least[at] = np.inf
        if best and low >= limit * (1 - EXACT) and tuple(counts) <= tuple(best.counts):
            continue  # at best a draw, and later in the order
        if not search.carries(counts):
            continue
        packed = pack(problem, counts) if problem.slices else divide(search.loading, counts)
        if packed is None:
            continue
        search.bounds.append(search.loading.fit(counts)[2])
        if best is None:
            best = packed
            continue
        proven = best.proven and packed.proven
        if packed.relative_load < limit * (1 - EXACT) or (
            packed.relative_load <= limit * (1 + EXACT) and tuple(counts) > tuple(best.counts)
        ):
            best = packed
        best = replace(best, proven=proven)


def _nothing_to_carry(problem: Problem) -> Allocation:
    counts = problem.least.astype(np.int64)
    if any(row @ counts > limit for row, limit in problem.limits):
        raise InfeasibleError("the units required already break a limit")
    return Allocation(
        counts=counts,
        share=np.zeros(problem.load.shape),
        relative_load=0.0,
        bins=None if problem.bins is None else buy(problem.bins, counts)[0],
    )
