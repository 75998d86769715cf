"""Small random changes of designs, a whole batch at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.searchers.limits import number_of_values
from archwright.search.space import (
    Choice,
    Designs,
    Integer,
    ParameterSpace,
    Permutation,
    Real,
    Space,
)

__all__ = ["Steps"]

_CHOICE, _ORDERED, _REAL, _LOG, _ORDER = range(5)


class Steps:
    """Random neighbors: one parameter of each design takes another value.

    A choice takes any other value, a permutation swaps two adjacent places, and an ordered
    parameter moves by a step whose size is normal with the deviation ``scale``, as a share of its
    range, but at least one value. What the step activates gets a random value. A space that is no
    :class:`ParameterSpace` gives its ``neighbors`` instead, one design at a time.

    >>> from archwright.search import Choice, Integer
    >>> space = ParameterSpace({"a": Choice(["x", "y"]), "b": Integer(1, 9)})
    >>> rng = np.random.default_rng(0)
    >>> designs = space.sample(rng, 50)
    >>> changed = Steps(space)(rng, designs).codes != designs.codes
    >>> set(changed.sum(axis=1).tolist())
    {1}

    Args:
        space: where the designs live.
        scale: typical size of a step of an ordered parameter.
    """

    def __init__(self, space: Space, *, scale: float = 0.1) -> None:
        self._space = space
        self._scale = scale
        if not isinstance(space, ParameterSpace):
            return
        items = list(space.parameters.values())
        widths = np.array([item.width for item in items])
        self._first = np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(np.intp)
        self._movable = np.array([item.size > 1 for item in items])
        self._count = np.array([number_of_values(item) for item in items])
        self._kind = np.array([_kind(item) for item in items])
        self._kinds = set(self._kind.tolist())
        self._items = items

    def __call__(self, rng: np.random.Generator, designs: Any) -> Any:
        """Return a neighbor of each design; the design itself where it has none."""
        if not isinstance(self._space, ParameterSpace):
            return self._any_space(rng, designs)
        unit = self._space.encode(designs)
        n = len(unit)
        inactive = np.isnan(designs.codes)
        if inactive.any():
            unit[inactive] = rng.random(int(inactive.sum()))
        chosen = self._choose(rng, inactive, n)
        at = self._first[chosen]
        kind = np.where(self._movable[chosen], self._kind[chosen], -1)
        for which in self._kinds:
            rows = np.flatnonzero(kind == which)
            if len(rows):
                self._move(which, rng, unit, rows, at[rows], chosen[rows], designs)
        return self._space.decode(unit)

    def _choose(
        self, rng: np.random.Generator, inactive: npt.NDArray[np.bool_], n: int
    ) -> npt.NDArray[np.intp]:
        """Choose an active parameter that has another value, for each design."""
        if self._movable.all() and not inactive.any():
            return rng.integers(len(self._first), size=n)
        weight = rng.random((n, len(self._first))) + 1.0
        weight *= self._movable & ~inactive[:, self._first]
        return np.asarray(weight.argmax(axis=1))

    def _move(
        self,
        which: int,
        rng: np.random.Generator,
        unit: npt.NDArray[np.float64],
        rows: npt.NDArray[np.intp],
        at: npt.NDArray[np.intp],
        chosen: npt.NDArray[np.intp],
        designs: Designs,
    ) -> None:
        n, count = len(rows), self._count[chosen]
        here = unit[rows, at]
        if which == _CHOICE:
            index = np.floor(here * count)
            other = (index + 1 + np.floor(rng.random(n) * (count - 1))) % count
            unit[rows, at] = (other + 0.5) / count
        elif which == _ORDERED:
            index = np.floor(here * count)
            unit[rows, at] = (self._shift(rng, index, count) + 0.5) / count
        elif which == _REAL:
            moved = here + rng.normal(scale=self._scale, size=n)
            unit[rows, at] = np.clip(np.abs(1.0 - np.abs(1.0 - moved)), 0.0, 1.0)  # reflect
        elif which == _LOG:
            moved = np.clip(here + rng.normal(scale=self._scale, size=n), 0.0, 1.0)
            up = rng.random(n) < 0.5
            for i, parameter in enumerate(chosen):
                unit[rows[i], at[i]] = _log_step(
                    self._items[parameter], designs.codes[rows[i], at[i]], moved[i], up[i]
                )
        else:
            length = np.array([self._items[p].width for p in chosen])
            left = at + np.floor(rng.random(n) * (length - 1)).astype(np.intp)
            for row, column, first, width in zip(rows, left, at, length, strict=True):
                order = np.argsort(unit[row, first : first + width], kind="stable")
                a, b = first + order[column - first : column - first + 2]
                unit[row, [a, b]] = unit[row, [b, a]]

    def _shift(
        self,
        rng: np.random.Generator,
        index: npt.NDArray[np.float64],
        count: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Move indices by at least one, staying inside by turning round at the ends."""
        drawn = rng.normal(scale=self._scale, size=len(index)) * count
        step = np.minimum(np.maximum(np.rint(np.abs(drawn)), 1.0), count - 1)
        signed = np.where(drawn < 0, -step, step)
        outside = (index + signed < 0) | (index + signed >= count)
        moved = index + np.where(outside, -signed, signed)
        nearest = np.where(index > 0, index - 1, index + 1)  # a large step may not fit either way
        return np.where((moved < 0) | (moved >= count), nearest, moved)

    def _any_space(self, rng: np.random.Generator, designs: Any) -> Any:
        found = []
        for i in range(len(designs)):
            one = designs.take(np.array([i]))
            near = self._space.neighbors(one)
            found.append(near.take(rng.integers(len(near), size=1)) if len(near) else one)
        return self._space.concatenate(found)


def _kind(item: Any) -> int:
    if isinstance(item, Choice):
        return _CHOICE
    if isinstance(item, Permutation):
        return _ORDER
    if isinstance(item, Real):
        return _REAL
    return _LOG if isinstance(item, Integer) and item.log else _ORDERED


def _log_step(item: Any, code: float, moved: float, up: bool) -> float:
    """Return the unit coordinate of another value of an integer that is spread by ratio."""
    reached = float(item.from_unit(np.array([[moved]]))[0, 0])
    if reached == code:
        reached = code + 1 if (up and code < item.high) or code == item.low else code - 1
    return float(item.to_unit(np.array([[reached]]))[0, 0])
