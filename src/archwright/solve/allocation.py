"""Allocation: how many whole units of each type carry divisible or sliced items most cheaply.

Items (buckets of requests, say) load a type by a known fraction of one unit; loads add up, and a
type's units must cover its load. The choice is lexicographic: least cost, then fewest units, then
the largest smallest headroom, then more units of the earlier type.

How: one mixed-integer programme over counts and shares (HiGHS) gives the least cost, a second the
fewest units at that cost. For given counts y, loading the items so that the largest relative load
is least is a linear programme, and a dual solution u ≥ 0 of it bounds every vector of counts:

    largest relative load ≥ N(u) / (u · y)    with    N(u) = Σ_items min_g(u_g · load_g).

All vectors with the least cost and count are listed and compared by load, best bound first, so few
are solved in full. The same bounds, as cuts u · y ≥ N(u) (Benders 1962), hold the programmes to
exact feasibility and to fleets that survive the loss of a unit. Items cut into slices are first
tried on the counts that are best for divisible items; where they do not pack, the programme over
slices decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError

__all__ = ["Allocation", "Problem", "allocate", "unserved"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EXACT = 1e-9
"""Relative tolerance of costs, loads and headroom."""

FAR = 1e300
"""More than any price; finite, so that none of it costs nothing."""

MOST_TIES = 50_000
"""Vectors of equal cost and count that are listed when slices are packed."""

MOST_ORDERS = 1e5
"""Orders of counts that one objective tells apart."""

PACKING_WORK = 100_000
"""Branch-and-bound nodes times columns spent on the headroom of one packing of slices."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is to be carried, and by what.

    Attributes:
        load: units of type g that item b needs if it goes there whole, positive, shape (B, G);
            inf where it must not.
        cost: of one unit, positive, shape (G,).
        most: units at most, shape (G,); inf for no limit.
        least: units at least, shape (G,).
        limits: rows (coefficients of shape (G,) from 0, at most) over the counts.
        slices: None for divisible items, else equal slices of each item that go whole.
        survive_loss: any one unit may be lost and the rest still carry all items (divided freely).
    """

    load: Floats
    cost: Floats
    most: Floats
    least: Floats
    limits: Sequence[tuple[Floats, float]] = ()
    slices: int | None = None
    survive_loss: bool = False


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """The answer.

    Attributes:
        counts: units by type, shape (G,). Their cost and number are proven.
        share: of each item by type, shape (B, G).
        relative_load: the largest load of a type over its units; 1 less the smallest headroom.
        proven: the headroom and the order among equals are proven too. Always so for divisible
            items; for slices unless :data:`PACKING_WORK` or :data:`MOST_TIES` ran out.
    """

    counts: Ints
    share: Floats
    relative_load: float
    proven: bool = True


def allocate(problem: Problem) -> Allocation:
    """Return the best allocation.

    >>> allocate(Problem(load=np.array([[2.0, 0.5]]), cost=np.array([1.0, 3.0]),
    ...                  most=np.full(2, np.inf), least=np.zeros(2))).counts
    array([2, 0])

    Raises:
        InfeasibleError: no number of units that is allowed carries the items.
    """
    if not len(problem.load):
        return _nothing_to_carry(problem)
    found = _choose(problem, _Counts(replace(problem, slices=None)))
    if found is None:  # no counts that cheap hold whole slices
        found = _choose(problem, _Counts(problem))
    assert found is not None  # the counts known are among those listed
    return found


def unserved(problem: Problem, weight: Floats) -> Floats:
    """Return how much of each item must stay behind within the counts allowed, by weight.

    The total weight left behind is least, counts taken as divisible; it explains why nothing was
    found.

    >>> unserved(Problem(load=np.array([[4.0]]), cost=np.ones(1), most=np.ones(1),
    ...                  least=np.zeros(1)), np.array([8.0]))
    array([6.])
    """
    items, types = problem.load.shape
    solver = _highs()
    _add_columns(solver, problem.least, problem.most)
    shares = _add_shares(solver, problem.load, 1.0)
    behind = types + len(shares)
    _add_columns(solver, np.zeros(items), np.ones(items), cost=weight)
    for b in range(items):
        columns = types + np.flatnonzero(shares[:, 0] == b)
        _add_row(solver, 1.0, 1.0, [*columns, behind + b], np.ones(len(columns) + 1))
    _cover_loads(solver, replace(problem, slices=None), shares, first=types)
    for row, limit in problem.limits:
        _add_row(solver, -math.inf, limit, np.arange(types), row)
    solution = _solve(solver)
    if solution is None:
        raise InfeasibleError("the units required already break a limit")
    return np.asarray(solution[behind:] * weight)


class _Loading:
    """The greatest factor θ by which divisible items fit on given counts."""

    def __init__(self, load: Floats) -> None:
        items, types = load.shape
        self._load = load
        self._solver = _highs()
        self._shares = _add_shares(self._solver, load, math.inf)
        n = len(self._shares)
        _add_columns(self._solver, np.zeros(1), np.full(1, np.inf), cost=-np.ones(1))
        for b in range(items):
            columns = np.flatnonzero(self._shares[:, 0] == b)
            values = np.append(np.ones(len(columns)), -1.0)
            _add_row(self._solver, 0.0, 0.0, np.append(columns, n), values)
        for g in range(types):
            columns = np.flatnonzero(self._shares[:, 1] == g)
            _add_row(self._solver, -math.inf, 0.0, columns, load[self._shares[columns, 0], g])

    def fit(self, counts: npt.NDArray[Any]) -> tuple[float, Floats, Floats]:
        """Return θ, the shares (B, G), and the bound w: θ(y) ≤ w · y for all counts y."""
        items, types = self._load.shape
        for g in range(types):
            self._solver.changeRowBounds(items + g, -math.inf, float(counts[g]))
        solution = _solve(self._solver)
        assert solution is not None  # θ = 0 always fits
        theta = float(solution[-1])
        share = np.zeros((items, types))
        share[tuple(self._shares.T)] = np.maximum(solution[:-1], 0.0)
        share[:, np.asarray(counts) <= 0] = 0.0
        if theta > 0 and (share.sum(axis=1) > 0).all():
            share /= share.sum(axis=1, keepdims=True)
            load = np.where(share > 0, share * np.where(share > 0, self._load, 0.0), 0.0).sum(
                axis=0
            )
            theta = float((counts[load > 0] / load[load > 0]).min())  # to the last digit
        u = np.maximum(-np.array(self._solver.getSolution().row_dual)[items:], 0.0)
        return theta, share, u / _need(u, self._load)


class _Counts:
    """The search over counts: an integer programme over y, θ and shares, with the bounds on θ.

    Shares are divisible, or numbers of slices where the problem has slices.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.loading = _Loading(problem.load)
        self.bounds: list[Floats] = []
        self._solver = _highs()
        types = problem.load.shape[1]
        self._types = np.arange(types)
        # as many as carry everything they may, and one to lose: more never helps
        finite = np.where(np.isinf(problem.load), 0.0, problem.load)
        top = np.minimum(problem.most, np.ceil(finite.sum(axis=0)) + 1)
        self._top = np.maximum(top, problem.least)
        _add_columns(self._solver, problem.least, self._top, whole=True)
        _add_columns(self._solver, np.ones(1), np.ones(1))  # θ
        if problem.survive_loss:
            _add_columns(self._solver, np.zeros(types), np.ones(types), whole=True)
            for g in range(types):
                present = np.array([1.0, -max(self._top[g], 1.0)])
                _add_row(self._solver, -math.inf, 0.0, [g, types + 1 + g], present)
        first = self._solver.getNumCol()
        most = math.inf if problem.slices is None else problem.slices
        shares = _add_shares(self._solver, problem.load, most, whole=problem.slices is not None)
        for b in range(len(problem.load)):
            columns = first + np.flatnonzero(shares[:, 0] == b)
            if problem.slices is None:  # Σ shares = θ
                values = np.append(np.ones(len(columns)), -1.0)
                _add_row(self._solver, 0.0, 0.0, [*columns, types], values)
            else:
                _add_row(self._solver, problem.slices, problem.slices, columns)
        _cover_loads(self._solver, problem, shares, first=first)
        for row, limit in problem.limits:
            _add_row(self._solver, -math.inf, limit, self._types, row)
        self._bound(problem.cost / _need(problem.cost, problem.load))

    def cheapest(self) -> Ints:
        """Return counts of the least cost, and hold the search to that cost."""
        counts = self._best(self.problem.cost)
        if counts is None:
            raise InfeasibleError("no number of units that is allowed carries the items")
        price = self.problem.cost / (self.problem.cost @ counts)
        _add_row(self._solver, -math.inf, 1 + EXACT, self._types, price)
        for g in self._types:  # bounds near the optimum, to tell its equals apart
            if counts[g]:
                self._bound(self.loading.fit(counts - (self._types == g))[2])
        return counts

    def fewest(self, known: Ints) -> Ints:
        """Return counts of the fewest units, and hold the search to that number."""
        counts = self._best(np.ones(len(known)))
        counts = known if counts is None else counts
        units = float(counts.sum())
        _add_row(self._solver, units, units, self._types)
        return counts

    def roomiest(self, known: Ints) -> Ints:
        """Return the counts of the greatest θ; among equals, more of the earlier type."""
        types = len(known)
        self._bound(self.loading.fit(known)[2])
        self._solver.changeColBounds(types, 1.0, math.inf)
        found = self._best(np.append(np.zeros(types), -1.0))
        counts = known if found is None else found
        theta = self.loading.fit(counts)[0]
        self._solver.changeColBounds(types, *[theta * (1 - EXACT)] * 2)
        most = np.minimum(self._top, counts.sum())
        start = 0
        while start < types:  # as many types at once as whole numbers of one objective can order
            radix = np.cumprod(most[start:] + 1)
            stop = start + max(1, int((radix <= MOST_ORDERS).sum()))
            weights = np.zeros(types + 1)
            weights[start:stop] = -(radix[stop - start - 1] / radix[: stop - start])
            found = self._best(weights)
            counts = counts if found is None else found
            for g in range(start, stop):
                self._solver.changeColBounds(g, *[float(counts[g])] * 2)
            start = stop
        return counts

    def carries(self, counts: Ints, theta: float = 1.0) -> bool:
        """Check that divisible items fit θ times, and after a loss where that is asked.

        The bounds that refute it stay.
        """
        fits, _, w = self.loading.fit(counts)
        carried = fits >= theta * (1 - 2 * EXACT)
        if not carried:
            self._bound(w)
        for lost in np.flatnonzero(counts) if self.problem.survive_loss else ():
            fits, _, w = self.loading.fit(counts - (self._types == lost))
            if fits < 1 - 2 * EXACT:
                carried = False
                columns = [*self._types, len(counts) + 1 + lost]
                _add_row(self._solver, 1.0, math.inf, columns, np.append(w, -w[lost]))
        return carried

    def _best(self, weights: Floats) -> Ints | None:
        """Return the counts that minimize a weighting of y (and θ), or None."""
        n = self._solver.getNumCol()
        cost = np.append(weights, np.zeros(n - len(weights)))
        self._solver.changeColsCost(n, np.arange(n, dtype=np.int32), cost)
        before: tuple[Any, float] | None = None
        while (solution := _solve(self._solver)) is not None:
            counts = np.rint(solution[self._types]).astype(np.int64)
            now = (counts.tolist(), float(solution[len(counts)]))
            if self.carries(counts, now[1]) or now == before:  # refuted by the last digit alone
                return counts
            before = now
        return None

    def _bound(self, w: Floats) -> None:
        self.bounds.append(w)
        columns = [*self._types, len(self._types)]
        _add_row(self._solver, 0.0, math.inf, columns, np.append(w, -1.0))


