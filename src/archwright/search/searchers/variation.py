"""Crossover and mutation of designs, an operator for each kind of parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.space import Choice, ParameterSpace, Permutation

__all__ = ["Variation"]

Floats = npt.NDArray[np.float64]


class Variation:
    """Children of pairs of points of the unit cube.

    Numbers are crossed by simulated binary crossover and mutated by the polynomial mutation, both
    bounded; what has few values moves by one of them at least. A choice comes from either parent
    and mutates to any other value. A permutation keeps a part of one parent and takes the rest in
    the order of the other, and mutates by turning a part round.

    >>> from archwright.search import Choice, ParameterSpace, Real
    >>> space = ParameterSpace({"a": Real(0.0, 1.0), "b": Choice(["x", "y", "z"])})
    >>> mate = Variation(space, crossover=0.9, spread=15.0, mutation=None, jump=20.0)
    >>> parents = np.full((4, 2), 0.5)
    >>> mate(np.random.default_rng(0), parents, parents).shape
    (4, 2)

    Args:
        cube: a space with a unit cube.
        crossover: chance that a pair mates.
        spread: distribution index of the crossover; larger stays nearer to the parents.
        mutation: chance of each parameter to mutate; None for one over their number.
        jump: distribution index of the mutation.

    Source: Deb and Agrawal: Simulated Binary Crossover for Continuous Search Space, Complex
    Systems 1995; Deb: Multi-Objective Optimization using Evolutionary Algorithms, Wiley 2001;
    order crossover: Davis, IJCAI 1985.
    """

    def __init__(
        self, cube: Any, *, crossover: float, spread: float, mutation: float | None, jump: float
    ) -> None:
        self._crossover, self._spread, self._jump = crossover, spread, jump
        width = int(cube.width)
        self._count = np.full(width, np.inf)  # values of a coordinate
        self._choice = np.zeros(width, dtype=bool)
        self._orders: list[slice] = []
        items = list(cube.parameters.values()) if isinstance(cube, ParameterSpace) else []
        at = 0
        for item in items:
            part = slice(at, at + item.width)
            at = part.stop
            if isinstance(item, Permutation):
                self._orders.append(part)
            else:
                self._count[part] = item.size
                self._choice[part] = isinstance(item, Choice)
        self._plain = np.ones(width, dtype=bool)
        for part in self._orders:
            self._plain[part] = False
        self._number = self._plain & ~self._choice & (self._count > 1)
        self._few = self._number & np.isfinite(self._count)
        self._chosen = np.flatnonzero(self._choice & (self._count > 1))
        parts = int(self._number.sum()) + len(self._chosen) + len(self._orders)
        self._mutation = 1.0 / max(parts, 1) if mutation is None else mutation

    def __call__(self, rng: np.random.Generator, first: Floats, second: Floats) -> Floats:
        """Return a child of each pair, nearer to the first; shape (n, width)."""
        mates = rng.random(len(first)) < self._crossover
        child = self._cross(rng, first, second, mates)
        self._mutate(rng, child)
        for part in self._orders:
            self._order(rng, child[:, part], first[:, part], second[:, part], mates)
        return child

    def _cross(
        self, rng: np.random.Generator, a: Floats, b: Floats, mates: npt.NDArray[np.bool_]
    ) -> Floats:
        """Simulated binary crossover of each coordinate with chance one half."""
        n, width = a.shape
        drawn = rng.random((3, n, width))
        crossed = (drawn[0] < 0.5) & mates[:, None]
        child = a.copy()
        number = crossed & self._number & (np.abs(a - b) > 1e-14)
        rows = np.nonzero(number)
        if len(rows[0]):
            x, y = a[rows], b[rows]
            low, high = np.minimum(x, y), np.maximum(x, y)
            gap, power = high - low, self._spread + 1.0
            # the lower of the two children has the room below the lower parent, the upper above
            upper = drawn[1][rows] < 0.5
            room = np.where(upper, 1.0 - high, low)
            u = drawn[2][rows]
            alpha = 2.0 - (1.0 + 2.0 * room / gap) ** -power
            inside = u <= 1.0 / alpha
            beta = np.where(inside, u * alpha, 1.0 / np.maximum(2.0 - u * alpha, 1e-300))
            beta **= 1.0 / power
            middle = 0.5 * (low + high)
            child[rows] = middle + np.where(upper, 0.5, -0.5) * beta * gap
        if len(self._chosen):
            swapped = crossed[:, self._chosen]
            child[:, self._chosen] = np.where(swapped, b[:, self._chosen], a[:, self._chosen])
        return np.clip(child, 0.0, 1.0)

    def _mutate(self, rng: np.random.Generator, child: Floats) -> None:
        n, width = child.shape
        rows, columns = np.nonzero((rng.random((n, width)) < self._mutation) & self._number)
        if len(rows):
            x, u, power = child[rows, columns], rng.random(len(rows)), self._jump + 1.0
            below = u < 0.5
            room = np.where(below, x, 1.0 - x)
            part = np.where(below, 2.0 * u, 2.0 * (1.0 - u))
            far = (part + (1.0 - part) * (1.0 - room) ** power) ** (1.0 / power)
            moved = np.clip(x + np.where(below, far - 1.0, 1.0 - far), 0.0, 1.0)
            few = np.flatnonzero(self._few[columns])
            if len(few):
                count = self._count[columns[few]]
                here = np.minimum(np.floor(x[few] * count), count - 1)
                there = np.minimum(np.floor(moved[few] * count), count - 1)
                step = np.where(below[few], -1.0, 1.0)
                step = np.where((here + step < 0) | (here + step >= count), -step, step)
                there = np.where(here == there, here + step, there)
                moved[few] = (there + 0.5) / count
            child[rows, columns] = moved
        if len(self._chosen):
            hit = rng.random((n, len(self._chosen))) < self._mutation
            rows, at = np.nonzero(hit)
            columns = self._chosen[at]
            count = self._count[columns]
            here = np.minimum(np.floor(child[rows, columns] * count), count - 1)
            other = here + 1.0 + np.floor(rng.random(len(rows)) * (count - 1.0))
            child[rows, columns] = (other % count + 0.5) / count

    def _order(
        self,
        rng: np.random.Generator,
        child: Floats,
        first: Floats,
        second: Floats,
        mates: npt.NDArray[np.bool_],
    ) -> None:
        """Cross and mutate one permutation, given by the coordinates of its things."""
        n, length = child.shape
        cuts = np.sort(rng.integers(0, length + 1, size=(n, 2)), axis=1)
        turned = np.sort(rng.integers(0, length + 1, size=(n, 2)), axis=1)
        mutated = np.asarray(rng.random(n) < self._mutation)
        place = np.arange(length)
        for i in range(n):
            order = np.argsort(first[i], kind="stable")
            if mates[i]:
                kept = order[cuts[i, 0] : cuts[i, 1]]
                other = np.argsort(second[i], kind="stable")
                rest = np.setdiff1d(other, kept, assume_unique=True)
                order = np.concatenate([rest[: cuts[i, 0]], kept, rest[cuts[i, 0] :]])
            if mutated[i]:
                a, b = turned[i]
                order = np.concatenate([order[:a], order[a:b][::-1], order[b:]])
            child[i, order] = (place + 0.5) / length
