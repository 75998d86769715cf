"""The answer of a fleet study: the plan of one design, its doubt, and what else could be rented.

Everything that a sentence, a report or a program says about a design is solved here, once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from archwright.errors import InfeasibleError
from archwright.serving.achieved import Interval
from archwright.serving.fleet_flips import Flip, find_flips
from archwright.serving.fleet_planning import SAFE, FleetPlanner, Plan
from archwright.serving.limits import Rule
from archwright.specification import replace_path

if TYPE_CHECKING:
    from archwright.serving.fleet_environment import FleetEnvironment

__all__ = [
    "HOURS_A_MONTH",
    "Answer",
    "LimitHeld",
    "TodayPlan",
    "find_answer",
    "why_infeasible",
]

Design = Mapping[str, Any]

HOURS_A_MONTH = 730.0
"""Hours that a month is billed at: a year of 8,760 over twelve."""

_RAISES = (1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0)
"""Multiples of the best value at which a limit that is missed is tried."""


@dataclass(frozen=True, kw_only=True)
class LimitHeld:
    """A limit, what the fleet does about it, and the chance that it holds."""

    rule: Rule
    value: Interval
    chance: float


@dataclass(frozen=True, kw_only=True)
class TodayPlan:
    """What runs today.

    Attributes:
        usd_per_hour: its bill.
        quality: of the model it serves; NaN where unknown.
        plan: what it does at the load planned for; None where it cannot carry it.
        why: why it cannot.
    """

    usd_per_hour: float
    quality: float
    plan: Plan | None
    why: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """The answer about one design.

    Attributes:
        environment: the study's.
        design: what was chosen.
        plan: its cheapest fleet.
        limits: each limit, in order.
        safe_design: design of the safe plan.
        safe: the cheapest plan whose limits hold with 90 %; None where there is none.
        why_not_safe: why there is none.
    """

    environment: FleetEnvironment
    design: Design
    plan: Plan
    limits: tuple[LimitHeld, ...]
    safe_design: Design | None = None
    safe: Plan | None = None
    why_not_safe: str = ""
    quality: Any = field(default=None)

    @property
    def planner(self) -> FleetPlanner:
        """The planner that solved it."""
        return self.environment.planner

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The metrics of the design."""
        return self.environment.measure(self.plan) | {"quality": float(self.quality.value)}

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain data; what is unknown or endless is None."""
        found = _plain(self, self.design, self.plan, self.limits, self.metrics)
        safe = None
        if self.safe is not None and self.safe_design is not None:
            metrics = self.environment.measure(self.safe)
            metrics["quality"] = float(self.environment.quality(self.safe_design).value)
            limits = held(self.planner, self.safe)
            safe = _plain(self, self.safe_design, self.safe, limits, metrics)
        return found | {"safe": safe, "unscored": []}

    @cached_property
    def singles(self) -> list[tuple[str, Plan]]:
        """The best fleet of each single accelerator type, cheapest first."""
        found = []
        for device in self.planner.market.devices:
            try:
                found.append((device.name, self.planner.plan(self.design, only=[device.name])))
            except InfeasibleError:
                continue
        return sorted(found, key=lambda each: each[1].cost_per_hour)

    @cached_property
    def clouds(self) -> list[Plan]:
        """The cheapest fleet in each cloud, cheapest first."""
        market = self.planner.market
        found = []
        for cloud in dict.fromkeys(region.cloud for region in market.regions):
            try:
                there = self.planner.changed(market=market.only(cloud))
                found.append(there.plan(self.design))
            except InfeasibleError:
                continue
        return sorted(found, key=lambda plan: plan.cost_per_hour)

    @cached_property
    def bursts(self) -> str:
        """Say what the trace's own bursts would do, where they would break the plan."""
        capacity = self.capacity_per_s
        limit = min((r.limit_s for r in self.planner.rules if r.quantity != "tpot"), default=10.0)
        worst = (0.0, 0, 0.0)
        for window, peak in self.peaks.items():
            late = (peak - capacity) * window / capacity  # until the backlog is served
            worst = max(worst, (late, window, peak))
        late, window, peak = worst
        if late <= limit:
            return ""
        return (
            f"The trace's own bursts would break it: {peak:,.3g} requests/s over {window} s "
            f"against {capacity:,.3g} that this fleet can serve at most, so requests would wait "
            f"up to {late:,.2g} s."
        )

    @property
    def peaks(self) -> dict[int, float]:
        """Window in seconds to requests/s in the busiest such window, at the rate planned for.

        The trace as it is, sped up or slowed down to the rate planned for.
        """
        shape = self.environment.workload
        scale = self.environment.rate_per_s / shape.peak_rate_per_s
        return {window: peak * scale for window, peak in shape.peaks_per_s.items()}

    @cached_property
    def capacity_per_s(self) -> float:
        """Requests/s in this mix at which some type has no slot or time left."""
        busiest = 0.0
        arrival = self.planner.arrival
        for p in self.plan.profiles:
            count = self.plan.fleet.counts[p.type.name]
            given = np.asarray(self.plan.fleet.shares[p.type.name]).sum(axis=0) * arrival
            if count and given.any():
                used = given > 0
                busiest = max(busiest, float((given[used] / p.unlimited_rate[used]).sum()) / count)
        return self.environment.rate_per_s / busiest if busiest else math.inf

    @cached_property
    def runner_up(self) -> str:
        """The best fleet without the main device, and the price at which it would win."""
        from archwright.serving.fleet_panels import fleet_words

        plan, market = self.plan, self.planner.market
        if not plan.used():
            return ""
        main = plan.profiles[plan.used()[0]].type.device.name
        if all(d.name == main for d in market.devices):
            return f"No other device than {main} is allowed, so there is no runner-up."
        try:
            second = self.planner.plan(self.design, without=[main])
        except InfeasibleError as error:
            return f"Without {main} no fleet holds the limits: {error}."
        cost, least = second.cost_per_hour, plan.cost_per_hour
        lead = second.profiles[second.used()[0]].type.device.name
        text = (
            f"Runner-up, without {main}: {fleet_words(second)} at ${cost:,.2f} an hour "
            f"({100 * (cost - least) / least:+.1f} %)."
        )
        # both bills are linear in the price of one accelerator of the runner-up's main device
        gain = second.accelerators(lead) - plan.accelerators(lead)
        paid = sum(o.usd_per_hour * n for o, n in second.bill if o.device == lead)
        now = paid / max(second.accelerators(lead), 1)
        break_even = now - (cost - least) / gain if gain > 0 else 0.0
        if break_even > 0:
            return (
                f"{text} It would win if an accelerator-hour of {lead} cost below "
                f"${break_even:,.2f} (now ${now:,.2f})."
            )
        return f"{text} No price of {lead} alone would make it win."

    @cached_property
    def today(self) -> TodayPlan | None:
        """What runs today, planned as it is."""
        today, planner = self.environment.specification.today, self.environment.today_planner
        if today is None or planner is None:
            return None
        design = {
            "model": today.model,
            "weights": today.weights,
            "kv": today.kv,
            "max_batch": today.max_batch,
            "devices": "all",
        }
        from archwright.serving.fleet_environment import _instance_type

        fixed = {k.name: 0 for k in planner.types}
        for name, count in today.fleet.items():
            if count:
                fixed[_instance_type(name).name] += count
        plan, why = None, ""
        try:
            plan = planner.plan(design, fixed=fixed)
        except InfeasibleError as error:
            why = str(error)
        return TodayPlan(
            usd_per_hour=planner.bill(fixed),
            quality=float(self.environment.quality(design).value),
            plan=plan,
            why=why,
        )

    @cached_property
    def flips(self) -> list[Flip]:
        """What changes which types or offers are rented, smallest change first."""
        engines = {
            name: self.environment.find_engine(name) for name in self.environment.other_engines
        }
        return find_flips(self.planner, self.design, self.plan, engines)


