"""Plans of fleets: from a specification and a design to the cheapest fleet that holds the limits.

Everything that solves stands here; the report draws what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError
from archwright.hardware.devices import device_set
from archwright.hardware.offers import Offer
from archwright.llm import EngineSpec, Transformer
from archwright.serving.achieved import Achieved, achieved
from archwright.serving.fleet_bound import Relaxed, relax
from archwright.serving.fleet_offers import Market, Region
from archwright.serving.fleet_specification import FleetSpecification
from archwright.serving.limits import Rule, rule
from archwright.serving.memo import Memo
from archwright.serving.plan import CountLimit, FleetPlan, GpuProfile, Way, plan_fleet
from archwright.serving.profile import InstanceType, Profile, instance_types, profiles
from archwright.serving.servable import check_servable
from archwright.serving.workload import Workload

__all__ = ["SAFE", "FleetPlanner", "Plan"]

Floats = npt.NDArray[np.float64]
Design = Mapping[str, Any]

SAFE = 1.2815515655446004
"""Standard deviations of step times at which a plan holds its limits with 90 %."""

_MOST_PROFILED = 1024  # sets of profiles kept, of about 100 kB each


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of one design: the fleet, what is rented for it and what it achieves.

    Attributes:
        fleet: instances by type, who serves what, load and headroom.
        profiles: the types, in order (G).
        prices: dollars an hour of one instance of each, its part of an offer.
        bill: what is rented: (offer, count); where the price is divisible, accelerators by type.
        cloud, region: where.
        achieved: latency and power.
    """

    fleet: FleetPlan
    profiles: tuple[Profile, ...]
    prices: tuple[float, ...]
    bill: tuple[tuple[Offer, int], ...]
    cloud: str
    region: str
    achieved: Achieved

    @property
    def cost_per_hour(self) -> float:
        """Dollars an hour of all that is rented."""
        return self.fleet.cost_per_hour

    @property
    def offers(self) -> dict[str, int]:
        """Name of an offer to how many are rented."""
        return {offer.name: count for offer, count in self.bill}

    @property
    def headroom(self) -> float:
        """The smallest unused share of a type; NaN without one."""
        found = [h for h in self.fleet.headroom.values() if not np.isnan(h)]
        return min(found, default=float("nan"))

    @property
    def ttft_p99_s(self) -> float:
        """P99 time to first token over all requests."""
        return self.achieved.value(rule("ttft_p99_s"))

    @property
    def tpot_mean_s(self) -> float:
        """Mean time per output token over all requests."""
        return self.achieved.value(rule("tpot_mean_s"))

    def used(self) -> list[int]:
        """Return the indices of the types rented, dearest share of the bill first."""
        counts = list(self.fleet.counts.values())
        rented = [g for g, n in enumerate(counts) if n]
        return sorted(rented, key=lambda g: -counts[g] * self.prices[g])

    def accelerators(self, device: str) -> int:
        """Return how many accelerators of a device are rented, idle ones included."""
        return sum(n * offer.accelerators for offer, n in self.bill if offer.device == device)


