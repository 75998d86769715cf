"""The search over counts: an integer programme, held to exact feasibility by cuts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from archwright.errors import InfeasibleError
from archwright.solve.counts.bins import add_bins, narrowed
from archwright.solve.counts.loading import (
    Loading,
    add_shares,
    cover_loads,
    hold_budgets,
    need,
)
from archwright.solve.counts.problem import EXACT, Floats, Ints, Problem
from archwright.solve.counts.solver import add_columns, add_row, highs, solve

__all__ = ["Counts"]

MOST_ORDERS = 1e5
"""Orders of counts that one objective tells apart."""


class Counts:
    """The search over counts: an integer programme over y, θ and shares, with the bounds on θ.

    Shares are divisible, or numbers of slices where the problem has slices. The cost is that of
    the counts, or of bins where units are bought in bins.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.loading = Loading(problem)
        self.bounds: list[Floats] = []
        self._solver = highs()
        if problem.bins is not None or problem.type_of is not None:
            # a restart solves the root anew, which is most of the time with many columns
            self._solver.setOptionValue("mip_allow_restart", False)
        types = len(problem.most)
        self._types = np.arange(types)
        self._top = _top(problem)
        add_columns(self._solver, problem.least, self._top, whole=True)
        add_columns(self._solver, np.ones(1), np.ones(1))  # θ
        if problem.survive_loss:
            add_columns(self._solver, np.zeros(types), np.ones(types), whole=True)
            for g in range(types):
                present = np.array([1.0, -max(self._top[g], 1.0)])
                add_row(self._solver, -math.inf, 0.0, [g, types + 1 + g], present)
        first = self._solver.getNumCol()
        most = math.inf if problem.slices is None else problem.slices
        shares = add_shares(self._solver, problem.load, most, whole=problem.slices is not None)
        for b in range(len(problem.load)):
            columns = first + np.flatnonzero(shares[:, 0] == b)
            if problem.slices is None:  # Σ shares = θ
                values = np.append(np.ones(len(columns)), -1.0)
                add_row(self._solver, 0.0, 0.0, [*columns, types], values)
            else:
                add_row(self._solver, problem.slices, problem.slices, columns)
        cover_loads(self._solver, problem, shares, first=first)
        scaled = types if problem.slices is None else None
        hold_budgets(self._solver, problem, shares, first=first, theta=scaled)
        for row, limit in problem.limits:
            add_row(self._solver, -math.inf, limit, self._types, row)
        self._priced, self._prices = self._types, problem.cost
        if problem.bins is not None:
            bins = narrowed(problem.bins)
            self._priced = add_bins(self._solver, bins, self._top > 0)
            self._prices = bins.cost
        if math.isfinite(problem.most_cost):
            price = self._prices / problem.most_cost
            add_row(self._solver, -math.inf, 1 + EXACT, self._priced, price)
        self._bound(problem.cost / need(problem, problem.cost))

    def cheapest(self) -> Ints:
        """Return counts of the least cost, and hold the search to that cost."""
        weights = np.zeros(self._solver.getNumCol())
        weights[self._priced] = self._prices
        counts = self._best(weights)
        if counts is None:
            raise InfeasibleError("no number of units that is allowed carries the items")
        self.bill = float(self._prices @ self._bought)
        price = self._prices / self.bill
        add_row(self._solver, -math.inf, 1 + EXACT, self._priced, price)
        for g in self._types:  # bounds near the optimum, to tell its equals apart
            if counts[g]:
                self._bound(self.loading.fit(counts - (self._types == g))[2])
        return counts

    def fewest(self, known: Ints) -> Ints:
        """Return counts of the fewest units, and hold the search to that number."""
        counts = self._best(np.ones(len(known)))
        counts = known if counts is None else counts
        units = float(counts.sum())
        add_row(self._solver, units, units, self._types)
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
                add_row(self._solver, 1.0, math.inf, columns, np.append(w, -w[lost]))
        return carried

    def _best(self, weights: Floats) -> Ints | None:
        """Return the counts that minimize a weighting of the columns, or None."""
        n = self._solver.getNumCol()
        cost = np.append(weights, np.zeros(n - len(weights)))
        self._solver.changeColsCost(n, np.arange(n, dtype=np.int32), cost)
        before: tuple[Any, float] | None = None
        while (solution := solve(self._solver)) is not None:
            counts = np.rint(solution[self._types]).astype(np.int64)
            now = (counts.tolist(), float(solution[len(counts)]))
            if self.carries(counts, now[1]) or now == before:  # refuted by the last digit alone
                self._bought = np.rint(solution[self._priced]).astype(np.int64)
                return counts
            before = now
        return None

    def _bound(self, w: Floats) -> None:
        self.bounds.append(w)
        columns = [*self._types, len(self._types)]
        add_row(self._solver, 0.0, math.inf, columns, np.append(w, -1.0))


def _top(problem: Problem) -> Floats:
    """Return counts of which more never help: to carry everything they may, and one to lose."""
    finite = np.where(np.isinf(problem.load), 0.0, problem.load)
    if problem.type_of is not None:  # the way that needs most
        finite = np.stack(
            [
                finite[:, problem.type_of == g].max(axis=1, initial=0.0)
                for g in range(len(problem.most))
            ],
            axis=1,
        )
    top = np.minimum(problem.most, np.ceil(finite.sum(axis=0)) + 1)
    return np.asarray(np.maximum(top, problem.least))
