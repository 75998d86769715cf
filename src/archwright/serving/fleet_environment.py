"""The environment ``serving/fleet``: which mix of accelerators serves a workload most cheaply.

A design is a model, its weight and KV-cache formats, a batch limit and a set of devices. The inner
exact plan (:func:`archwright.serving.plan_fleet`) then chooses how many instances of which device
and tensor-parallel width to rent. At the fidelity ``bound`` a relaxed plan, which may rent
fractions of instances, gives a cost that the exact one is never below. It solves no integer
program, which is hundreds of times faster where the profiles of a design are kept; where they are
not, making them is most of the time of both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError, unknown
from archwright.formats import kv_format, weight_format
from archwright.hardware import Price, cheapest, device, load_prices
from archwright.hardware.energy import power_label
from archwright.llm import own_scores, transformer
from archwright.llm.inference import read_engine
from archwright.llm.quality import quality
from archwright.provenance import Label
from archwright.search import (
    Choice,
    Fidelity,
    Goal,
    Measurements,
    Metric,
    Ordinal,
    Parameter,
    Real,
)
from archwright.search.environments import digests
from archwright.search.panels import Panel
from archwright.search.space import Design, ParameterSpace
from archwright.search.store.artifacts import Artifacts
from archwright.serving import fleet_panels
from archwright.serving.achieved import Achieved, achieved
from archwright.serving.fleet_bound import BOUNDED, Relaxed, bounds, relax, surely_dominated
from archwright.serving.fleet_specification import FleetSpecification, Today
from archwright.serving.memo import Memo
from archwright.serving.plan import CountLimit, FleetPlan, GpuProfile, plan_fleet
from archwright.serving.profile import InstanceType, Profile, instance_types, profiles
from archwright.serving.servable import check_servable
from archwright.serving.workload import Workload, workload
from archwright.specification import from_mapping, option, to_mapping

__all__ = [
    "FleetEnvironment",
    "FleetSimulation",
    "FleetSpecification",
    "Plan",
    "Today",
    "fleet_environment",
    "simulate_fleet",
]

_MODELS = (
    "Llama-3.1-8B", "Qwen2.5-7B", "Qwen2.5-14B", "Qwen2.5-32B", "Gemma-3-27B", "Llama-3.3-70B",
    "Qwen2.5-72B",
)  # fmt: skip
_METRICS = (
    Metric("cost_usd_per_hour", "$/h", "Cost"),
    Metric("cost_usd_per_million_tokens", "$/M tokens", "Cost per million tokens"),
    Metric("quality", "%", "Quality", "higher"),
    Metric("power_w", "W", "Power"),
    Metric("joules_per_token", "J/token", "Energy per output token"),
    Metric("ttft_p99_s", "s", "P99 TTFT"),
    Metric("tpot_mean_s", "s", "Mean TPOT"),
    Metric("headroom", "share", "Headroom", "higher"),
    Metric("accelerators", "", "Accelerators"),
)
_PROVENANCE = {
    "cost_usd_per_hour": "table",
    "cost_usd_per_million_tokens": "analytic",
    "quality": "table",
    "power_w": "fitted",
    "joules_per_token": "fitted",
    "ttft_p99_s": "fitted",
    "tpot_mean_s": "fitted",
    "headroom": "analytic",
    "accelerators": "analytic",
}

_ENERGY = ("power_w", "joules_per_token")
_INTERVALS = (*_ENERGY, "ttft_p99_s", "tpot_mean_s")
_MOST_PROFILED = 1024  # sets of profiles kept, of about 100 kB each
_NAMED: Mapping[str, Callable[[str], object]] = {
    "model": transformer,
    "weights": weight_format,
    "kv": kv_format,
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of one design: the fleet and what it achieves."""

    fleet: FleetPlan
    profiles: tuple[Profile, ...]
    prices: tuple[float, ...]
    achieved: Achieved

    @property
    def ttft_p99_s(self) -> float:
        """P99 time to first token of the worst bucket in use."""
        return self.achieved.ttft_p99_s.value

    @property
    def tpot_mean_s(self) -> float:
        """Mean time per output token of the worst bucket in use."""
        return self.achieved.tpot_mean_s.value

    def used(self) -> list[int]:
        """Return the indices of the types rented, dearest share of the bill first."""
        counts = list(self.fleet.counts.values())
        rented = [g for g, n in enumerate(counts) if n]
        return sorted(rented, key=lambda g: -counts[g] * self.prices[g])


