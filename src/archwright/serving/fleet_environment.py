"""The environment ``serving/fleet``: which mix of accelerators serves a workload most cheaply.

A design is a model, its weight and KV-cache formats, a batch limit and a set of devices. The inner
exact plan (:func:`archwright.serving.plan_fleet`) then chooses how many instances of which device
and tensor-parallel width to rent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError, unknown
from archwright.formats import kv_format, weight_format
from archwright.hardware import Price, cheapest, device, load_prices
from archwright.llm import own_scores, transformer
from archwright.llm.quality import quality
from archwright.search import Choice, Fidelity, Measurements, Metric, Ordinal, Parameter
from archwright.search.panels import Panel
from archwright.search.space import Design, ParameterSpace
from archwright.search.store.artifacts import Artifacts
from archwright.serving import fleet_panels
from archwright.serving.plan import CountLimit, FleetPlan, GpuProfile, plan_fleet
from archwright.serving.profile import InstanceType, Limits, Profile, instance_types, profile
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
_DEVICES = (
    "L4", "A10G", "L40S", "A100-80GB-SXM", "H100-SXM", "H200-SXM", "B200-SXM", "MI300X",
)  # fmt: skip
_METRICS = (
    Metric("cost_usd_per_hour", "$/h", "Cost"),
    Metric("cost_usd_per_million_tokens", "$/M tokens", "Cost per million tokens"),
    Metric("quality", "%", "Quality", "higher"),
    Metric("power_w", "W", "Power"),
    Metric("ttft_p99_s", "s", "P99 TTFT"),
    Metric("tpot_mean_s", "s", "Mean TPOT"),
    Metric("headroom", "share", "Headroom", "higher"),
    Metric("accelerators", "", "Accelerators"),
)
_PROVENANCE = {
    "cost_usd_per_hour": "table",
    "cost_usd_per_million_tokens": "analytic",
    "quality": "table",
    "power_w": "assumed",
    "ttft_p99_s": "analytic",
    "tpot_mean_s": "analytic",
    "headroom": "analytic",
    "accelerators": "analytic",
}


@dataclass(frozen=True, kw_only=True)
class Today:
    """What runs today, planned as it is for comparison.

    Attributes:
        fleet: instance type to count, such as ``{"H100-SXM x2" = 4}``.
        model, weights, kv, max_batch: what it serves.
    """

    fleet: Mapping[str, int]
    model: str
    weights: str = "bf16"
    kv: str = "bf16"
    max_batch: int = 256


@dataclass(frozen=True, kw_only=True)
class FleetSpecification:
    """What stands fixed in a fleet study; see each field."""

    workload: str = option("builtin:chat", doc="builtin:chat, :code, :long, or a trace file")
    time_unit: str | None = option(
        None, doc="unit of the trace's times", choices=(None, "s", "ms")
    )
    rate_per_s: float | None = option(
        None, unit="requests/s", low=0.0, doc="rate to plan for; default: busiest five minutes"
    )
    users: float | None = option(None, low=0.0, doc="or: number of users")
    requests_per_user_per_hour: float | None = option(None, low=0.0, doc="with users")
    growth: float = option(1.0, low=0.0, doc="factor on the rate")
    limits: Limits = option(factory=Limits, doc="what the fleet must hold")
    devices: tuple[str, ...] = option(_DEVICES, doc="what may be rented")
    tensor_parallel: tuple[int, ...] = option((1, 2, 4, 8), low=1, doc="instance widths")
    cloud: str | None = option(None, doc="prices of this cloud only; default: the cheapest")
    region: str | None = option(None, doc="prices of this region only")
    prices: str | None = option(None, doc="own CSV: device, usd_per_hour, count, region")
    discount: float = option(0.0, low=0.0, high=1.0, doc="share off every price")
    benchmark: str = option("MMLU-Pro", doc="the benchmark that quality means")
    variant: str = option("instruct", doc="instruct or base, never mixed")
    scores: str | None = option(None, doc="own CSV: model, benchmark, score")
    survive_loss: bool = option(False, doc="carry the load after losing any one instance")
    power_utilization: float = option(0.8, low=0.0, high=1.0, doc="assumed share of TDP")
    today: Today | None = option(None, doc="what runs today, for comparison")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of one design: the fleet and what it achieves."""

    fleet: FleetPlan
    profiles: tuple[Profile, ...]
    prices: tuple[float, ...]
    ttft_p99_s: float
    tpot_mean_s: float
    power_w: float
    accelerators: int

    def used(self) -> list[int]:
        """Return the indices of the types rented, dearest share of the bill first."""
        counts = list(self.fleet.counts.values())
        rented = [g for g, n in enumerate(counts) if n]
        return sorted(rented, key=lambda g: -counts[g] * self.prices[g])


