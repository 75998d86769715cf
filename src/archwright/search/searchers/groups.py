"""Parameters that are modeled together: those that are active under one condition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.space import Choice, ParameterSpace, Permutation

__all__ = ["Group", "groups"]

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


class Group:
    """Some coordinates of the unit cube, parted into numbers and choices.

    Attributes:
        counts: number of values of each choice.
        distance: distance of neighboring values of each number, 0 for a real.
    """

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._numbers: list[int] = []
        self._choices: list[int] = []
        self._distance: list[float] = []

    def add(self, item: Any, first: int) -> None:
        """Take a parameter whose coordinates begin at ``first``."""
        if isinstance(item, Choice) and item.size > 2:
            self._choices.append(first)
            self.counts.append(int(item.size))
            return
        order = isinstance(item, Permutation)
        finite = order or math.isfinite(item.size)
        step = 1.0 / (item.width if order else item.size) if finite else 0.0
        self._numbers += range(first, first + item.width)
        self._distance += [step] * item.width

    def add_numbers(self, width: int) -> None:
        """Take the coordinates of a space without named parameters."""
        self._numbers += range(width)
        self._distance += [0.0] * width

    @property
    def distance(self) -> Floats:
        return np.array(self._distance)

    def active(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Say in which designs the group is active; ``mask`` is the activity of coordinates."""
        if mask.shape[1] == 1:
            return mask[:, 0]
        return np.asarray(mask[:, [*self._numbers, *self._choices]].all(axis=1))

    def parts(self, unit: Floats) -> tuple[Floats, Index]:
        """Return the numbers and the index of each choice's value of points."""
        count = np.array(self.counts, dtype=np.float64)
        index = np.floor(unit[:, self._choices] * count)
        return unit[:, self._numbers], np.minimum(index, count - 1).astype(np.intp)

    def put(self, unit: Floats, numbers: Floats, values: Index) -> None:
        """Set the group's coordinates of points."""
        unit[:, self._numbers] = numbers
        unit[:, self._choices] = (values + 0.5) / np.array(self.counts, dtype=np.float64)


def groups(cube: Any) -> list[Group]:
    """Return the groups of a space: one a condition, and one a permutation.

    >>> from archwright.search import Choice, Integer
    >>> space = ParameterSpace({"a": Choice(["x", "y", "z"]), "b": Integer(1, 4),
    ...                         "c": Integer(1, 4, when="a == 'x'")})
    >>> [(group.counts, len(group.distance)) for group in groups(space)]
    [([3], 1), ([], 1)]
    """
    if not isinstance(cube, ParameterSpace):
        whole = Group()
        whole.add_numbers(cube.width)
        return [whole]
    found: dict[Any, Group] = {}
    at = 0
    for name, item in cube.parameters.items():
        if item.size > 1:
            alone = isinstance(item, Permutation)  # its coordinates say nothing of the others
            found.setdefault((item.when, name if alone else None), Group()).add(item, at)
        at += item.width
    return list(found.values())
