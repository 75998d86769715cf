"""What a little more would cost: the nearest steps away from a chosen design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from archwright.errors import SpecificationError
from archwright.explain.front import Quantity

__all__ = ["TradeOff", "next_steps"]


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """The cheapest design that is a step better in one metric.

    Attributes:
        step: the step in words, such as ``the next step in quality`` or ``−10 % watts``.
        chosen, found: rows of the chosen design and of the one found; None when there is none.
        metric_from, metric_to: the metric at both; NaN where unknown.
        primary_from, primary_to: the primary metric (what the step is paid in) at both.
        searched: feasible designs that were looked through.
        change: the two metric values and ``price`` the difference, printed.
        label: what the design found is called.
    """

    step: str
    chosen: int
    found: int | None
    metric_from: float
    metric_to: float
    primary_from: float
    primary_to: float
    searched: int
    change: str = ""
    price: str = ""
    label: str = ""

    @property
    def delta(self) -> float | None:
        """What the step costs in the primary metric; None when no design was found."""
        return None if self.found is None else self.primary_to - self.primary_from

    def sentence(self) -> str:
        """Say it: what the step costs, or that none was found among how many designs."""
        step = self.step[:1].upper() + self.step[1:]
        delta = self.delta
        if delta is None:
            if np.isnan(self.metric_from):
                return f"{step}: unknown, the chosen design has no value to compare with."
            return f"{step}: none was found among {self.searched:,} feasible designs."
        verb = f"costs +{self.price}" if delta > 0 else f"saves {self.price}"
        if delta == 0:
            verb = "costs nothing"
        return f"{step} {verb} ({self.change})" + (f": {self.label}." if self.label else ".")


def next_steps(
    primary: Quantity,
    others: Sequence[Quantity],
    *,
    chosen: int,
    feasible: ArrayLike | None = None,
    labels: Sequence[str] = (),
) -> list[TradeOff]:
    """Price one step in each other metric: the cheapest feasible design that takes it.

    A step is any strict improvement, or at least ``share`` of the chosen value. Of equally cheap
    designs the better one is taken, then the earlier row.

    >>> cost = Quantity(name="cost", values=[10.0, 14.0, 12.0], form="${:.2f}")
    >>> quality = Quantity(name="quality", values=[60, 70, 65], direction="maximize")
    >>> watts = Quantity(name="watts", values=[900, 850, 880], share=0.1)
    >>> for step in next_steps(cost, [quality, watts], chosen=0):
    ...     print(step.sentence())
    The next step in quality costs +$2.00 (60 → 65).
    −10 % watts: none was found among 3 feasible designs.

    Args:
        primary: what steps are paid in; minimized.
        others: the metrics to step in.
        chosen: row of the chosen design.
        feasible: shape (n,); every design when not given.
        labels: n names of designs, for the sentences.
    """
    if primary.direction != "minimize":
        raise SpecificationError(f"steps are paid in a minimized metric, not in {primary.name!r}")
    prices = primary.losses
    if not 0 <= chosen < len(prices):
        raise SpecificationError(f"chosen row {chosen} is not among {len(prices)} designs")
    allowed = np.ones(len(prices), bool) if feasible is None else np.asarray(feasible, bool)
    return [_step(primary, other, chosen, allowed, labels) for other in others]


def _step(
    primary: Quantity,
    other: Quantity,
    chosen: int,
    allowed: np.typing.NDArray[np.bool_],
    labels: Sequence[str],
) -> TradeOff:
    prices, losses, values = primary.losses, other.losses, np.asarray(other.values, float)
    now = losses[chosen]
    if other.share > 0:
        # A hair of tolerance: 0.9 × 7 is a little above 6.3 or below it, as rounding has it.
        better = losses <= now - (other.share - 1e-9) * abs(now)
        sign = "−" if other.direction == "minimize" else "+"
        step = f"{sign}{100 * other.share:g} % {other.name}"
    else:
        better = losses < now
        step = f"the next step in {other.name}"
    rows = np.flatnonzero(allowed & better & ~np.isnan(prices))
    found = int(rows[np.lexsort((losses[rows], prices[rows]))[0]]) if len(rows) else None
    to = chosen if found is None else found
    return TradeOff(
        step=step,
        chosen=chosen,
        found=found,
        metric_from=float(values[chosen]),
        metric_to=float(values[to]) if found is not None else float("nan"),
        primary_from=float(prices[chosen]),
        primary_to=float(prices[to]) if found is not None else float("nan"),
        searched=int(allowed.sum()),
        change=f"{other.show(values[chosen])} → {other.show(values[to])}",
        price=primary.show(abs(prices[to] - prices[chosen])),
        label=labels[to] if len(labels) and found is not None else "",
    )