class FleetEnvironment:
    """See the module. Build it with :func:`fleet_environment`.

    Metrics: cost in dollars an hour and a million tokens (input and output, at the rate planned
    for); quality, a benchmark score times what the formats keep of it; power, TDP times an assumed
    utilization; TTFT and TPOT, the worst over the buckets and types in use; headroom, the smallest
    unused share of a type; accelerators rented.
    """

    version = "1"
    deterministic = True
    fidelities: Sequence[Fidelity] = (Fidelity("analytic"),)
    metrics: Sequence[Metric] = _METRICS

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
        files = {
            name: hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
            for name in named
            if name is not None and not name.startswith("builtin:")
        }
        return {"specification": to_mapping(self.specification), "files": files}

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str = "analytic",
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Artifacts | None = None,
    ) -> Measurements:
        """Plan a fleet for each design."""
        del seeds, fidelity, parents, artifacts
        n = len(designs)
        values = {metric.name: np.full(n, np.nan) for metric in _METRICS}
        low, high = np.full(n, np.nan), np.full(n, np.nan)
        feasible = np.ones(n, dtype=bool)
        reason: list[str | None] = [None] * n
        violation = np.zeros(n)
        for i, design in enumerate(designs):
            try:
                plan = self.plan(design)
            except InfeasibleError as error:
                feasible[i], reason[i] = False, str(error)
                violation[i] = getattr(error, "violation", np.nan)
                continue
            for name, value in self.measure(plan).items():
                values[name][i] = value
            kept = self.quality(design)
            values["quality"][i], low[i], high[i] = kept.value, kept.low, kept.high
        return Measurements(
            metrics=values,
            low={"quality": low},
            high={"quality": high},
            provenance=_PROVENANCE,
            feasible=feasible,
            reason=reason,
            violation=violation,
        )

    def plan(self, design: Mapping[str, Any]) -> Plan:
        """Return the cheapest fleet for a design.

        Raises:
            InfeasibleError: nothing meets the limits; the message says which binds and by how
                much, and ``violation`` how far it is, relative.
        """
        profiles = self.profiles(design)
        self._check_servable(design, profiles)
        return self._solve(profiles)

    def profiles(self, design: Mapping[str, Any]) -> tuple[Profile, ...]:
        """Return the profiles of the types that a design may rent."""
        allowed = None if design["devices"] == "all" else design["devices"].split("+")
        chosen = [d for d in self.devices if allowed is None or d.name in allowed]
        return tuple(
            self._profile(
                design["model"], kind, design["weights"], design["kv"], design["max_batch"]
            )
            for kind in instance_types(chosen, self.specification.tensor_parallel)
        )

    def quality(self, design: Mapping[str, Any]) -> Any:
        """Return the quality of a design with its interval, or why it is unknown."""
        specification = self.specification
        return _quality(
            design["model"], design["weights"], design["kv"], specification.benchmark,
            specification.variant, self._scores,
        )  # fmt: skip

    def measure(self, plan: Plan) -> dict[str, float]:
        """Return the metrics of a plan, quality apart."""
        cost = plan.fleet.cost_per_hour
        tokens = self.workload.tokens_per_request * self.rate_per_s * 3600
        headroom = [h for h in plan.fleet.headroom.values() if not np.isnan(h)]
        return {
            "cost_usd_per_hour": cost,
            "cost_usd_per_million_tokens": cost / tokens * 1e6,
            "power_w": plan.power_w,
            "ttft_p99_s": plan.ttft_p99_s,
            "tpot_mean_s": plan.tpot_mean_s,
            "headroom": min(headroom, default=np.nan),
            "accelerators": float(plan.accelerators),
        }

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
        ttft, tpot, power, accelerators = 0.0, 0.0, 0.0, 0
        for g, kind in enumerate(kinds):
            count = fleet.counts[kind.name]
            power += count * kind.tensor_parallel * (kind.device.tdp_w or np.nan) if count else 0.0
            accelerators += count * kind.tensor_parallel
            serves = fleet.assignment[:, :, g] > 1e-9
            if count and serves.any():
                first, each = profiles[g].latency(fleet.load[kind.name] / count)
                ttft = max(ttft, float(first[serves].max()))
                tpot = max(tpot, float(each[serves].max()))
        return Plan(
            fleet=fleet,
            profiles=profiles,
            prices=prices,
            ttft_p99_s=ttft,
            tpot_mean_s=tpot,
            power_w=power * self.specification.power_utilization,
            accelerators=accelerators,
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

    def _profile(
        self, model: str, kind: InstanceType, weights: str, kv: str, max_batch: int
    ) -> Profile:
        key = (model, kind.name, weights, kv, max_batch)
        found = self._profiles.get(key)
        if found is None:
            found = self._profiles[key] = profile(
                transformer(model),
                kind,
                self.workload,
                weights=weights,
                kv=kv,
                max_batch=max_batch,
                limits=self.specification.limits,
            )
        return found

    @cached_property
    def _profiles(self) -> dict[tuple[str, str, str, str, int], Profile]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_profiles"}  # workers start afresh

    def _check_servable(self, design: Mapping[str, Any], profiles: Sequence[Profile]) -> None:
        if all(p.refusal for p in profiles):
            short = np.array([p.memory_short for p in profiles])
            best = int(np.nanargmin(short)) if not np.isnan(short).all() else 0
            raise _infeasible(
                f"{design['model']} in {design['weights']} fits no allowed type; nearest is "
                f"{profiles[best].type.name}: {profiles[best].refusal}",
                short[best],
            )
        used = self.workload.shares > 0
        rates = np.stack([p.max_rate for p in profiles])
        stuck = used & (rates <= 0).all(axis=0)
        if not stuck.any():
            return
        ttft = np.stack([p.least_ttft_s for p in profiles])
        tpot = np.stack([p.least_tpot_s for p in profiles])
        limits = self.specification.limits
        over_ttft = ttft / (limits.ttft_p99_s or np.inf) - 1
        over_tpot = tpot / (limits.tpot_mean_s or np.inf) - 1
        over = np.where(stuck, np.maximum(over_ttft, over_tpot).min(axis=0), -np.inf)
        i, j = np.unravel_index(int(np.argmax(over)), over.shape)
        g = int(np.argmin(np.maximum(over_ttft, over_tpot)[:, i, j]))
        what, value, limit = (
            ("P99 TTFT", ttft[g, i, j], limits.ttft_p99_s)
            if over_ttft[g, i, j] >= over_tpot[g, i, j]
            else ("mean TPOT", tpot[g, i, j], limits.tpot_mean_s)
        )
        bucket = self.workload.bucket_name(int(i), int(j))
        positions = transformer(design["model"]).max_position
        context = float(self.workload.mean_input[i, j] + self.workload.mean_output[i, j])
        if context > positions:
            raise _infeasible(
                f"{bucket}: {context:,.0f} tokens are beyond the {positions:,} positions of "
                f"{design['model']}",
                context / positions - 1,
            )
        if limit is None or not np.isfinite(value):
            raise _infeasible(f"{bucket}: no allowed type has memory for one such request", np.nan)
        error = _infeasible(
            f"{bucket}: {what} is at best {value:.3g} s ({profiles[g].type.name}, idle), the "
            f"limit is {limit:g} s",
            float(over[i, j]),
        )
        error.binding = (what, float(value), float(limit))
        raise error

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
        """Refuse names in ``vary`` and ``today`` that do not exist, before anything runs."""
        names = [d.name for d in self.devices]
        for value in _options(self.space, "devices"):
            for part in [] if value == "all" else str(value).split("+"):
                if part not in names:
                    raise SpecificationError(
                        f"vary.devices: {unknown('device', part, ['all', *names])}"
                    )
        for value in _options(self.space, "model"):
            transformer(value)
        for value in _options(self.space, "weights"):
            weight_format(value)
        for value in _options(self.space, "kv"):
            kv_format(value)
        if self.specification.today is not None:
            known = [
                k.name for k in instance_types(self.devices, self.specification.tensor_parallel)
            ]
            for name in self.specification.today.fleet:
                if name not in known:
                    raise SpecificationError(
                        f"environment.today.fleet: {unknown('type', name, known)}"
                    )
            transformer(self.specification.today.model)


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


def _infeasible(text: str, violation: float) -> Any:
    error: Any = InfeasibleError(text)
    error.violation = float(violation)
    error.binding = None
    return error
