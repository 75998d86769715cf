"""Allocation: how many whole units of each type carry divisible or sliced items most cheaply.

Items (buckets of requests, say) load a type by a known fraction of one unit; loads add up, and a
type's units must cover its load. The choice is exact and lexicographic: least cost, then fewest
units, then the largest smallest headroom, then more units of the earlier type.

How: one mixed-integer programme (HiGHS) gives the least cost, a second the fewest units at that
cost. All whole-number vectors with that cost and count are then listed, and compared by the
load they leave. A dual solution u ≥ 0 of the loading problem bounds every vector y at once,

    largest relative load ≥ Σ_items min_g(u_g · load_g) / (u · y),

so few vectors are solved in full. The same bounds, as cuts u · y ≥ N(u), hold the programme to
exact feasibility and to fleets that survive the loss of a unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import ArchwrightError

__all__ = ["Allocation", "NoAllocationError", "Problem", "allocate", "unserved"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EXACT = 1e-9
"""Relative tolerance of costs, loads and headroom."""

MOST_TIES = 20_000
"""Vectors of equal cost and count that are compared; beyond it the first of them are."""


class NoAllocationError(ArchwrightError):
    """No number of units allowed carries the items."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is to be carried, and by what.

    Attributes:
        load: units of type g that item b needs if it goes there whole, shape (B, G); inf where
            it must not.
        cost: of one unit, shape (G,), positive.
        most: units at most, shape (G,); inf for no limit.
        least: units at least, shape (G,).
        limits: rows (coefficients of shape (G,), at most) over the counts.
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
    """The answer: counts (G,), share of each item by type (B, G), and the largest relative load.

    ``ties_cut`` says that more than :data:`MOST_TIES` vectors had equal cost and count, so the
    last two criteria were decided among the first of them.
    """

    counts: Ints
    share: Floats
    relative_load: float
    ties_cut: bool = False


@dataclass
class _Cuts:
    """Dual solutions found so far: bounds on every vector of counts."""

    u: list[Floats] = field(default_factory=list)
    need: list[float] = field(default_factory=list)

    def add(self, u: Floats, load: Floats) -> None:
        self.u.append(u)
        self.need.append(_need(u, load))

    def bound(self, counts: Ints) -> Floats:
        """Return a lower bound of the largest relative load, for counts of shape (n, G)."""
        if not self.u:
            return np.zeros(len(counts))
        covered = counts @ np.array(self.u).T
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.array(self.need) / covered
        return np.asarray(np.where(np.isnan(ratio), 0.0, ratio).max(axis=1))


def allocate(problem: Problem) -> Allocation:
    """Return the best allocation.

    >>> allocate(Problem(load=np.array([[2.0, 0.5]]), cost=np.array([1.0, 3.0]),
    ...                  most=np.full(2, np.inf), least=np.zeros(2))).counts
    array([2, 0])

    Raises:
        NoAllocationError: nothing allowed carries the items.
    """
    cuts = _Cuts()
    counts = _cheapest(problem, cuts)
    cost = float(problem.cost @ counts)
    counts = _cheapest(problem, cuts, cost=cost, start=counts)
    return _best_of_ties(problem, cuts, cost, counts)


def _cheapest(
    problem: Problem, cuts: _Cuts, *, cost: float | None = None, start: Ints | None = None
) -> Ints:
    """Return counts of least cost; with ``cost``, of fewest units among those of that cost."""
    weights = problem.cost if cost is None else np.ones_like(problem.cost)
    losses: list[tuple[Floats, float, int]] = []  # u, need, lost type
    while True:
        counts = _solve_counts(problem, cuts, weights, cost, losses)
        if counts is None:
            if start is not None:  # rounding in the solver: the known answer stands
                return start
            raise NoAllocationError("no allowed number of units carries the items")
        violated = False
        relative, _, dual = _loading(problem, counts)
        if relative > 1 + EXACT:  # within the solver's tolerance, not within ours
            cuts.add(dual, problem.load)
            violated = True
        for lost in np.flatnonzero(counts) if problem.survive_loss else ():
            left = counts.copy()
            left[lost] -= 1
            relative, _, dual = _loading(problem, left, sliced=False)
            if relative > 1 + EXACT:
                losses.append((dual, _need(dual, problem.load), int(lost)))
                violated = True
        if not violated:
            return counts


