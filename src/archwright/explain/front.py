"""What a front says: its knee, the best design for each metric, its growth over the trials."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.errors import InfeasibleError, SpecificationError
from archwright.solve.pareto import ParetoArchive, hypervolume, nondominated

__all__ = ["Direction", "Quantity", "best_per_metric", "hypervolume_history", "knee"]

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One metric of all evaluated designs, with how to read and print it.

    Attributes:
        name: what people call it, such as ``quality`` or ``watts``.
        values: shape (n,); NaN where unknown.
        direction: which way is better.
        form: writes one non-negative value: a format string, such as ``"${:,.2f} an hour"``, or
            a function.
        share: how much better counts as a step, relative; 0 means any strict improvement.
    """

    name: str
    values: ArrayLike
    direction: Direction = "minimize"
    form: str | Callable[[float], str] = "{:.4g}"
    share: float = 0.0

    def __post_init__(self) -> None:
        if self.direction not in ("minimize", "maximize"):
            raise SpecificationError(
                f"direction of {self.name!r} must be minimize or maximize, got {self.direction!r}"
            )

    @property
    def losses(self) -> NDArray[np.float64]:
        """The values as losses: negated where more is better."""
        values = np.asarray(self.values, dtype=np.float64)
        return values if self.direction == "minimize" else -values

    def show(self, value: float) -> str:
        """Print one value with its sign in front."""
        size = abs(value)
        words = self.form.format(size) if isinstance(self.form, str) else self.form(size)
        return ("−" if value < 0 else "") + words


def knee(losses: ArrayLike) -> int:
    """Return the row where the front bends most: where giving a little more gains little.

    The finite front is scaled so that its best value of each loss is 0 and its worst 1. The knee
    is the row farthest, towards the ideal, from the plane through the points that are 1 in one
    loss and 0 in the others; with two losses that is the line through the two ends of the front.
    All losses weigh the same, so the answer depends on the ends of the front; ties go to the
    earlier row. (Das 1999, "On characterizing the knee of the Pareto curve".)

    >>> knee([[0, 10], [1, 2], [5, 1], [10, 0]])
    1

    Args:
        losses: shape (n, k), all minimized.

    Raises:
        InfeasibleError: when no row has only finite losses.
    """
    table = np.asarray(losses, dtype=np.float64)
    mask = nondominated(table) & np.isfinite(table).all(axis=1)
    rows = np.flatnonzero(mask)
    if not len(rows):
        raise InfeasibleError(f"no knee: none of {len(table)} rows has only finite losses")
    front = table[rows]
    low = front.min(axis=0)
    span = front.max(axis=0) - low
    scaled = (front - low) / np.where(span > 0, span, 1.0)
    return int(rows[np.argmin(scaled.sum(axis=1))])


def best_per_metric(
    quantities: Sequence[Quantity], feasible: ArrayLike | None = None
) -> dict[str, int | None]:
    """Return for each metric the row of its best feasible design, None where no value is known.

    >>> best_per_metric([Quantity(name="quality", values=[1, 3, 2], direction="maximize")])
    {'quality': 1}
    """
    best: dict[str, int | None] = {}
    for quantity in quantities:
        losses = quantity.losses
        known = ~np.isnan(losses) & (True if feasible is None else np.asarray(feasible, bool))
        best[quantity.name] = (
            int(np.argmin(np.where(known, losses, np.inf))) if known.any() else None
        )
    return best


def hypervolume_history(
    losses: ArrayLike, feasible: ArrayLike, reference: ArrayLike
) -> NDArray[np.float64]:
    """Return the hypervolume of the feasible designs after each trial, shape (n,).

    With two losses each trial adds its own area in O(log n + rows it beats); with more, the
    volume is computed anew whenever the front changes.

    >>> hypervolume_history([[2, 2], [1, 2], [0, 0]], [True, True, False], [3, 3]).tolist()
    [1.0, 2.0, 2.0]

    Args:
        losses: shape (n, k), all minimized, in the order of the trials.
        feasible: shape (n,).
        reference: shape (k,), finite; a point worse than everything that should count.
    """
    table = np.asarray(losses, dtype=np.float64)
    hypervolume(table[:0], reference)  # checks the shapes
    corner = np.asarray(reference, dtype=np.float64)
    counts = np.asarray(feasible, dtype=bool) & (table < corner).all(axis=1)
    if np.isneginf(table[counts]).any():
        raise SpecificationError("hypervolume needs finite losses, got -inf")
    gains = np.zeros(len(table))
    if table.shape[1] == 2:
        stairs = _Stairs(float(corner[0]), float(corner[1]))
        for trial in np.flatnonzero(counts).tolist():
            gains[trial] = stairs.add(float(table[trial, 0]), float(table[trial, 1]))
        return np.cumsum(gains)
    archive = ParetoArchive(table.shape[1])
    volumes = np.zeros(len(table))
    volume = 0.0
    for trial in range(len(table)):
        if counts[trial] and archive.add(table[trial], trial):
            volume = hypervolume(archive.losses, corner)
        volumes[trial] = volume
    return volumes


class _Stairs:
    """A two-loss front as a staircase; each new step returns the area that it adds."""

    def __init__(self, right: float, top: float) -> None:
        self.x = [-math.inf, right]  # rises; guards at both ends
        self.y = [top, -math.inf]  # falls

    def add(self, x: float, y: float) -> float:
        place = bisect_left(self.x, x)
        if self.y[place - 1] <= y or (self.x[place] == x and self.y[place] <= y):
            return 0.0
        end, left, ceiling, area = place, x, self.y[place - 1], 0.0
        while True:
            right = self.x[end]
            area += (right - left) * (ceiling - y)
            if self.y[end] < y:
                break
            left, ceiling = right, self.y[end]
            end += 1
        self.x[place:end] = [x]
        self.y[place:end] = [y]
        return area
