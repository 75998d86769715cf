"""What searchers refuse, said in one line: options, goals and spaces that they cannot take."""

from __future__ import annotations

from typing import Any

from archwright.errors import SpecificationError
from archwright.search.goal import Objectives

__all__ = [
    "SEVERAL_LOSSES",
    "flag",
    "number_of_values",
    "share",
    "single_loss",
    "unit_cube",
    "whole",
]

SEVERAL_LOSSES = ("nsga2", "nsga3", "gp", "tpe", "random", "exhaustive")
"""Searchers that take several losses."""


def whole(name: str, value: Any, least: int) -> int:
    """Return an option that must be a whole number of at least ``least``.

    >>> whole("population", 1, 2)
    Traceback (most recent call last):
    ...
    archwright.errors.SpecificationError: population: expected a whole number from 2, found 1
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecificationError(f"{name}: expected a whole number from {least}, found {value!r}")
    return value


def number_of_values(item: Any) -> float:
    """Return how many values a parameter has; infinite where a float cannot say it.

    >>> from archwright.search import Integer, Permutation
    >>> number_of_values(Integer(1, 9)), number_of_values(Permutation(171))
    (9.0, inf)
    """
    try:
        return float(item.size)
    except OverflowError:
        return float("inf")


def flag(name: str, value: Any) -> bool:
    """Return an option that must be true or false."""
    if not isinstance(value, bool):
        raise SpecificationError(f"{name}: expected true or false, found {value!r}")
    return value


def share(
    name: str, value: Any, *, low: float = 0.0, high: float = 1.0, above: bool = False
) -> float:
    """Return an option that must be a number from ``low`` to ``high``.

    Args:
        name: the option.
        value: what was given.
        low: least value.
        high: greatest value.
        above: whether ``low`` itself is refused.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (low < value if above else low <= value) or not value <= high:
        least = f"above {low:g}" if above else f"from {low:g}"
        most = "" if high == float("inf") else f" to {high:g}"
        raise SpecificationError(f"{name}: expected a number {least}{most}, found {value!r}")
    return float(value)


def single_loss(name: str, objectives: Objectives) -> None:
    """Refuse a goal with several losses.

    Raises:
        SpecificationError: the message names the searchers that take it.
    """
    if len(objectives.losses) != 1:
        raise SpecificationError(
            f"{name} takes one loss, the goal has {len(objectives.losses)} "
            f"({', '.join(objectives.losses)}); set [goal].combine, or use "
            f"{', '.join(SEVERAL_LOSSES)}"
        )


def unit_cube(name: str, space: Any) -> Any:
    """Return a space that maps to the unit cube.

    Raises:
        SpecificationError: it does not; the message names the searchers that need no cube.
    """
    if not all(hasattr(space, part) for part in ("encode", "decode", "width")):
        raise SpecificationError(
            f"{name} needs a space with encode and decode, {space!r} has none; use random, local, "
            "annealing or regularized_evolution"
        )
    return space