def _best_of_ties(problem: Problem, cuts: _Cuts, cost: float, known: Ints) -> Allocation:
    """Compare all vectors of equal cost and count by headroom, then by order."""
    ties, cut = _vectors(problem, cost, int(known.sum()))
    if cut or not len(ties):
        ties = np.vstack([known[None], ties]) if len(ties) else known[None]
    best: tuple[float, Ints, Floats] | None = None
    open_ties = np.ones(len(ties), dtype=bool)
    while open_ties.any():
        bounds = np.where(open_ties, cuts.bound(ties), np.inf)
        at = int(np.argmin(bounds))
        if best is not None and bounds[at] > best[0] * (1 + EXACT) + EXACT:
            break
        open_ties[at] = False
        if best is not None and abs(bounds[at] - best[0]) <= EXACT * (1 + best[0]):
            # it can at best draw: worth solving only if it comes first in the order
            if tuple(ties[at]) <= tuple(best[1]):
                continue
        relative, share, dual = _loading(problem, ties[at])
        cuts.add(dual, problem.load)
        if relative > 1 + EXACT or not _survives(problem, ties[at]):
            continue
        if (
            best is None
            or relative < best[0] * (1 - EXACT) - EXACT
            or (abs(relative - best[0]) <= EXACT * (1 + best[0]) and tuple(ties[at]) > tuple(best[1]))
        ):
            best = (relative, ties[at], share)
    if best is None:
        raise NoAllocationError("no allowed number of units carries the items")
    return Allocation(counts=best[1], share=best[2], relative_load=best[0], ties_cut=cut)


def _survives(problem: Problem, counts: Ints) -> bool:
    if not problem.survive_loss:
        return True
    for lost in np.flatnonzero(counts):
        left = counts.copy()
        left[lost] -= 1
        if _loading(problem, left, sliced=False)[0] > 1 + EXACT:
            return False
    return True


def _need(u: Floats, load: Floats) -> float:
    """Return N(u) = Σ_items min_g u_g load_g, what every feasible y must cover: u · y ≥ N(u)."""
    with np.errstate(invalid="ignore"):
        weighted = np.where(np.isinf(load), np.inf, u * np.where(np.isinf(load), 0.0, load))
    return float(weighted.min(axis=1).sum())


def _vectors(problem: Problem, cost: float, count: int) -> tuple[Ints, bool]:
    """List the vectors of one cost and count, at most :data:`MOST_TIES`; say if cut."""
    prices, n = problem.cost, len(problem.cost)
    slack = EXACT * cost
    least = problem.least.astype(int)
    most = np.minimum(problem.most, count).astype(int)
    # cheapest and dearest price among the types still to come, for pruning
    low = np.minimum.accumulate(prices[::-1])[::-1]
    high = np.maximum.accumulate(prices[::-1])[::-1]
    found: list[list[int]] = []

    def extend(prefix: list[int], units: int, money: float) -> bool:
        g = len(prefix)
        if g == n:
            if units == 0 and abs(money) <= slack:
                found.append(list(prefix))
            return len(found) < MOST_TIES
        if units * low[g] > money + slack or units * high[g] < money - slack:
            return True
        for k in range(min(most[g], units), least[g] - 1, -1):
            if not extend([*prefix, k], units - k, money - k * prices[g]):
                return False
        return True

    whole = extend([], count, cost)
    vectors = np.array(found, dtype=np.int64).reshape(-1, n)
    for row, limit in problem.limits:
        vectors = vectors[vectors @ row <= limit * (1 + EXACT) + EXACT]
    return vectors, not whole