def _choose(problem: Problem, search: _Counts) -> Allocation | None:
    """Choose among all counts of the least cost of a search; None where slices never pack."""
    known = search.cheapest()
    ties = _ties(problem, search, known)
    if ties is None:
        known = search.fewest(known)
        ties = _ties(problem, search, known, units=int(known.sum()))
    proven = ties is not None
    if ties is None:
        ties = search.roomiest(known)[None]
    for units in np.unique(ties.sum(axis=1)):
        found = _roomiest_listed(problem, search, ties[ties.sum(axis=1) == units])
        if found is not None:
            proven |= problem.slices is None
            return replace(found, proven=found.proven and proven)
    return None


def _roomiest_listed(problem: Problem, search: _Counts, ties: Ints) -> Allocation | None:
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
        packed = _pack(problem, counts) if problem.slices else _divide(search.loading, counts)
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


def _ties(
    problem: Problem, search: _Counts, known: Ints, *, units: int | None = None
) -> Ints | None:
    """List the counts as dear as those known, of a number of units; None beyond MOST_TIES.

    Type by type, the dearest first, so that the many ways to spend little are only counted where
    the rest of the money leaves few. A bound caps a type by what the money left could add at best.
    """
    order = np.argsort(-problem.cost, kind="stable")
    prices, most, least = (x[order] for x in (problem.cost, problem.most, problem.least))
    money = float(problem.cost @ known)
    slack = EXACT * money
    bounds = np.array(search.bounds)[:, order]
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
        if ways.sum() > 10 * MOST_TIES:
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
        if len(found) > MOST_TIES:
            return None
    named = np.empty_like(found)
    named[:, order] = found
    named = named[np.lexsort(named.T[::-1])]
    for row, limit in problem.limits:
        named = named[named @ row <= limit * (1 + EXACT)]
    return named