@dataclass(frozen=True, kw_only=True, eq=False)
class FleetPlanner:
    """Plans fleets for one workload, market and set of limits.

    Attributes:
        specification: limits, widths, utilization and what else stands fixed.
        workload: request sizes.
        rate_per_s: requests/s planned for.
        market: what may be rented.
        engine: what the engine adds on the host.
        find_model: name of a model to its architecture.
    """

    specification: FleetSpecification
    workload: Workload
    rate_per_s: float
    market: Market
    engine: EngineSpec
    find_model: Callable[[str], Transformer]

    @property
    def arrival(self) -> Floats:
        """Requests/s of each bucket planned for, shape (I, J)."""
        return self.workload.shares * self.rate_per_s

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The limits."""
        return self.specification.limits.rules

    @cached_property
    def types(self) -> list[InstanceType]:
        """What may be rented, each device at each width that an offer holds."""
        kinds = instance_types(self.market.devices, self.specification.tensor_parallel)
        return [k for k in kinds if k.tensor_parallel <= self.market.largest(k.device.name)]

    def changed(self, **changes: Any) -> FleetPlanner:
        """Return the same planner with some of its attributes replaced."""
        return replace(self, **changes)

    def profiles(self, design: Design, *, error: float = 0.0) -> tuple[Profile, ...]:
        """Return the profiles of the types that a design may rent.

        Args:
            design: model, weights, kv, max_batch, devices.
            error: how wrong to take step times, in standard deviations.
        """
        key = tuple(design[name] for name in ("model", "weights", "kv", "max_batch"))
        found = self._profiles.get((*key, error), lambda: self._profile_all(*key, error=error))
        if design["devices"] == "all":
            return found
        allowed = device_set(design["devices"])
        return tuple(p for p in found if p.type.device.name in allowed)

    def plan(
        self,
        design: Design,
        *,
        error: float = 0.0,
        only: Sequence[str] | None = None,
        without: Sequence[str] = (),
        fixed: Mapping[str, int] | None = None,
        survive_loss: bool | None = None,
    ) -> Plan:
        """Return the cheapest fleet for a design.

        Args:
            design: model, weights, kv, max_batch, devices.
            error: how wrong to take step times, in standard deviations; :data:`SAFE` makes limits
                hold with 90 %.
            only: devices that may be rented.
            without: devices that may not.
            fixed: type to its exact number of instances.
            survive_loss: overrides the specification.

        Raises:
            InfeasibleError: nothing meets the limits; the message says which binds and by how
                much, and ``violation`` how far it is, relative.
        """
        found = tuple(
            p
            for p in self.profiles(design, error=error)
            if (only is None or p.type.device.name in only) and p.type.device.name not in without
        )
        self.check(design, found)
        survive = self.specification.survive_loss if survive_loss is None else survive_loss
        options: dict[str, Any] = {"fixed": fixed, "survive_loss": survive}
        regions = self.market.regions
        if not self.market.divisible:
            able = [p for p in found if not p.refusal]
            shapes = {p.type.name: (p.type.device.name, p.type.tensor_parallel) for p in able}
            rented = {p.type.device.name for p in able}
            offers = [o for region in regions for o in region.offers if o.device in rented]
            fleet = self._solve(able, [1.0] * len(able), offers=offers, shapes=shapes, **options)
            region = next(r for r in regions if (r.cloud, r.region) == (fleet.cloud, fleet.region))
            return self._made(fleet, able, region, error)
        best: tuple[FleetPlan, Region, list[Profile]] | None = None
        failed: InfeasibleError | None = None
        for region in sorted(regions, key=lambda r: self._relaxed(found, r)):
            if best is not None and self._relaxed(found, region) >= best[0].cost_per_hour:
                break
            sold = [
                p
                for p in found
                if not p.refusal and np.isfinite(self.market.price(p.type, region))
            ]
            prices = [self.market.price(p.type, region) for p in sold]
            try:
                fleet = self._solve(sold, prices, limits=self._count_limits(sold), **options)
            except InfeasibleError as error_:
                failed = failed or error_
                continue
            if best is None or fleet.cost_per_hour < best[0].cost_per_hour:
                best = fleet, region, sold
        if best is None:
            raise failed or InfeasibleError("nothing is rented")
        return self._made(best[0], best[2], best[1], error)

    def bound(self, design: Design) -> Relaxed:
        """Return the relaxed fleet of a design, whose cost the exact one is never below.

        Raises:
            InfeasibleError: nothing meets the limits, as for :meth:`plan`. A design that only
                lacks accelerators is found by the exact plan alone.
        """
        found = self.profiles(design)
        self.check(design, found)
        return relax(
            found,
            [self.market.price(p.type) for p in found],
            self.arrival,
            budgets=self._budgets,
            bills=[self.market.bills(p.type) for p in found],
            survive_loss=self.specification.survive_loss,
            one_region=len(self.market.regions) == 1,
        )

    def check(self, design: Design, found: Sequence[Profile]) -> None:
        """Refuse a design that nothing can serve within the limits.

        Raises:
            InfeasibleError: see :func:`archwright.serving.servable.check_servable`.
        """
        check_servable(
            self.find_model(design["model"]),
            design["weights"],
            found,
            self.workload,
            self.specification.limits,
        )

    def bill(self, fixed: Mapping[str, int]) -> float:
        """Return dollars an hour of given instances, whatever they serve."""
        kinds = {k.name: k for k in self.types}
        if self.market.divisible:
            regions = [
                sum(n * self.market.price(kinds[name], region) for name, n in fixed.items())
                for region in self.market.regions
            ]
            return float(min(regions))
        gpus = {name: GpuProfile(1.0, [[1.0]]) for name in fixed}
        shapes = {name: (kinds[name].device.name, kinds[name].tensor_parallel) for name in fixed}
        offers = [o for region in self.market.regions for o in region.offers]
        offers = [o for o in offers if o.device in {device for device, _ in shapes.values()}]
        plan = plan_fleet([[1.0]], gpus, 0.0, fixed=fixed, offers=offers, shapes=shapes)
        return plan.cost_per_hour

    @property
    def _budgets(self) -> dict[str, float]:
        if self.specification.limits.per_bucket:
            return {}
        return {rule.name: rule.budget for rule in self.rules}

    def _solve(
        self, found: Sequence[Profile], prices: Sequence[float], **options: Any
    ) -> FleetPlan:
        fixed = options.pop("fixed")
        names = [p.type.name for p in found]
        if fixed is not None:  # types that cannot serve are no part of the plan
            fixed = {name: count for name, count in fixed.items() if name in names}
        gpus = {}
        for p, price in zip(found, prices, strict=True):
            each = [{n: t[m] for n, t in p.takes.items()} for m in range(len(p.rate))]
            ways = [Way(p.rate[m], each[m]) for m in range(1, len(p.rate))]
            gpus[p.type.name] = GpuProfile(
                price, p.rate[0], each[0] if self._budgets else {}, ways
            )
        return plan_fleet(
            self.workload.shares, gpus, self.rate_per_s,
            fixed=fixed, budgets=self._budgets, **options,
        )  # fmt: skip

    def _made(
        self, fleet: FleetPlan, found: Sequence[Profile], region: Region, error: float
    ) -> Plan:
        counts = np.array([fleet.counts[p.type.name] for p in found], dtype=np.float64)
        if self.market.divisible:
            sizes: dict[str, int] = {}
            for p, n in zip(found, counts, strict=True):
                name = p.type.device.name
                sizes[name] = sizes.get(name, 0) + int(n) * p.type.tensor_parallel
            cheapest = {
                d: min((o for o in region.offers if o.device == d), key=lambda o: o.usd_per_hour)
                for d in sizes
            }
            bill = tuple((cheapest[d], n) for d, n in sizes.items() if n)
        else:
            names = {o.name: o for o in region.offers}
            bill = tuple((names[name], n) for name, n in (fleet.offers or {}).items())
        served = {p.type.name: np.asarray(fleet.shares[p.type.name]) for p in found}
        return Plan(
            fleet=fleet,
            profiles=tuple(found),
            prices=tuple(self.market.price(p.type, region) for p in found),
            bill=bill,
            cloud=region.cloud,
            region=region.region,
            achieved=achieved(found, counts, self.arrival, served),
        )

    def _relaxed(self, found: Sequence[Profile], region: Region) -> float:
        prices = [self.market.price(p.type, region) for p in found]
        return relax(found, prices, self.arrival, budgets=self._budgets).cost_per_hour

    def _count_limits(self, found: Sequence[Profile]) -> list[CountLimit]:
        """The accelerators of one device that can be had, shared by all widths."""
        limits = []
        for name, most in self.market.available.items():
            widths = {
                p.type.name: float(p.type.tensor_parallel)
                for p in found
                if p.type.device.name == name
            }
            if widths:
                limits.append(CountLimit(widths, float(most)))
        return limits

    def _profile_all(
        self, model: str, weights: str, kv: str, max_batch: int, *, error: float
    ) -> tuple[Profile, ...]:
        """Profile every type together, so that no value depends on what was asked before."""
        return tuple(
            profiles(
                self.find_model(model),
                self.types,
                self.workload,
                weights=weights,
                kv=kv,
                max_batch=max_batch,
                limits=self.specification.limits,
                engine=self.engine,
                utilization=self.specification.utilization,
                rate_per_s=self.rate_per_s,
                error=error,
            )
        )

    @cached_property
    def _profiles(self) -> Memo[tuple[Profile, ...]]:
        return Memo(_MOST_PROFILED)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_profiles"}  # workers start afresh