class FleetEnvironment:
    """See the module. Build it with :func:`fleet_environment`.

    Metrics: cost in dollars an hour and a million tokens (input and output, at the rate planned
    for); quality, a benchmark score times what the formats keep of it; power by the power law at
    the load of each type, and joules per output token; TTFT and TPOT, the worst over the buckets
    and types in use; headroom, the smallest unused share of a type; accelerators rented.

    Fidelities: ``exact``, the whole numbers of instances; ``bound``, the relaxed fleet of
    :mod:`archwright.serving.fleet_bound`, whose costs the exact ones are never below. Quality is
    the same in both; the other metrics are those of the relaxed fleet and bound nothing.
    """

    version = "2"
    deterministic = True
    fidelities: Sequence[Fidelity] = (Fidelity("bound", 0.03), Fidelity("exact"))
    metrics: Sequence[Metric] = _METRICS
    capabilities: Mapping[str, Any] = {"bound": {"fidelity": "bound", "metrics": BOUNDED}}

    def __init__(
        self,
        specification: FleetSpecification,
        *,
        vary: Mapping[str, Parameter] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.specification = specification
        self.folder = folder or Path()
        self.workload: Workload = workload(
            specification.workload, folder=self.folder, time_unit=specification.time_unit
        )
        self.rate_per_s, self.rate_meaning = _rate(specification, self.workload)
        self.devices = tuple(device(name) for name in specification.devices)
        self.engine = read_engine(specification.engine, self.folder)
        self._read_prices()
        self._scores = (
            None
            if specification.scores is None
            else own_scores(self.folder / specification.scores)
        )
        self.space = ParameterSpace(_parameters(vary or {}))
        self._check_values()

    def identity(self) -> dict[str, Any]:
        """Return the specification, and digests of the files it names."""
        named = [self.specification.workload, self.specification.prices, self.specification.scores]
        files = digests(
            {
                name: self.folder / name
                for name in named
                if name is not None and not name.startswith("builtin:")
            }
        )
        if _is_file(self.specification.engine):
            read = json.dumps(to_mapping(self.engine)).encode()
            files[self.specification.engine] = hashlib.sha256(read).hexdigest()
        return {"specification": to_mapping(self.specification), "files": files}

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str = "exact",
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Artifacts | None = None,
    ) -> Measurements:
        """Plan a fleet for each design, or bound its cost.

        Raises:
            SpecificationError: there is no such fidelity.
        """
        del seeds, parents, artifacts
        names = [each.name for each in self.fidelities]
        if fidelity not in names:
            raise SpecificationError(unknown("fidelity", fidelity, names))
        n = len(designs)
        columns = {metric.name: np.full((3, n), np.nan) for metric in _METRICS}
        feasible = np.ones(n, dtype=bool)
        reason: list[str | None] = [None] * n
        violation = np.zeros(n)
        for i, design in enumerate(designs):
            try:
                plan = self.plan(design) if fidelity == "exact" else self.bound(design)
            except InfeasibleError as error:
                feasible[i], reason[i] = False, str(error)
                violation[i] = getattr(error, "violation", np.nan)
                continue
            for name, value in self.measure(plan).items():
                columns[name][0, i] = value
            for name, ends in self._intervals(plan).items():
                columns[name][1:, i] = ends
            kept = self.quality(design)
            columns["quality"][:, i] = kept.value, kept.low, kept.high
        uncertain = ("quality", *_INTERVALS)
        return Measurements(
            metrics={name: column[0] for name, column in columns.items()},
            low={name: columns[name][1] for name in uncertain},
            high={name: columns[name][2] for name in uncertain},
            provenance=_PROVENANCE | dict.fromkeys(_ENERGY, self.power_label),
            feasible=feasible,
            reason=reason,
            violation=violation,
        )

    @property
    def power_label(self) -> Label:
        """How power is known: fitted where that holds of every device that may be rented."""
        labels = {power_label(one) for one in self.devices}
        return "analytic" if "analytic" in labels else "fitted"

    def plan(self, design: Mapping[str, Any]) -> Plan:
        """Return the cheapest fleet for a design.

        Raises:
            InfeasibleError: nothing meets the limits; the message says which binds and by how
                much, and ``violation`` how far it is, relative.
        """
        profiles = self.profiles(design)
        self._check_servable(design, profiles)
        return self._solve(profiles)

    def bound(self, design: Mapping[str, Any]) -> Relaxed:
        """Return the relaxed fleet of a design, whose cost the exact one is never below.

        Raises:
            InfeasibleError: nothing meets the limits, as for :meth:`plan`. A design that only
                lacks accelerators is found by the exact plan alone.
        """
        profiles = self.profiles(design)
        self._check_servable(design, profiles)
        return relax(
            profiles,
            [self.price(p.type) for p in profiles],
            self.arrival,
            survive_loss=self.specification.survive_loss,
        )

    def screen(self, designs: Sequence[Mapping[str, Any]], goal: Goal) -> npt.NDArray[np.bool_]:
        """Return which designs are worth an exact plan for a goal, shape (n,).

        Left out are those that nothing can serve, that miss a limit on quality which others hold,
        and those whose bound is dominated by what rounding up the relaxed fleet of another already
        achieves. All are worth it where the goal looks at what the bound does not bound, or where
        counts are limited or a loss must be survived, so that rounding up promises nothing.

        >>> environment = fleet_environment(rate_per_s=20.0, limits={"ttft_p99_s": 1.0})
        >>> designs = next(iter(environment.space.enumerate())).take(range(48))
        >>> goal = Goal(minimize=["cost_usd_per_hour"], maximize=["quality"])
        >>> bool(environment.screen(designs, goal).all())
        False
        """
        worth = np.ones(len(designs), dtype=bool)
        if self.available or self.specification.survive_loss or not bounds(goal):
            return worth
        least, dearest = np.full((2, len(designs)), np.nan)
        quality = np.full(len(designs), np.nan)
        for i, design in enumerate(designs):
            try:
                found = self.bound(design)
            except InfeasibleError:
                worth[i] = False
                continue
            least[i], dearest[i] = found.cost_per_hour, found.dearest_cost_per_hour
            quality[i] = self.quality(design).value
        return worth & ~surely_dominated(least, dearest, quality, goal)

    @property
    def arrival(self) -> npt.NDArray[np.float64]:
        """Requests/s of each bucket planned for, shape (I, J)."""
        return self.workload.shares * self.rate_per_s

    def profiles(self, design: Mapping[str, Any]) -> tuple[Profile, ...]:
        """Return the profiles of the types that a design may rent."""
        key = tuple(design[name] for name in ("model", "weights", "kv", "max_batch"))
        found = self._profiles.get(key, lambda: self._profile_all(*key))
        if design["devices"] == "all":
            return found
        allowed = design["devices"].split("+")
        return tuple(p for p in found if p.type.device.name in allowed)

    def quality(self, design: Mapping[str, Any]) -> Any:
        """Return the quality of a design with its interval, or why it is unknown."""
        specification = self.specification
        return _quality(
            design["model"], design["weights"], design["kv"], specification.benchmark,
            specification.variant, self._scores,
        )  # fmt: skip

    def measure(self, plan: Plan | Relaxed) -> dict[str, float]:
        """Return the metrics of a plan, quality apart."""
        if isinstance(plan, Plan):
            cost, headroom = plan.fleet.cost_per_hour, plan.fleet.headroom.values()
            smallest = min((h for h in headroom if not np.isnan(h)), default=np.nan)
        else:
            cost, smallest = plan.cost_per_hour, 0.0
        tokens = self.workload.tokens_per_request * self.rate_per_s * 3600
        got = plan.achieved
        return {
            "cost_usd_per_hour": cost,
            "cost_usd_per_million_tokens": cost / tokens * 1e6,
            "power_w": got.power_w.value,
            "joules_per_token": got.power_w.value / self.output_tokens_per_s,
            "ttft_p99_s": got.ttft_p99_s.value,
            "tpot_mean_s": got.tpot_mean_s.value,
            "headroom": smallest,
            "accelerators": float(got.accelerators),
        }

    def _intervals(self, plan: Plan | Relaxed) -> dict[str, tuple[float, float]]:
        got = plan.achieved
        found = {name: getattr(got, name)[1:] for name in ("power_w", "ttft_p99_s", "tpot_mean_s")}
        low, high = (end / self.output_tokens_per_s for end in found["power_w"])
        return found | {"joules_per_token": (low, high)}

    @property
    def output_tokens_per_s(self) -> float:
        """Output tokens a second at the rate planned for."""
        return float((self.workload.shares * self.workload.mean_output).sum() * self.rate_per_s)

    def settings(self) -> list[str]:
        """Return the settings of the scores that this study compares, each once."""
        kept = [
            self.quality({"model": model, "weights": "bf16", "kv": "bf16"})
            for model in _options(self.space, "model")
        ]
        return list(dict.fromkeys(q.setting for q in kept if q.setting))

    # what the report asks

    def label(self, design: Design) -> str:
        """Return a short name of a design."""
        formats = f"{design['weights']}, KV {design['kv']}"
        return f"{design['model']} {formats}, batch {design['max_batch']}"

    def describe(self, design: Design) -> str:
        """Return the answer in a sentence."""
        return fleet_panels.sentence(self, design)

    def panels(self, design: Design) -> list[Panel]:
        """Return the fleet, its load, what binds, prices and today's fleet."""
        return fleet_panels.panels(self, design)

    def assumptions(self, design: Design) -> list[tuple[str, str, str, str]]:
        """Return what the answer stands on, with provenance."""
        return fleet_panels.assumptions(self, design)

    def runner_up(self, design: Design) -> str:
        """Return the second choice and the price at which it would win."""
        return fleet_panels.runner_up(self, design)

    def why_infeasible(self, designs: Sequence[Design]) -> list[str]:
        """Return which limit binds, by how much, and the smallest change that helps."""
        return fleet_panels.why_infeasible(self, designs)

    # inside

    def _solve(
        self,
        profiles: tuple[Profile, ...],
        *,
        fixed: Mapping[str, int] | None = None,
        survive_loss: bool | None = None,
    ) -> Plan:
        kinds = [p.type for p in profiles]
        prices = tuple(self.price(kind) for kind in kinds)
        gpus = {
            kind.name: GpuProfile(price, p.max_rate)
            for kind, price, p in zip(kinds, prices, profiles, strict=True)
        }
        fleet = plan_fleet(
            self.workload.shares,
            gpus,
            self.rate_per_s,
            fixed=fixed,
            limits=self._count_limits(kinds),
            survive_loss=self.specification.survive_loss if survive_loss is None else survive_loss,
        )
        counts = np.array([fleet.counts[kind.name] for kind in kinds], dtype=np.float64)
        return Plan(
            fleet=fleet,
            profiles=profiles,
            prices=prices,
            achieved=achieved(profiles, counts, self.arrival, fleet.assignment),
        )

    def price(self, kind: InstanceType) -> float:
        """Return dollars an hour of one instance, discount included."""
        each = self.prices[kind.device.name].usd_per_hour
        return float(each * kind.tensor_parallel * (1 - self.specification.discount))

    def _count_limits(self, kinds: Sequence[InstanceType]) -> list[CountLimit]:
        """The accelerators of one device that can be had, shared by all widths."""
        limits = []
        for name, most in self.available.items():
            widths = {k.name: float(k.tensor_parallel) for k in kinds if k.device.name == name}
            if widths:
                limits.append(CountLimit(widths, float(most)))
        return limits

    def _profile_all(
        self, model: str, weights: str, kv: str, max_batch: int
    ) -> tuple[Profile, ...]:
        """Profile every type together, so that no value depends on what was asked before."""
        return tuple(
            profiles(
                transformer(model),
                instance_types(self.devices, self.specification.tensor_parallel),
                self.workload,
                weights=weights,
                kv=kv,
                max_batch=max_batch,
                limits=self.specification.limits,
                engine=self.engine,
            )
        )

    @cached_property
    def _profiles(self) -> Memo[tuple[Profile, ...]]:
        return Memo(_MOST_PROFILED)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_profiles"}  # workers start afresh

    def _check_servable(self, design: Mapping[str, Any], profiles: Sequence[Profile]) -> None:
        check_servable(
            transformer(design["model"]),
            design["weights"],
            profiles,
            self.workload,
            self.specification.limits,
        )

    def _read_prices(self) -> None:
        specification = self.specification
        self.available: dict[str, int] = {}
        self.prices: dict[str, Price] = {}
        own: dict[str, Price] = {}
        if specification.prices is not None:
            for row in load_prices(self.folder / specification.prices):
                if specification.region is not None and row.region not in (
                    "",
                    specification.region,
                ):
                    continue
                before = own.get(row.device)
                if before is None or row.usd_per_hour < before.usd_per_hour:
                    own[row.device] = row
            for name, row in own.items():
                if row.available is not None:
                    self.available[name] = row.available
        for one in self.devices:
            price = own.get(one.name)
            if price is None and specification.prices is None:
                price = cheapest(one.name, cloud=specification.cloud, region=specification.region)
            if price is not None:
                self.prices[one.name] = price
        self.unpriced = [d.name for d in self.devices if d.name not in self.prices]
        self.devices = tuple(d for d in self.devices if d.name in self.prices)
        if not self.devices:
            where = specification.prices or specification.cloud or "the catalogue"
            raise SpecificationError(
                f"environment.devices: none of {', '.join(specification.devices)} has a price in "
                f"{where}"
            )

    def _check_values(self) -> None:
        """Refuse values that cannot be used, before anything runs."""
        if not self.specification.tensor_parallel:
            raise SpecificationError("environment.tensor_parallel: expected at least one width")
        if self.specification.discount == 1.0:
            raise SpecificationError("environment.discount: expected below 1, found 1.0")
        names = [d.name for d in self.devices]
        for value in _options(self.space, "devices"):
            for part in [] if value == "all" else str(value).split("+"):
                if part not in names:
                    raise SpecificationError(
                        f"vary.devices: {unknown('device', part, ['all', *names])}"
                    )
        for key, find in _NAMED.items():
            for value in _options(self.space, key):
                _check_name(f"vary.{key}", value, find)
        batches = self.space.parameters["max_batch"]
        if isinstance(batches, Real):
            raise SpecificationError(
                "vary.max_batch: expected whole numbers, found "
                f"{batches.low:g} to {batches.high:g}"
            )
        for value in getattr(batches, "options", (getattr(batches, "low", 1),)):
            _check_whole("vary.max_batch", value, least=1)
        if self.specification.today is not None:
            self._check_today(self.specification.today)

    def _check_today(self, today: Today) -> None:
        known = [k.name for k in instance_types(self.devices, self.specification.tensor_parallel)]
        for name, count in today.fleet.items():
            if name not in known:
                raise SpecificationError(
                    f"environment.today.fleet: {unknown('type', name, known)}"
                )
            _check_whole(f"environment.today.fleet.{name}", count, least=0)
        if not any(today.fleet.values()):
            raise SpecificationError(
                f"environment.today.fleet: expected at least one instance, found "
                f"{dict(today.fleet)}; leave out environment.today where nothing runs"
            )
        for key, find in _NAMED.items():
            _check_name(f"environment.today.{key}", getattr(today, key), find)
        _check_whole("environment.today.max_batch", today.max_batch, least=1)