def _divide(loading: _Loading, counts: Ints) -> Allocation:
    theta, share, _ = loading.fit(counts)
    return Allocation(counts=counts, share=share, relative_load=1 / theta)


def _pack(problem: Problem, counts: Ints) -> Allocation | None:
    """Give whole slices to types so that the largest relative load is least; None if none fits."""
    assert problem.slices is not None
    usable = replace(problem, load=np.where(counts > 0, problem.load, np.inf))
    if np.isinf(usable.load).all(axis=1).any():
        return None
    solver = _highs()
    _add_columns(solver, np.zeros(1), np.full(1, 1 + EXACT), cost=np.ones(1))
    numbers = _add_shares(solver, usable.load, problem.slices, whole=True)
    for b in range(len(problem.load)):
        columns = 1 + np.flatnonzero(numbers[:, 0] == b)
        _add_row(solver, problem.slices, problem.slices, columns)
    for g in np.flatnonzero(counts):
        columns = np.flatnonzero(numbers[:, 1] == g)
        values = problem.load[numbers[columns, 0], g] / (problem.slices * counts[g])
        _add_row(solver, -math.inf, 0.0, [*(columns + 1), 0], np.append(values, -1.0))
    solver.setOptionValue("mip_max_nodes", max(100, PACKING_WORK // len(numbers)))
    solution, proven = _solve(solver), _optimal(solver)
    if solution is None and not proven:  # undecided: whether anything fits at all
        solver.setOptionValue("mip_max_nodes", 2**31 - 1)
        solver.changeColCost(0, 0.0)
        solution = _solve(solver)
    if solution is None:
        return None
    share = np.zeros(problem.load.shape)
    share[tuple(numbers.T)] = np.rint(solution[1:]) / problem.slices
    used = np.multiply(share, usable.load, out=np.zeros_like(share), where=share > 0).sum(axis=0)[
        counts > 0
    ]
    relative = float((used / counts[counts > 0]).max())
    return Allocation(counts=counts, share=share, relative_load=relative, proven=proven)


def _nothing_to_carry(problem: Problem) -> Allocation:
    counts = problem.least.astype(np.int64)
    if any(row @ counts > limit for row, limit in problem.limits):
        raise InfeasibleError("the units required already break a limit")
    return Allocation(counts=counts, share=np.zeros(problem.load.shape), relative_load=0.0)


def _need(u: Floats, load: Floats) -> float:
    """Return N(u) = Σ_items min_g u_g load_g, what all counts that carry the load must cover."""
    weighted = np.full_like(load, np.inf)
    np.multiply(load, u, out=weighted, where=np.isfinite(load))
    return float(weighted.min(axis=1).sum())


def _add_shares(
    solver: Any, load: Floats, top: float, *, whole: bool = False
) -> npt.NDArray[np.intp]:
    """Add a column for each pair (item, type) that is allowed; return the pairs, shape (n, 2)."""
    pairs = np.argwhere(np.isfinite(load))
    _add_columns(solver, np.zeros(len(pairs)), np.full(len(pairs), float(top)), whole=whole)
    return pairs


def _cover_loads(
    solver: Any, problem: Problem, shares: npt.NDArray[np.intp], *, first: int
) -> None:
    """Hold the load of each type to its count; shares are columns from ``first`` on."""
    for g in range(problem.load.shape[1]):
        columns = np.flatnonzero(shares[:, 1] == g)
        values = problem.load[shares[columns, 0], g] / (problem.slices or 1)
        _add_row(solver, -math.inf, 0.0, [*(columns + first), g], np.append(values, -1.0))


def _highs() -> Any:
    import highspy

    class Quiet(highspy.Highs):  # type: ignore[misc]
        """The solver without its callbacks, whose set-up prints a banner to standard output."""

        def __init__(self) -> None:
            super(highspy.Highs, self).__init__()

    solver = Quiet()
    for name, setting in (
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", 0),
        ("mip_rel_gap", 0.0),
        ("mip_abs_gap", 0.0),
        ("primal_feasibility_tolerance", EXACT),
        ("dual_feasibility_tolerance", EXACT),
        ("mip_feasibility_tolerance", EXACT),
    ):
        solver.setOptionValue(name, setting)
    return solver


def _add_columns(
    solver: Any, low: Floats, high: Floats, *, cost: Floats | None = None, whole: bool = False
) -> None:
    n, first = len(low), solver.getNumCol()
    none: Ints = np.zeros(0, dtype=np.int32)
    solver.addCols(n, np.zeros(n) if cost is None else cost, low, high, 0, none, none, np.zeros(0))
    if whole:
        columns = np.arange(first, first + n, dtype=np.int32)
        solver.changeColsIntegrality(n, columns, np.ones(n, dtype=np.uint8))


def _add_row(
    solver: Any, low: float, high: float, columns: Any, values: Floats | None = None
) -> None:
    at = np.asarray(columns, dtype=np.int32)
    solver.addRow(low, high, len(at), at, np.ones(len(at)) if values is None else values)


def _optimal(solver: Any) -> bool:
    import highspy

    status = solver.getModelStatus()
    return bool(
        status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible)
    )


def _solve(solver: Any) -> Floats | None:
    """Return the best values of the columns, or None where there are none."""
    import highspy

    solver.run()
    if solver.getModelStatus() == highspy.HighsModelStatus.kUnknown:
        solver.clearSolver()  # a start from the last basis may end in roundoff; one anew does not
        solver.run()
    solution = solver.getSolution()
    # an optimum may break a row by a few of its last digits; callers measure what they use
    feasible = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    if not solution.value_valid:
        return None
    if not feasible and solver.getInfo().primal_solution_status != 2:
        return None
    return np.array(solution.col_value)
