"""Which assumption flips an answer first: each is changed alone, and the fleet planned again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from archwright.errors import InfeasibleError
from archwright.llm import EngineSpec
from archwright.serving.fleet_planning import FleetPlanner, Plan

__all__ = ["Flip", "find_flips"]

_CHANGES = (0.05, 0.10, 0.20)
"""Relative changes that are tried: the largest, and where it flips the answer, the smaller."""


@dataclass(frozen=True, kw_only=True)
class Flip:
    """An assumption that was changed, and what is then rented.

    Attributes:
        what: the change in words.
        change: its size, relative; inf where it has none, such as another engine.
        plan: the plan then; None where nothing holds the limits.
    """

    what: str
    change: float
    plan: Plan | None


@dataclass(frozen=True, kw_only=True)
class _Assumption:
    """One assumption: its name, and the planner that it has at a relative change."""

    name: str
    changed: Callable[[float], FleetPlanner]
    shown: Callable[[float], str] = "{:+.0%}".format


def find_flips(
    planner: FleetPlanner,
    design: Mapping[str, Any],
    plan: Plan,
    engines: Mapping[str, EngineSpec],
) -> list[Flip]:
    """Return the changes that change which types serve or which offers are rented.

    Prices of what is rented, the rate, the length of requests and the share of busy slots, each up
    and down by up to 20 %, and the other engines. Other numbers of the same are no flip.

    Args:
        planner: what made the plan.
        design: the design planned.
        plan: its plan.
        engines: the other engines, by name.

    Returns:
        The flips, smallest change first.
    """
    found = []
    for assumption in _assumptions(planner, plan):
        for sign in (1.0, -1.0):
            flip = None
            for size in (_CHANGES[-1], *_CHANGES[:-1]):
                now = _flip(assumption, sign * size, design, plan)
                if now is None and size == _CHANGES[-1]:
                    break
                if now is not None and (flip is None or size < abs(flip.change)):
                    flip = now
                    if size < _CHANGES[-1]:
                        break
            if flip is not None:
                found.append(flip)
    for name, engine in engines.items():
        other = _Assumption(
            name=f"the engine {name}",
            changed=partial(_engine, planner, engine),
            shown=lambda change: "",
        )
        flip = _flip(other, math.inf, design, plan)
        if flip is not None:
            found.append(flip)
    return sorted(found, key=lambda each: abs(each.change))


def _flip(
    assumption: _Assumption, change: float, design: Mapping[str, Any], plan: Plan
) -> Flip | None:
    what = f"{assumption.name} {assumption.shown(change)}".rstrip()
    try:
        then = assumption.changed(change).plan(design)
    except InfeasibleError:
        return Flip(what=what, change=change, plan=None)
    if _rented(then) == _rented(plan):
        return None
    return Flip(what=what, change=change, plan=then)


def _rented(plan: Plan) -> tuple[frozenset[str], frozenset[str]]:
    """Return which types serve and which offers are rented, whatever their numbers."""
    return (
        frozenset(name for name, n in plan.fleet.counts.items() if n),
        frozenset(offer.name for offer, _ in plan.bill),
    )


def _assumptions(planner: FleetPlanner, plan: Plan) -> Iterator[_Assumption]:
    for device in dict.fromkeys(offer.device for offer, _ in plan.bill):
        yield _Assumption(name=f"the price of {device}", changed=partial(_price, planner, device))
    yield _Assumption(name="the rate", changed=partial(_rate, planner))
    yield _Assumption(name="the length of requests", changed=partial(_length, planner))
    yield _Assumption(
        name="the share of busy slots",
        changed=partial(_utilization, planner),
        shown=lambda change: f"at most {_busy(planner, change):.2f}",
    )


def _price(planner: FleetPlanner, device: str, change: float) -> FleetPlanner:
    return planner.changed(market=planner.market.scaled(device, 1 + change))


def _rate(planner: FleetPlanner, change: float) -> FleetPlanner:
    return planner.changed(rate_per_s=planner.rate_per_s * (1 + change))


def _length(planner: FleetPlanner, change: float) -> FleetPlanner:
    return planner.changed(workload=planner.workload.longer(1 + change))


def _utilization(planner: FleetPlanner, change: float) -> FleetPlanner:
    specification = replace(planner.specification, utilization=_busy(planner, change))
    return planner.changed(specification=specification)


def _busy(planner: FleetPlanner, change: float) -> float:
    return min(planner.specification.utilization * (1 + change), 1.0)


def _engine(planner: FleetPlanner, engine: EngineSpec, change: float) -> FleetPlanner:
    del change
    return planner.changed(engine=engine)