def _solve_counts(
    problem: Problem,
    cuts: _Cuts,
    weights: Floats,
    cost: float | None,
    losses: Sequence[tuple[Floats, float, int]],
) -> Ints | None:
    """Solve the mixed-integer programme: counts, shares, and indicators for losses."""
    items, types = problem.load.shape
    model = _Model()
    top = np.where(np.isinf(problem.most), _enough(problem), problem.most)
    counts = model.add_columns(weights, problem.least, np.maximum(top, problem.least), whole=True)
    shares = _add_loading(model, problem, sliced=problem.slices is not None)
    for g in range(types):  # the load of a type is at most its count
        rows = [(shares[b, g], problem.load[b, g]) for b in range(items) if shares[b, g] >= 0]
        scale = 1.0 if problem.slices is None else 1.0 / problem.slices
        model.add_row([(c, w * scale) for c, w in rows] + [(counts[g], -1.0)], -math.inf, 0.0)
    for u, need in zip(cuts.u, cuts.need, strict=True):
        model.add_row(list(zip(counts, u, strict=True)), need, math.inf)
    if losses:
        present = model.add_columns(np.zeros(types), np.zeros(types), np.ones(types), whole=True)
        for g in range(types):
            model.add_row([(counts[g], 1.0), (present[g], -max(top[g], 1.0))], -math.inf, 0.0)
        for u, need, lost in losses:
            row = [*zip(counts, u, strict=True), (present[lost], -float(u[lost]))]
            model.add_row(row, need, math.inf)
    for coefficients, limit in problem.limits:
        model.add_row(list(zip(counts, coefficients, strict=True)), -math.inf, limit)
    if cost is not None:
        model.add_row(
            list(zip(counts, problem.cost, strict=True)), -math.inf, cost * (1 + EXACT)
        )
    solution = model.solve()
    return None if solution is None else np.rint(solution[:types]).astype(np.int64)


def _enough(problem: Problem) -> float:
    """Return a number of units of one type that suffices for everything, losses included."""
    finite = np.where(np.isinf(problem.load), 0.0, problem.load)
    return float(np.ceil(finite.max(axis=1).sum()) + 2)


def _loading(
    problem: Problem, counts: Ints, *, sliced: bool = True
) -> tuple[float, Floats, Floats]:
    """Load the items on given counts so that the largest relative load is least.

    Returns that load (inf where an item has no place), the shares (B, G), and the dual weights u
    of the divisible problem.
    """
    load = np.where(counts > 0, problem.load, np.inf)
    items, types = load.shape
    if items == 0:
        return 0.0, np.zeros((0, types)), np.zeros(types)
    stuck = np.flatnonzero(np.isinf(load).all(axis=1))
    if len(stuck):  # the cut: some type that may carry this item must be there
        return math.inf, np.zeros((items, types)), 1.0 / problem.load[stuck[0]]
    inner = replace(problem, load=load)
    shares, relative, weights = _solve_loading(inner, counts, sliced=False)
    if sliced and problem.slices is not None:
        shares, relative, _ = _solve_loading(inner, counts, sliced=True)
    used = counts > 0
    dual = np.zeros(types)
    dual[used] = np.abs(weights)
    # a type without units gets the least weight at which no item would be cheaper there
    worth = np.where(np.isinf(load), np.inf, dual * np.where(np.isinf(load), 0, load)).min(axis=1)
    dual[~used] = (worth[:, None] / problem.load[:, ~used]).max(axis=0, initial=0.0)
    return relative, shares, dual


def _solve_loading(
    problem: Problem, counts: Ints, *, sliced: bool
) -> tuple[Floats, float, Floats]:
    items, types = problem.load.shape
    model = _Model()
    peak = int(model.add_columns(np.ones(1), np.zeros(1), np.full(1, np.inf))[0])
    shares = _add_loading(model, problem, sliced=sliced)
    scale = 1.0 / problem.slices if sliced and problem.slices else 1.0
    used = np.flatnonzero(counts > 0)
    first = model.rows
    for g in used:
        row = [(shares[b, g], problem.load[b, g] * scale) for b in range(items) if shares[b, g] >= 0]
        model.add_row([*row, (peak, -float(counts[g]))], -math.inf, 0.0)
    solution = model.solve()
    assert solution is not None  # every item has a place, and the peak is free
    table = np.zeros((items, types))
    placed = shares >= 0
    table[placed] = solution[shares[placed]] * scale
    table = np.clip(table, 0.0, None)
    table /= table.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        weighted = np.where(table > 0, table * np.where(placed, problem.load, 0.0), 0.0)
    relative = float((weighted.sum(axis=0)[used] / counts[used]).max())
    return table, relative, model.duals[first : first + len(used)]


def _add_loading(model: _Model, problem: Problem, *, sliced: bool) -> npt.NDArray[np.intp]:
    """Add the shares of items (or numbers of slices); return their columns, -1 where forbidden."""
    items, types = problem.load.shape
    allowed = np.isfinite(problem.load)
    columns = np.full((items, types), -1, dtype=np.intp)
    top = float(problem.slices) if sliced and problem.slices is not None else 1.0
    n = int(allowed.sum())
    columns[allowed] = model.add_columns(np.zeros(n), np.zeros(n), np.full(n, top), whole=sliced)
    for b in range(items):
        model.add_row([(c, 1.0) for c in columns[b] if c >= 0], top, top)
    return columns