class _FleetFactory:
    """Plan the cheapest fleet of accelerators that serves a workload within latency limits."""

    specification = FleetSpecification

    def __call__(
        self,
        *,
        vary: Mapping[str, Parameter] | None = None,
        folder: Path | None = None,
        **options: Any,
    ) -> FleetEnvironment:
        """Return the environment.

        >>> environment = fleet_environment(rate_per_s=5.0)
        >>> environment.space.names
        ('model', 'weights', 'kv', 'max_batch', 'devices')
        """
        read = from_mapping(FleetSpecification, options, where="environment")
        return FleetEnvironment(read, vary=vary, folder=folder)

    def configure(
        self, options: Mapping[str, Any], *, vary: Mapping[str, Parameter], folder: Path
    ) -> FleetEnvironment:
        """Build the environment of a study file."""
        return self(vary=vary, folder=folder, **options)

    def parameters(self) -> dict[str, Parameter]:
        """Return what varies, with the defaults."""
        return _parameters({})

    def template(self) -> str:
        """Return a commented study file."""
        return (Path(__file__).parent / "catalogue" / "fleet_study.toml").read_text()


fleet_environment = _FleetFactory()
"""Makes :class:`FleetEnvironment` from keyword options; the registered ``serving/fleet``."""


@dataclass(frozen=True, kw_only=True)
class FleetSimulation(FleetSpecification):
    """One design beside what stands fixed, for ``archwright simulate serving/fleet``."""

    model: str = option("Llama-3.1-8B", doc="the model served")
    weights: str = option("bf16", doc="weight format")
    kv: str = option("bf16", doc="KV-cache format")
    max_batch: int = option(256, low=1, doc="most sequences in the running batch")