def find_answer(environment: FleetEnvironment, design: Design) -> Answer:
    """Return the answer about a design.

    Raises:
        InfeasibleError: nothing meets the limits.
    """
    plan = environment.plan(design)
    limits = held(environment.planner, plan)
    safe: Plan | None = plan
    safe_design: Design | None = design
    why = ""
    if any(each.chance < 0.9 for each in limits):
        safe_design, safe, why = _safe(environment, design)
    return Answer(
        environment=environment,
        design=design,
        plan=plan,
        limits=limits,
        safe_design=safe_design,
        safe=safe,
        why_not_safe=why,
        quality=environment.quality(design),
    )


def held(planner: FleetPlanner, plan: Plan) -> tuple[LimitHeld, ...]:
    """Return each limit with what a plan does about it."""
    got = plan.achieved
    return tuple(
        LimitHeld(rule=rule, value=got.interval(rule), chance=got.chance(rule))
        for rule in planner.rules
    )


def _safe(environment: FleetEnvironment, design: Design) -> tuple[Design | None, Plan | None, str]:
    """Return the cheapest plan whose limits hold with 90 %.

    Of the design itself; where it has none, of the same model in other formats and batches that
    are known to be no worse.
    """
    why = ""
    try:
        return design, environment.planner.plan(design, error=SAFE), ""
    except InfeasibleError as error:
        why = str(error)
    quality = environment.quality(design).value
    best: tuple[Design | None, Plan | None] = (None, None)
    for other in environment.same_model(design):
        if not environment.quality(other).value >= quality and math.isfinite(quality):
            continue
        try:
            plan = environment.planner.plan(other, error=SAFE)
        except InfeasibleError:
            continue
        if best[1] is None or plan.cost_per_hour < best[1].cost_per_hour:
            best = other, plan
    return *best, why