class _Model:
    """A linear or mixed-integer programme, built row by row and handed to HiGHS at once."""

    def __init__(self) -> None:
        self._cost: list[Floats] = []
        self._low: list[Floats] = []
        self._high: list[Floats] = []
        self._whole: list[npt.NDArray[np.bool_]] = []
        self._n = 0
        self._starts = [0]
        self._index: list[int] = []
        self._value: list[float] = []
        self._row_low: list[float] = []
        self._row_high: list[float] = []
        self.duals: Floats = np.zeros(0)

    @property
    def rows(self) -> int:
        return len(self._row_low)

    def add_columns(
        self, cost: Floats, low: Floats, high: Floats, *, whole: bool = False
    ) -> npt.NDArray[np.intp]:
        n = len(cost)
        for store, values in ((self._cost, cost), (self._low, low), (self._high, high)):
            store.append(np.asarray(values, dtype=np.float64))
        self._whole.append(np.full(n, whole))
        self._n += n
        return np.arange(self._n - n, self._n)

    def add_row(self, entries: Sequence[tuple[Any, float]], low: float, high: float) -> None:
        for column, value in entries:
            self._index.append(int(column))
            self._value.append(float(value))
        self._starts.append(len(self._index))
        self._row_low.append(low)
        self._row_high.append(high)

    def solve(self) -> Floats | None:
        """Return the values of the columns at the proven optimum, or None if infeasible."""
        import highspy

        whole = np.concatenate(self._whole)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self._n, self.rows
        lp.col_cost_ = np.concatenate(self._cost)
        lp.col_lower_ = np.concatenate(self._low)
        lp.col_upper_ = np.concatenate(self._high)
        lp.row_lower_ = np.array(self._row_low)
        lp.row_upper_ = np.array(self._row_high)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.array(self._starts)
        lp.a_matrix_.index_ = np.array(self._index)
        lp.a_matrix_.value_ = np.array(self._value)
        if whole.any():
            kinds = highspy.HighsVarType
            lp.integrality_ = [kinds.kInteger if w else kinds.kContinuous for w in whole]
        solver = highspy.Highs()
        for name, setting in (
            ("output_flag", False),
            ("threads", 1),
            ("mip_rel_gap", 0.0),
            ("mip_abs_gap", 0.0),
            ("primal_feasibility_tolerance", 1e-9),
            ("mip_feasibility_tolerance", 1e-9),
            ("random_seed", 0),
        ):
            solver.setOptionValue(name, setting)
        solver.passModel(lp)
        solver.run()
        status = solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            return None
        solution = solver.getSolution()
        self.duals = np.array(solution.row_dual)
        return np.array(solution.col_value)


def unserved(problem: Problem, weight: Floats) -> Floats:
    """Return how much of each item must stay behind within the counts allowed, by weight.

    The total weight left behind is least; for explaining why nothing was found.
    """
    items, types = problem.load.shape
    model = _Model()
    top = np.where(np.isinf(problem.most), _enough(problem), problem.most)
    counts = model.add_columns(np.zeros(types), problem.least, np.maximum(top, problem.least))
    allowed = np.isfinite(problem.load)
    shares = np.full((items, types), -1, dtype=np.intp)
    n = int(allowed.sum())
    shares[allowed] = model.add_columns(np.zeros(n), np.zeros(n), np.ones(n))
    behind = model.add_columns(weight, np.zeros(items), np.ones(items))
    for b in range(items):
        row = [(c, 1.0) for c in shares[b] if c >= 0]
        model.add_row([*row, (behind[b], 1.0)], 1.0, 1.0)
    for g in range(types):
        row = [(shares[b, g], problem.load[b, g]) for b in range(items) if allowed[b, g]]
        model.add_row([*row, (counts[g], -1.0)], -math.inf, 0.0)
    for coefficients, limit in problem.limits:
        model.add_row(list(zip(counts, coefficients, strict=True)), -math.inf, limit)
    solution = model.solve()
    assert solution is not None  # leaving everything behind is always possible
    return np.asarray(solution[behind] * weight)
