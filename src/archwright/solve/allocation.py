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

MOST_TIES = 50_000
"""Vectors of equal cost and count that are listed when slices are packed."""

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
    search = _Counts(replace(problem, slices=None))
    search.hold_cheapest()
    if problem.slices is None:
        counts = search.roomiest()
        theta, share, _ = search.loading.fit(counts)
        return Allocation(counts=counts, share=share, relative_load=1 / theta)
    found = _best_packing(problem, search)
    if found is None:  # they pack on no counts that cheap or that few
        whole = _Counts(problem, bounds=search.bounds)
        whole.hold_cheapest()
        found = _best_packing(problem, whole)
    assert found is not None
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
    _cover_loads(solver, problem, shares, first=types)
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
        if theta > 0:
            share /= share.sum(axis=1, keepdims=True)
        u = np.maximum(-np.array(self._solver.getSolution().row_dual)[items:], 0.0)
        with np.errstate(invalid="ignore"):  # 0 · inf
            need = np.nan_to_num(u * self._load, nan=np.inf, posinf=np.inf).min(axis=1).sum()
        return theta, share, u / need


class _Counts:
    """The search over counts: an integer programme over y and θ under the bounds found so far.

    With slices in the problem, their numbers are columns of the programme as well.
    """

    def __init__(self, problem: Problem, *, bounds: Sequence[Floats] = ()) -> None:
        self.problem = problem
        self.bounds: list[Floats] = []
        self.loading = _Loading(problem.load)
        self.cost = self.count = 0.0
        self.known = np.zeros(0, dtype=np.int64)
        self._solver = _highs()
        types = problem.load.shape[1]
        self._types = np.arange(types)
        # as many as carry everything alone, with one to lose: more never helps
        finite = np.where(np.isinf(problem.load), 0.0, problem.load)
        enough = np.ceil(finite.sum(axis=0)) + 1
        top = np.maximum(np.minimum(problem.most, enough), problem.least)
        _add_columns(self._solver, problem.least, top, cost=problem.cost, whole=True)
        _add_columns(self._solver, np.ones(1), np.ones(1))  # θ
        if problem.survive_loss:
            _add_columns(self._solver, np.zeros(types), np.ones(types), whole=True)
            for g in range(types):
                present = [g, types + 1 + g]
                _add_row(self._solver, -math.inf, 0.0, present, [1.0, -max(top[g], 1.0)])
        if problem.slices is not None:
            first = self._solver.getNumCol()
            numbers = _add_shares(self._solver, problem.load, problem.slices, whole=True)
            _cover_loads(self._solver, problem, numbers, first=first)
            for b in range(len(problem.load)):
                columns = first + np.flatnonzero(numbers[:, 0] == b)
                _add_row(self._solver, problem.slices, problem.slices, columns)
        for row, limit in problem.limits:
            self._row(-math.inf, limit, row)
        for bound in bounds:
            self._bound(bound)
        if (top < problem.least).any() or not problem.survive_loss:
            pass

    def _row(self, low: float, high: float, values: Floats) -> None:
        _add_row(self._solver, low, high, self._types, values)

    def _bound(self, w: Floats) -> None:
        self.bounds.append(w)
        theta = len(self._types)
        _add_row(self._solver, 0.0, math.inf, [*self._types, theta], [*w, -1.0])