def _plain(
    answer: Answer,
    design: Design,
    plan: Plan,
    limits: Sequence[LimitHeld],
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    return {
        "design": dict(design),
        "metrics": {name: _number(value) for name, value in metrics.items()},
        "offers": plan.offers,
        "instances": {name: n for name, n in plan.fleet.counts.items() if n},
        "cloud": plan.cloud,
        "region": plan.region,
        "usd_per_hour": plan.cost_per_hour,
        "usd_per_month": plan.cost_per_hour * HOURS_A_MONTH,
        "limits": [
            {
                "name": each.rule.name,
                "limit": each.rule.limit_s,
                "value": _number(each.value.value),
                "low": _number(each.value.low),
                "high": _number(each.value.high),
                "chance": each.chance,
            }
            for each in limits
        ],
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def why_infeasible(environment: FleetEnvironment, designs: Sequence[Design]) -> list[str]:
    """Return the limit that binds, by how much, and the smallest change that helps.

    It speaks of the nearest design, of known quality where there is one: others are on no front
    over quality.
    """
    known = [d for d in designs if np.isfinite(environment.quality(d).value)]
    nearest: Any = None
    for design in known or designs:
        try:
            environment.plan(design)
        except InfeasibleError as error:
            over = getattr(error, "violation", np.nan)
            if nearest is None or (np.isfinite(over) and not over >= nearest[0]):
                nearest = (over, design, error)
        else:
            return []  # it can be served; a limit of the goal is what fails
    if nearest is None:
        return []
    over, design, problem = nearest
    lines = [f"Nearest design: {environment.label(design)}: {problem}."]
    binding = getattr(problem, "binding", None)
    if binding is not None:
        rule, value = binding
        helps = _smallest_limit(environment, design, rule.name, float(value))
        change = (
            f"Smallest change that helps: environment.limits.{rule.name} = {helps:.3g}."
            if helps is not None
            else "Raising this limit alone does not help, tried up to "
            f"{_RAISES[-1] * value:.3g} s."
        )
        lines.append(
            f"What binds: {rule.words}, {_over(over)} its limit of {rule.limit_s:g} s. {change}"
        )
    elif np.isfinite(over):
        lines.append(
            f"What binds: memory, {100 * over:.3g} % short. A smaller weight format, a wider "
            "instance or a device with more memory would help."
        )
    return lines


def _over(excess: float) -> str:
    return f"{100 * excess:.3g} % over" if excess < 2 else f"{1 + excess:,.3g} times"


def _smallest_limit(
    environment: FleetEnvironment, design: Design, key: str, least: float
) -> float | None:
    """Return a value of one limit, to three digits, at which the design can be served.

    The smallest of those tried, ``_RAISES`` times the least; None where none of them helps.
    """
    planner = environment.planner
    for factor in _RAISES:
        value = float(np.format_float_positional(least * factor, precision=3, fractional=False))
        limits = replace_path(planner.specification.limits, key, value)
        relaxed = planner.changed(specification=replace(planner.specification, limits=limits))
        try:
            relaxed.plan(design)
        except InfeasibleError:
            continue
        return value
    return None