class _FleetSimulator:
    """Plan the fleet of one design and print what it costs and achieves."""

    specification = FleetSimulation

    def __call__(self, specification: FleetSimulation, *, folder: Path) -> dict[str, Any]:
        """Return the fleet in words and its metrics.

        Raises:
            InfeasibleError: nothing meets the limits; the message says which binds.
        """
        names = ("model", "weights", "kv", "max_batch")
        design = {name: getattr(specification, name) for name in names} | {"devices": "all"}
        vary: dict[str, Parameter] = {name: Choice([value]) for name, value in design.items()}
        environment = FleetEnvironment(specification, vary=vary, folder=folder)
        plan = environment.plan(design)
        kept = environment.quality(design)
        return {
            "fleet": fleet_panels.fleet_words(plan),
            **environment.measure(plan),
            "quality": kept.value if np.isfinite(kept.value) else None,
            "quality_unknown_because": kept.reason or None,
        }


simulate_fleet = _FleetSimulator()
"""The registered simulator ``serving/fleet``."""


def _parameters(vary: Mapping[str, Parameter]) -> dict[str, Parameter]:
    default: dict[str, Parameter] = {
        "model": Choice(_MODELS),
        "weights": Choice(["bf16", "fp8", "int4_weight"]),
        "kv": Choice(["bf16", "int8"]),
        "max_batch": Ordinal([32, 64, 128, 256]),
        "devices": Choice(["all"]),
    }
    for name in vary:
        if name not in default:
            raise SpecificationError(f"vary: {unknown('parameter', name, default)}")
    return {name: vary.get(name, item) for name, item in default.items()}


