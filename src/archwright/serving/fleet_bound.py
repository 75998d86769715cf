"""A cost that no exact fleet of a design is below, without the integer programme.

Every bucket goes, in fractions of instances, to the type and way on which its load is cheapest,
each accelerator at the least that any offer asks for one: a relaxation of the plan. The limits
over all requests enter with prices of their own (Lagrange multipliers): whatever these are, what
is left is a bound, and a few steps of coordinate search make it a good one. A fact about whole
offers raises it: some instance must serve the bucket that is dearest to serve at all, so the cost
is at least that of the cheapest offer that may. Where the fleet has to survive a loss, that
instance may be the one that is lost, so its accelerators come on top of what the rest must cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
_SWEEPS = 2  # over the limits
_HALVINGS = 10  # of a multiplier


@dataclass(frozen=True, kw_only=True)
class Relaxed:
    """The relaxed fleet.

    Attributes:
        cost_per_hour: dollars an hour; at most the exact plan's.
        dearest_cost_per_hour: dollars an hour of a whole fleet that carries the load, where
            counts are not limited and no loss must be survived; at least the exact plan's. inf
            where none is known.
        counts: instances of each type, shape (G,), in fractions.
        achieved: what it achieves, each type at full load.
    """

    cost_per_hour: float
    dearest_cost_per_hour: float
    counts: Floats
    profiles: tuple[Profile, ...]
    arrival: Floats
    shares: Mapping[str, Floats]

    @cached_property
    def achieved(self) -> Achieved:
        """Latency and power of the relaxed fleet."""
        return achieved(self.profiles, self.counts, self.arrival, self.shares)


def relax(
    profiles: Sequence[Profile],
    prices: Sequence[float],
    arrival: Floats,
    *,
    budgets: Mapping[str, float] | None = None,
    bills: Sequence[Sequence[tuple[float, float]]] | None = None,
    survive_loss: bool = False,
    one_region: bool = True,
) -> Relaxed:
    """Return the relaxed fleet of types that together serve every bucket.

    Args:
        profiles: the types (G).
        prices: dollars an hour of one instance of each, in fractions of an offer; inf where
            nothing holds it.
        arrival: requests/s of each bucket, shape (I, J).
        budgets: name of a limit to what the mean request may take of it.
        bills: of each type, (instances, dollars an hour) of the offers that hold it; by default
            one instance at its price.
        survive_loss: the fleet must carry the load after losing any one instance.
        one_region: all offers can be rented together.
    """
    price = np.asarray(prices, dtype=np.float64)
    bills = [[(1.0, p)] for p in price] if bills is None else bills
    used = arrival.ravel() > 0
    able = [g for g, p in enumerate(profiles) if np.isfinite(price[g]) and not p.refusal]
    columns = [(g, m) for g in able for m in range(len(profiles[g].rate))]
    wanted = arrival.ravel()
    empty = {p.type.name: np.zeros(p.rate.shape) for p in profiles}
    if not columns:
        return Relaxed(
            cost_per_hour=np.inf if used.any() else 0.0, dearest_cost_per_hour=np.inf,
            counts=np.zeros(len(profiles)), profiles=tuple(profiles), arrival=arrival,
            shares=empty,
        )  # fmt: skip

    def joined(tables: Sequence[Floats]) -> Floats:
        return np.concatenate([t.reshape(len(t), -1) for t in tables])

    rate = joined([profiles[g].rate for g in able])
    with np.errstate(divide="ignore", invalid="ignore"):
        load = np.where(rate > 0, wanted / rate, np.inf)  # instances, shape (C, B)
    load[:, ~used] = 0.0
    of_type = np.array([g for g, _ in columns])
    money = load * price[of_type][:, None]
    takes = {
        name: joined([profiles[g].takes[name] for g in able]) * wanted for name in budgets or {}
    }
    allowed = {name: budget * float(wanted.sum()) for name, budget in (budgets or {}).items()}
    bound, best = _lagrange(money, takes, allowed)
    one = np.where(used, load[best, np.arange(used.size)], 0.0)
    counts = np.bincount(of_type[best], one, len(profiles)).astype(np.float64)
    may = np.stack([(rate[of_type == g] > 0).any(axis=0) for g in able])
    least = np.array([min(p for _, p in bills[g]) for g in able])
    dearest = np.where(may, least[:, None], np.inf).min(axis=0)[used].max(initial=0.0)
    cheapest = np.where(may, price[able][:, None], np.inf).min(axis=0)[used].max(initial=0.0)
    shares = empty
    for c, (g, m) in enumerate(columns):
        shares[profiles[g].type.name][m] = ((best == c) & used).reshape(arrival.shape)
    return Relaxed(
        cost_per_hour=float(
            max(max(bound, cheapest) + (cheapest if survive_loss else 0.0), dearest)
        ),
        dearest_cost_per_hour=_dearest(profiles, price, able, bills, wanted, used, one_region),
        counts=counts,
        profiles=tuple(profiles),
        arrival=arrival,
        shares=shares,
    )


def _lagrange(
    money: Floats, takes: Mapping[str, Floats], allowed: Mapping[str, float]
) -> tuple[float, npt.NDArray[np.intp]]:
    """Return the best bound found and the way of each bucket that makes it, shape (B,)."""
    at = np.arange(money.shape[1])
    prices = dict.fromkeys(takes, 0.0)

    def choose() -> tuple[float, npt.NDArray[np.intp]]:
        total = money
        for name, price in prices.items():
            if price > 0:
                total = total + price * takes[name]
        best = np.asarray(total.argmin(axis=0))
        bound = float(total[best, at].sum())
        return bound - sum(price * allowed[name] for name, price in prices.items()), best

    found = choose()

    def over(name: str, price: float) -> float:
        """Return by how much a limit is broken at a price of it, and keep the best bound."""
        nonlocal found
        prices[name] = price
        now = choose()
        found = max(found, now, key=lambda each: each[0])
        return float(takes[name][now[1], at].sum() - allowed[name])

    for _ in range(_SWEEPS if len(takes) > 1 else 1):
        for name in takes:
            if over(name, 0.0) <= 0:
                continue
            low, high = 0.0, max(found[0], 1e-9) / max(allowed[name], 1e-12) / 64
            for _ in range(_HALVINGS):  # until it holds
                if over(name, high) <= 0:
                    break
                low, high = high, 8 * high
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                low, high = (middle, high) if over(name, middle) > 0 else (low, middle)
            prices[name] = high
    return found


def _dearest(
    profiles: Sequence[Profile],
    price: Floats,
    able: Sequence[int],
    bills: Sequence[Sequence[tuple[float, float]]],
    wanted: Floats,
    used: npt.NDArray[np.bool_],
    one_region: bool,
) -> float:
    """Return the bill of a fleet that holds every limit in every bucket: the cheapest of one type.

    Or of every bucket on the type that is cheapest for it, rounded up.
    """

    def bill(g: int, count: float) -> float:
        whole = np.ceil(count * (1 - 1e-9))
        return float(min(np.ceil(whole / holds) * each for holds, each in bills[g]))

    with np.errstate(divide="ignore"):
        load = np.stack([wanted[used] / profiles[g].max_rate.ravel()[used] for g in able])
    total = load.sum(axis=1)
    found = min(
        (bill(g, float(total[k])) for k, g in enumerate(able) if np.isfinite(total[k])),
        default=float("inf"),
    )
    best = (load * price[able][:, None]).argmin(axis=0)
    mixed = np.take_along_axis(load, best[None], axis=0)[0]
    if one_region and np.isfinite(mixed).all():
        counts = np.bincount(best, mixed, len(able))
        found = min(found, sum(bill(g, float(counts[k])) for k, g in enumerate(able) if counts[k]))
    return found


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
