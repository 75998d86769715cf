"""What is to be carried and by what, and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

__all__ = ["EXACT", "Allocation", "Bins", "Floats", "Ints", "Problem", "prepared"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EXACT = 1e-9
"""Relative tolerance of costs, loads and headroom."""


@dataclass(frozen=True, kw_only=True)
class Bins:
    """What units are bought in: bins of whole size, in pools that units do not cross.

    A unit lies in one bin of its pool.

    Attributes:
        cost: of one bin, positive, shape (O,).
        size: room of one bin, whole, shape (O,).
        pool: pool of the bin, shape (O,).
        most: bins at most, shape (O,); inf for no limit.
        unit_size: room that a unit of each type takes, whole, shape (G,).
        unit_pool: pool of the type, shape (G,).
    """

    cost: Floats
    size: Ints
    pool: Ints
    most: Floats
    unit_size: Ints
    unit_pool: Ints


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is to be carried, and by what.

    A type may carry an item in several ways: each is a column of ``load``, and what the items take
    of the budgets depends on it.

    Attributes:
        load: units that item b needs if it goes whole to column c, positive, shape (B, C); inf
            where it must not.
        cost: of one unit, positive, shape (G,); not used where there are bins.
        most: units at most, shape (G,); inf for no limit.
        least: units at least, shape (G,).
        limits: rows (coefficients of shape (G,) from 0, at most) over the counts.
        slices: None for divisible items, else equal slices of each item that go whole.
        survive_loss: any one unit may be lost and the rest still carry all items (divided freely)
            within the budgets.
        type_of: type of each column, shape (C,); by default column g is type g.
        takes: what item b takes of budget r if it goes whole to column c, from 0, shape (R, B, C).
        at_most: the budgets, from 0, shape (R,).
        bins: what the units are bought in; None where each unit is bought alone.
        most_cost: allocations that cost more are of no interest.
    """

    load: Floats
    cost: Floats
    most: Floats
    least: Floats
    limits: Sequence[tuple[Floats, float]] = ()
    slices: int | None = None
    survive_loss: bool = False
    type_of: Ints | None = None
    takes: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))
    at_most: Floats = field(default_factory=lambda: np.zeros(0))
    bins: Bins | None = None
    most_cost: float = np.inf

    @property
    def types(self) -> Ints:
        """Type of each column, shape (C,)."""
        if self.type_of is None:
            return np.arange(self.load.shape[1])
        return self.type_of


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """The answer.

    Attributes:
        counts: units by type, shape (G,). Their cost and number are proven.
        share: of each item by column, shape (B, C).
        relative_load: the largest load of a type over its units; 1 less the smallest headroom.
        proven: the headroom and the order among equals are proven too. Always so for divisible
            items; for slices unless :data:`PACKING_WORK` or :data:`MOST_TIES` ran out, or units
            are bought in bins.
        bins: bins bought, shape (O,); None where there are none. Of the bins that hold these
            units at the least cost they are the fewest, then more of the earlier.
    """

    counts: Ints
    share: Floats
    relative_load: float
    proven: bool = True
    bins: Ints | None = None


def prepared(problem: Problem) -> Problem:
    """Return the same problem with budgets of 1 and without the columns that cannot help.

    A budget of 0 forbids what takes of it; a way that loads as much as another of its type and
    takes as much is left out.
    """
    if not len(problem.at_most):
        return problem
    none = problem.at_most == 0
    load = np.where((problem.takes[none] > 0).any(axis=0), np.inf, problem.load)
    takes = problem.takes[~none] / problem.at_most[~none][:, None, None]
    types = problem.types
    for c in range(load.shape[1]):
        for other in np.flatnonzero(types == types[c]):
            if other != c:
                no_better = (load[:, other] <= load[:, c]) & np.isfinite(load[:, other])
                no_better &= (takes[:, :, other] <= takes[:, :, c]).all(axis=0)
                load[no_better, c] = np.inf
    return replace(problem, load=load, takes=takes, at_most=np.ones(len(takes)))