def _options(space: ParameterSpace, name: str) -> tuple[Any, ...]:
    return tuple(getattr(space.parameters[name], "options", ()))


def _is_file(name: str) -> bool:
    """Say whether an engine is a file of the user's, not one of the catalogue."""
    return name.endswith(".toml")


def _check_name(key: str, name: Any, find: Callable[[str], object]) -> None:
    if not isinstance(name, str):
        raise SpecificationError(f"{key}: expected a text, found {name!r}")
    try:
        find(name)
    except SpecificationError as error:
        raise SpecificationError(f"{key}: {error}") from None


def _check_whole(key: str, value: Any, *, least: int) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise SpecificationError(
            f"{key}: expected a whole number of at least {least}, found {value!r}"
        )


def _rate(specification: FleetSpecification, shape: Workload) -> tuple[float, str]:
    """Return the rate to plan for, and where it comes from."""
    given = specification.rate_per_s
    users, each = specification.users, specification.requests_per_user_per_hour
    if (users is None) != (each is None):
        raise SpecificationError(
            "environment: users and requests_per_user_per_hour go together; give both, or "
            "rate_per_s"
        )
    if given is not None and users is not None:
        raise SpecificationError("environment: give rate_per_s or users, not both")
    if given is not None:
        rate, meaning = given, "as given"
    elif users is not None and each is not None:
        rate, meaning = users * each / 3600, f"{users:g} users × {each:g} requests an hour"
    else:
        rate, meaning = shape.peak_rate_per_s, "busiest five minutes of the workload"
    rate *= specification.growth
    if not rate > 0:
        raise SpecificationError(f"environment.rate_per_s: expected more than 0, found {rate:g}")
    grown = f", × {specification.growth:g}" if specification.growth != 1 else ""
    return rate, meaning + grown


@lru_cache(maxsize=4096)
def _cached_quality(model: str, weights: str, kv: str, benchmark: str, variant: str) -> Any:
    return quality(model, weights, kv, benchmark, variant)


def _quality(model: str, weights: str, kv: str, benchmark: str, variant: str, scores: Any) -> Any:
    if scores is None:
        return _cached_quality(model, weights, kv, benchmark, variant)
    return quality(model, weights, kv, benchmark, variant, scores=scores)
