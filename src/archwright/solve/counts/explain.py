"""Why nothing was found: what must stay behind, and what a budget would have to be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError
from archwright.solve.counts.bins import add_bins, narrowed
from archwright.solve.counts.loading import add_shares, cover_loads, hold_budgets
from archwright.solve.counts.problem import Floats, Problem
from archwright.solve.counts.solver import add_columns, add_row, highs, solve

__all__ = ["least_taken", "unserved"]


def unserved(problem: Problem, weight: Floats) -> Floats:
    """Return how much of each item must stay behind within the counts allowed, by weight.

    The total weight left behind is least, counts taken as divisible unless units are bought in
    bins, budgets and slices left aside; it explains why nothing was found.

    >>> unserved(Problem(load=np.array([[4.0]]), cost=np.ones(1), most=np.ones(1),
    ...                  least=np.zeros(1)), np.array([8.0]))
    array([6.])
    """
    items, types = len(problem.load), len(problem.most)
    solver = highs()
    shares = _add_counts_and_shares(solver, problem)
    behind = types + len(shares)
    add_columns(solver, np.zeros(items), np.ones(items), cost=weight)
    for b in range(items):
        columns = types + np.flatnonzero(shares[:, 0] == b)
        add_row(solver, 1.0, 1.0, [*columns, behind + b], np.ones(len(columns) + 1))
    _hold_counts(solver, problem, shares)
    solution = solve(solver)
    if solution is None:
        raise InfeasibleError("the units required already break a limit")
    return np.asarray(solution[behind : behind + items] * weight)


def least_taken(problem: Problem, budget: int, *, counts: bool = True) -> Floats | None:
    """Return what each item takes of a budget at least, shape (B,), while all are carried.

    The total is least, the other budgets hold, items are divisible. None where the other budgets
    or the counts allow nothing.

    Args:
        problem: what is to be carried; its slices and losses are left aside.
        budget: index of the budget.
        counts: hold the counts to what is allowed, in whole units; else there are units enough.
    """
    items, types = len(problem.load), len(problem.most)
    others = np.arange(len(problem.at_most)) != budget
    solver = highs()
    shares = _add_counts_and_shares(solver, problem, whole=counts)
    takes = problem.takes[budget][tuple(shares.T)]
    columns = np.arange(types, types + len(shares), dtype=np.int32)
    solver.changeColsCost(len(shares), columns, takes)
    for b in range(items):
        add_row(solver, 1.0, 1.0, types + np.flatnonzero(shares[:, 0] == b))
    held = replace(
        problem, slices=None, takes=problem.takes[others], at_most=problem.at_most[others]
    )
    hold_budgets(solver, held, shares, first=types)
    if counts:
        _hold_counts(solver, problem, shares)
    solution = solve(solver)
    if solution is None:
        return None
    taken = solution[types : types + len(shares)] * takes
    return np.asarray(np.bincount(shares[:, 0], taken, items), dtype=np.float64)


def _add_counts_and_shares(
    solver: Any, problem: Problem, *, whole: bool = False
) -> npt.NDArray[np.intp]:
    whole |= problem.bins is not None
    add_columns(solver, problem.least, problem.most, whole=whole)
    return add_shares(solver, problem.load, 1.0)


def _hold_counts(solver: Any, problem: Problem, shares: npt.NDArray[np.intp]) -> None:
    types = len(problem.most)
    cover_loads(solver, replace(problem, slices=None), shares, first=types)
    for row, limit in problem.limits:
        add_row(solver, -math.inf, limit, np.arange(types), row)
    if problem.bins is not None:
        add_bins(solver, narrowed(problem.bins), problem.most > 0)
