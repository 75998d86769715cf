"""A cost that no exact fleet of a design is below, without the integer programme.

Every bucket goes to the type on which its load is cheapest, in fractions of instances: the linear
relaxation of the plan. Two facts about whole instances raise it. Some instance must serve the
bucket that is dearest to serve at all, so the cost is at least the price of the cheapest type that
may. And where the fleet has to survive a loss, that instance may be the one that is lost, so its
price comes on top of what the rest must cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from archwright.search import Goal, Measurements
from archwright.search.space import Expression
from archwright.serving.achieved import Achieved, achieved
from archwright.serving.profile import Profile

__all__ = ["BOUNDED", "Relaxed", "bounds", "relax", "surely_dominated"]

Floats = npt.NDArray[np.float64]

BOUNDED = ("cost_usd_per_hour", "cost_usd_per_million_tokens", "quality")
"""Metrics whose value at the fidelity ``bound`` is never worse than the exact one."""

_COSTS = BOUNDED[:2]


@dataclass(frozen=True, kw_only=True)
class Relaxed:
    """The relaxed fleet.

    Attributes:
        cost_per_hour: dollars an hour; at most the exact plan's.
        dearest_cost_per_hour: dollars an hour of a whole fleet that carries the load, where
            counts are not limited and no loss must be survived; at least the exact plan's.
        counts: instances of each type, shape (G,), in fractions.
        achieved: what it achieves, each type at full load.
    """

    cost_per_hour: float
    dearest_cost_per_hour: float
    counts: Floats
    profiles: tuple[Profile, ...]
    arrival: Floats
    best: npt.NDArray[np.intp]

    @cached_property
    def achieved(self) -> Achieved:
        """Latency and power of the relaxed fleet."""
        assignment = (self.best[..., None] == np.arange(len(self.profiles))).astype(np.float64)
        assignment[self.arrival <= 0] = 0.0
        return achieved(self.profiles, self.counts, self.arrival, assignment)


def relax(
    profiles: Sequence[Profile],
    prices: Sequence[float],
    arrival: Floats,
    *,
    survive_loss: bool = False,
) -> Relaxed:
    """Return the relaxed fleet of types that together serve every bucket.

    Args:
        profiles: the types (G).
        prices: dollars an hour of one instance of each.
        arrival: requests/s of each bucket, shape (I, J).
        survive_loss: the fleet must carry the load after losing any one instance.
    """
    price = np.asarray(prices, dtype=np.float64)[:, None]
    rate = np.stack([p.max_rate for p in profiles]).reshape(len(profiles), -1)
    used = arrival.ravel() > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        load = np.where(rate > 0, arrival.ravel() / rate, np.inf)  # instances
    load[:, ~used] = 0.0
    best = (load * price).argmin(axis=0)
    one = np.where(used, load[best, np.arange(used.size)], 0.0)
    counts = np.bincount(best, one, len(profiles)).astype(np.float64)
    relaxed = float(counts @ price[:, 0])
    dearest = np.where(rate > 0, price, np.inf).min(axis=0)[used].max(initial=0.0)
    least = max(relaxed, float(dearest))
    alone = float((np.ceil(load.sum(axis=1) * (1 - 1e-9)) * price[:, 0]).min())
    rounded = float(np.ceil(counts * (1 - 1e-9)) @ price[:, 0])
    return Relaxed(
        cost_per_hour=least + (float(dearest) if survive_loss else 0.0),
        dearest_cost_per_hour=min(alone, rounded),
        counts=counts,
        profiles=tuple(profiles),
        arrival=arrival,
        best=best.reshape(arrival.shape),
    )


def bounds(goal: Goal) -> bool:
    """Say whether a goal is bounded: costs down, quality up, limits on quality alone."""
    limited = {name for text in goal.subject_to for name in Expression(text, where="").names}
    plain = goal.combine is None and set(goal.minimize) <= set(_COSTS)
    return plain and set(goal.maximize) | limited <= {"quality"}


def surely_dominated(
    least: Floats, dearest: Floats, quality: Floats, goal: Goal
) -> npt.NDArray[np.bool_]:
    """Return which designs another is sure to dominate under a goal that is bounded.

    Args:
        least: bound on each cost, shape (n,); NaN where nothing serves.
        dearest: cost that each is sure not to exceed.
        quality: quality of each; NaN is unknown and dominates nothing.
        goal: what counts.
    """
    allowed = goal.score(Measurements(metrics=_metrics(dearest, quality))).feasible
    beats = np.ones((len(least), len(least)), dtype=bool)
    if goal.minimize:
        beats &= dearest[None, :] < least[:, None] * (1 - 1e-9)
    if goal.maximize:
        above = np.greater_equal if goal.minimize else np.greater
        beats &= above(quality[None, :], quality[:, None])
    beats |= ~allowed[:, None]
    return np.asarray((beats & allowed[None, :]).any(axis=1))


def _metrics(cost: Floats, quality: Floats) -> dict[str, Floats]:
    return {**dict.fromkeys(_COSTS, cost), "quality": quality}
