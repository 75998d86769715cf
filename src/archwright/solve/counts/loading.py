"""Items on given counts: shares of divisible items, whole slices, and rows that both obey."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.solve.counts.problem import EXACT, Allocation, Floats, Ints, Problem
from archwright.solve.counts.solver import add_columns, add_row, highs, optimal, solve

__all__ = ["Loading", "add_shares", "cover_loads", "divide", "hold_budgets", "need", "pack"]

PACKING_WORK = 100_000
"""Branch-and-bound nodes times columns spent on the headroom of one packing of slices."""


class Loading:
    """The greatest factor θ by which divisible items fit on given counts, budgets scaled alike."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        items, types = len(problem.load), len(problem.most)
        self._solver = highs()
        self._shares = add_shares(self._solver, problem.load, math.inf)
        n = len(self._shares)
        add_columns(self._solver, np.zeros(1), np.full(1, np.inf), cost=-np.ones(1))
        for b in range(items):
            columns = np.flatnonzero(self._shares[:, 0] == b)
            values = np.append(np.ones(len(columns)), -1.0)
            add_row(self._solver, 0.0, 0.0, np.append(columns, n), values)
        type_of = problem.types[self._shares[:, 1]]
        for g in range(types):
            columns = np.flatnonzero(type_of == g)
            values = problem.load[tuple(self._shares[columns].T)]
            add_row(self._solver, -math.inf, 0.0, columns, values)
        hold_budgets(self._solver, problem, self._shares, first=0, theta=n)

    def fit(self, counts: npt.NDArray[Any]) -> tuple[float, Floats, Floats]:
        """Return θ, the shares (B, C), and the bound w: θ(y) ≤ w · y for all counts y."""
        problem, load, type_of = self._problem, self._problem.load, self._problem.types
        items, types = len(load), len(problem.most)
        for g in range(types):
            self._solver.changeRowBounds(items + g, -math.inf, float(counts[g]))
        solution = solve(self._solver)
        assert solution is not None  # θ = 0 always fits
        theta = float(solution[-1])
        share = np.zeros(load.shape)
        share[tuple(self._shares.T)] = np.maximum(solution[:-1], 0.0)
        share[:, np.asarray(counts)[type_of] <= 0] = 0.0
        if theta > 0 and (share.sum(axis=1) > 0).all():
            share /= share.sum(axis=1, keepdims=True)
            used = np.where(share > 0, share * np.where(share > 0, load, 0.0), 0.0).sum(axis=0)
            if problem.type_of is not None:
                used = np.bincount(type_of, used, types)
            theta = float((counts[used > 0] / used[used > 0]).min())  # to the last digit
        dual = np.maximum(-np.array(self._solver.getSolution().row_dual)[items:], 0.0)
        return theta, share, self.bound(dual[:types], dual[types:])

    def bound(self, u: Floats, mu: Floats) -> Floats:
        """Return w = u / N(u, μ); budgets are left out where their multipliers prove nothing."""
        least = need(self._problem, u, mu)
        if least <= EXACT * u.sum() and mu.any():  # roundoff of a multiplier that is too large
            least = need(self._problem, u)
        return u / least


def need(problem: Problem, u: Floats, mu: Floats | None = None) -> float:
    """Return N(u, μ), what all counts that carry the load must cover: u · y ≥ N.

    N = Σ_items min_c (u_type(c) load_c + Σ_r μ_r takes_rc) - Σ_r μ_r, with budgets of 1.
    """
    load = problem.load
    weighted = np.full_like(load, np.inf)
    np.multiply(load, u[problem.types], out=weighted, where=np.isfinite(load))
    if mu is None or not mu.any():
        return float(weighted.min(axis=1).sum())
    weighted += np.tensordot(mu, problem.takes, axes=1)
    return float(weighted.min(axis=1).sum() - mu.sum())


def add_shares(
    solver: Any, load: Floats, top: float, *, whole: bool = False
) -> npt.NDArray[np.intp]:
    """Add a column for each pair (item, column) that is allowed; return the pairs, (n, 2)."""
    pairs = np.argwhere(np.isfinite(load))
    add_columns(solver, np.zeros(len(pairs)), np.full(len(pairs), float(top)), whole=whole)
    return pairs


def cover_loads(
    solver: Any, problem: Problem, shares: npt.NDArray[np.intp], *, first: int
) -> None:
    """Hold the load of each type to its count; shares are columns from ``first`` on."""
    type_of = problem.types[shares[:, 1]]
    for g in range(len(problem.most)):
        columns = np.flatnonzero(type_of == g)
        values = problem.load[tuple(shares[columns].T)] / (problem.slices or 1)
        add_row(solver, -math.inf, 0.0, [*(columns + first), g], np.append(values, -1.0))


def hold_budgets(
    solver: Any,
    problem: Problem,
    shares: npt.NDArray[np.intp],
    *,
    first: int,
    theta: int | None = None,
) -> None:
    """Hold what the shares take to the budgets, times the column θ where one is given."""
    for takes, at_most in zip(problem.takes, problem.at_most, strict=True):
        values = takes[tuple(shares.T)] / (problem.slices or 1)
        columns = np.flatnonzero(values)
        row, values = [*(columns + first)], values[columns]
        if theta is None:
            add_row(solver, -math.inf, at_most, row, values)
        else:
            add_row(solver, -math.inf, 0.0, [*row, theta], np.append(values, -at_most))


def divide(loading: Loading, counts: Ints) -> Allocation:
    """Divide the items so that the largest relative load is least."""
    theta, share, _ = loading.fit(counts)
    return Allocation(counts=counts, share=share, relative_load=1 / theta)


def pack(problem: Problem, counts: Ints) -> Allocation | None:
    """Give whole slices to types so that the largest relative load is least; None if none fits."""
    assert problem.slices is not None
    type_of = problem.types
    usable = replace(problem, load=np.where(counts[type_of] > 0, problem.load, np.inf))
    if np.isinf(usable.load).all(axis=1).any():
        return None
    solver = highs()
    add_columns(solver, np.zeros(1), np.full(1, 1 + EXACT), cost=np.ones(1))
    numbers = add_shares(solver, usable.load, problem.slices, whole=True)
    for b in range(len(problem.load)):
        columns = 1 + np.flatnonzero(numbers[:, 0] == b)
        add_row(solver, problem.slices, problem.slices, columns)
    for g in np.flatnonzero(counts):
        columns = np.flatnonzero(type_of[numbers[:, 1]] == g)
        values = problem.load[tuple(numbers[columns].T)] / (problem.slices * counts[g])
        add_row(solver, -math.inf, 0.0, [*(columns + 1), 0], np.append(values, -1.0))
    hold_budgets(solver, problem, numbers, first=1)
    solver.setOptionValue("mip_max_nodes", max(100, PACKING_WORK // len(numbers)))
    solution, proven = solve(solver), optimal(solver)
    if solution is None and not proven:  # undecided: whether anything fits at all
        solver.setOptionValue("mip_max_nodes", 2**31 - 1)
        solver.changeColCost(0, 0.0)
        solution = solve(solver)
    if solution is None:
        return None
    share = np.zeros(problem.load.shape)
    share[tuple(numbers.T)] = np.rint(solution[1:]) / problem.slices
    used = np.multiply(share, usable.load, out=np.zeros_like(share), where=share > 0).sum(axis=0)
    if problem.type_of is not None:
        used = np.bincount(type_of, used, len(counts))
    relative = float((used[counts > 0] / counts[counts > 0]).max())
    return Allocation(counts=counts, share=share, relative_load=relative, proven=proven)
