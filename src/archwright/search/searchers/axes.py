"""Coordinates in which choices have no order: one for each of their values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.parameters import Choice
from archwright.search.space import ParameterSpace

__all__ = ["Axes"]

_CHOICE_DISTANCE = 0.25
Floats = npt.NDArray[np.float64]


class Axes:
    """The unit cube of a space with each choice of three values or more spread over its values.

    Of points of any kind a choice takes the value whose coordinate is largest.

    >>> from archwright.search import Choice, Integer
    >>> axes = Axes(ParameterSpace({"a": Choice(["x", "y", "z"]), "b": Integer(1, 2)}))
    >>> axes.unit(np.array([[0.1, 0.9, 0.3, 0.7]]))
    array([[0.5, 0.7]])
    >>> axes.points(np.array([[0.5, 0.7]]))
    array([[0. , 1. , 0. , 0.7]])

    Attributes:
        width: number of coordinates.
        distance: distance of neighboring values on each, 0 for a real.
        of_choice: whether it is a value of a choice.
    """

    def __init__(self, cube: Any) -> None:
        items = list(cube.parameters.values()) if isinstance(cube, ParameterSpace) else []
        self._parts: list[tuple[int, slice]] = []  # values of a choice, or 0; its coordinates
        distance: list[float] = []
        for item in items:
            at = len(distance)
            if isinstance(item, Choice) and item.size > 2:
                distance += [_CHOICE_DISTANCE] * len(item.options)
                self._parts.append((len(item.options), slice(at, len(distance))))
            else:
                finite = item.width == 1 and math.isfinite(item.size)
                step = 1.0 / (item.size if finite else item.width)
                distance += [step if finite or item.width > 1 else 0.0] * item.width
                self._parts.append((0, slice(at, len(distance))))
        if not items:
            distance = [0.0] * cube.width
            self._parts.append((0, slice(0, cube.width)))
        self.distance = np.array(distance)
        self.of_choice = np.zeros(len(distance), dtype=bool)
        for count, part in self._parts:
            self.of_choice[part] = count > 0
        self.width = len(distance)

    def unit(self, points: Floats) -> Floats:
        """Return the points of the unit cube that points stand for."""
        return np.hstack(
            [
                (points[:, part].argmax(axis=1)[:, None] + 0.5) / count
                if count
                else points[:, part]
                for count, part in self._parts
            ]
        )

    def points(self, unit: Floats) -> Floats:
        """Return the point of each point of the unit cube; 1 at the value of a choice, else 0."""
        parts, at = [], 0
        for count, part in self._parts:
            step = 1 if count else part.stop - part.start
            here = unit[:, at : at + step]
            if count:
                here = (np.minimum(here * count, count - 1).astype(int) == np.arange(count)) * 1.0
            parts.append(here)
            at += step
        return np.hstack(parts)
