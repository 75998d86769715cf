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
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError, unknown
from archwright.formats import kv_format, weight_format
from archwright.hardware import device
from archwright.hardware.devices import device_set
from archwright.hardware.energy import power_label
from archwright.llm import EngineSpec, own_scores
from archwright.llm import engines as engine_names
from archwright.llm.inference import read_engine
from archwright.llm.quality import quality
from archwright.llm.transformers import model_path, read_model
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
from archwright.search.panels import Headline, Panel
from archwright.search.space import Design, ParameterSpace
from archwright.search.store.artifacts import Artifacts
from archwright.serving import fleet_panels
from archwright.serving.fleet_answer import Answer, find_answer, why_infeasible
from archwright.serving.fleet_bound import BOUNDED, Relaxed, bounds, surely_dominated
from archwright.serving.fleet_offers import market
from archwright.serving.fleet_planning import FleetPlanner, Plan
from archwright.serving.fleet_specification import FleetSpecification, Today
from archwright.serving.limits import Rule, rule
from archwright.serving.memo import Memo
from archwright.serving.profile import InstanceType
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
    Metric("cost_usd_per_million_tokens", "$/M tokens", "Blended cost per million tokens"),
    Metric("cost_usd_per_million_input_tokens", "$/M tokens", "Cost per million input tokens"),
    Metric("cost_usd_per_million_output_tokens", "$/M tokens", "Cost per million output tokens"),
    Metric("quality", "%", "Quality", "higher"),
    Metric("power_w", "W", "Power"),
    Metric("joules_per_token", "J/token", "Energy per output token"),
    Metric("headroom", "share", "Headroom", "higher"),
    Metric("accelerators", "", "Accelerators at work"),
    Metric("idle_accelerators", "", "Accelerators rented and idle"),
)
_LATENCIES = ("ttft_mean_s", "ttft_p99_s", "tpot_mean_s", "tpot_p99_s", "e2e_p99_s")
"""Latencies that are always measured, beside those that are limited."""
_PROVENANCE = {
    "cost_usd_per_hour": "table",
    "cost_usd_per_million_tokens": "analytic",
    "cost_usd_per_million_input_tokens": "analytic",
    "cost_usd_per_million_output_tokens": "analytic",
    "quality": "table",
    "power_w": "fitted",
    "joules_per_token": "fitted",
    "headroom": "analytic",
    "accelerators": "analytic",
    "idle_accelerators": "analytic",
}
_VARIANTS = ("instruct", "base")
_ENERGY = ("power_w", "joules_per_token")
_DESIGN = ("model", "weights", "kv", "max_batch", "devices")


class FleetEnvironment:
    """See the module. Build it with :func:`fleet_environment`.

    Metrics: cost in dollars an hour and a million tokens (blended, and apart: each pays for the
    time that prompts and decode steps take); quality, a benchmark score times what the formats
    keep of it; power by the power law at the load of each type, and joules per output token;
    latencies over all requests, those that are limited among them, with the chance that each
    limit holds; headroom, the smallest unused share of a type; accelerators at work and idle.

    Fidelities: ``exact``, whole offers and instances; ``bound``, the relaxed fleet of
    :mod:`archwright.serving.fleet_bound`, whose costs the exact ones are never below. Quality is
    the same in both; the other metrics are those of the relaxed fleet and bound nothing.
    """

    version = "3"
    deterministic = True
    fidelities: Sequence[Fidelity] = (Fidelity("bound", 0.03), Fidelity("exact"))
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
        if not (specification.variant == "base" or specification.variant.startswith("instruct")):
            raise SpecificationError(
                f"environment.variant: {unknown('variant', specification.variant, _VARIANTS)}"
            )
        for key in ("devices", "kinds", "tensor_parallel"):
            if not getattr(specification, key):
                what = {"tensor_parallel": "width", "kinds": "kind"}.get(key, "device")
                raise SpecificationError(f"environment.{key}: expected at least one {what}")
        if specification.discount == 1.0:
            raise SpecificationError("environment.discount: expected below 1, found 1.0")
        self.workload: Workload = workload(
            specification.workload, folder=self.folder, time_unit=specification.time_unit
        )
        self.rate_per_s, self.rate_meaning = _rate(specification, self.workload)
        self.latencies: tuple[Rule, ...] = (
            *specification.limits.rules,
            *(rule(n) for n in _LATENCIES if getattr(specification.limits, n) is None),
        )
        self.metrics: Sequence[Metric] = (
            *_METRICS,
            *(Metric(r.name, "s", r.words[:1].upper() + r.words[1:]) for r in self.latencies),
            *(
                Metric(f"chance_{r.name}", "share", f"Chance that {r.words} holds", "higher")
                for r in specification.limits.rules
            ),
        )
        devices = list(dict.fromkeys(device(name).name for name in specification.devices))
        self.market = market(specification, [device(name) for name in devices], self.folder)
        self.planner = FleetPlanner(
            specification=specification,
            workload=self.workload,
            rate_per_s=self.rate_per_s,
            market=self.market,
            engine=read_engine(specification.engine, self.folder),
            find_model=partial(read_model, folder=self.folder),
        )
        self._scores = (
            None
            if specification.scores is None
            else own_scores(self.folder / specification.scores)
        )
        self.space = ParameterSpace(_parameters(vary or {}))
        self._check_values()

    def identity(self) -> dict[str, Any]:
        """Return the specification, and digests of the files it names."""
        specification = self.specification
        named = [specification.workload, specification.prices, specification.scores]
        files = digests(
            {
                name: self.folder / name
                for name in named
                if name is not None and not name.startswith("builtin:")
            }
        )
        if _is_file(specification.engine):
            read = json.dumps(to_mapping(self.planner.engine)).encode()
            files[specification.engine] = hashlib.sha256(read).hexdigest()
        today = () if specification.today is None else (specification.today.model,)
        for name in (*_options(self.space, "model"), *today):
            if (path := model_path(name, self.folder)) is not None:
                files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"specification": to_mapping(specification), "files": files}

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
        columns = {metric.name: np.full((3, n), np.nan) for metric in self.metrics}
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
        timed = [each.name for each in self.latencies]
        uncertain = ("quality", *_ENERGY, *timed)
        chances = [f"chance_{r.name}" for r in self.planner.rules]
        labels = dict.fromkeys([*timed, *chances], "fitted")
        return Measurements(
            metrics={name: column[0] for name, column in columns.items()},
            low={name: columns[name][1] for name in uncertain},
            high={name: columns[name][2] for name in uncertain},
            provenance=_PROVENANCE | labels | dict.fromkeys(_ENERGY, self.power_label),
            feasible=feasible,
            reason=reason,
            violation=violation,
        )

    @property
    def power_label(self) -> Label:
        """How power is known: fitted where that holds of every device that may be rented."""
        labels = {power_label(one) for one in self.market.devices}
        return "analytic" if "analytic" in labels else "fitted"

    def plan(self, design: Mapping[str, Any]) -> Plan:
        """Return the cheapest fleet for a design.

        Raises:
            InfeasibleError: nothing meets the limits; the message says which binds and by how
                much, and ``violation`` how far it is, relative.
        """
        return self._plans.get(self._key(design), lambda: self.planner.plan(design))

    def bound(self, design: Mapping[str, Any]) -> Relaxed:
        """Return the relaxed fleet of a design, whose cost the exact one is never below.

        Raises:
            InfeasibleError: nothing meets the limits, as for :meth:`plan`. A design that only
                lacks accelerators is found by the exact plan alone.
        """
        return self.planner.bound(design)

    def screen(self, designs: Sequence[Mapping[str, Any]], goal: Goal) -> npt.NDArray[np.bool_]:
        """Return which designs are worth an exact plan for a goal, shape (n,).

        Left out are those that nothing can serve, that miss a limit on quality which others hold,
        and those whose bound is dominated by what a fleet of one type of another already costs.
        All are worth it where the goal looks at what the bound does not bound, or where counts
        are limited or a loss must be survived, so that a fleet of one type promises nothing.

        >>> environment = fleet_environment(rate_per_s=20.0, limits={"ttft_p99_s": 1.0})
        >>> designs = next(iter(environment.space.enumerate())).take(range(48))
        >>> goal = Goal(minimize=["cost_usd_per_hour"], maximize=["quality"])
        >>> bool(environment.screen(designs, goal).all())
        False
        """
        worth = np.ones(len(designs), dtype=bool)
        scarce = any(
            o.available is not None for region in self.market.regions for o in region.offers
        )
        if scarce or self.specification.survive_loss or not bounds(goal):
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

    def quality(self, design: Mapping[str, Any]) -> Any:
        """Return the quality of a design with its interval, or why it is unknown."""
        specification = self.specification
        called = design["model"]
        given = model_path(called, self.folder) is not None
        return _quality(
            self.planner.find_model(called).name if given else called,
            design["weights"],
            design["kv"],
            specification.benchmark,
            specification.variant,
            self._scores,
            called,
        )

    def measure(self, plan: Plan | Relaxed) -> dict[str, float]:
        """Return the metrics of a plan, quality apart."""
        got = plan.achieved
        found = {
            "cost_usd_per_hour": plan.cost_per_hour,
            **self._per_million(plan.cost_per_hour, got.prefill_share),
            "power_w": got.power_w.value,
            "joules_per_token": got.power_w.value / self.output_tokens_per_s,
            "headroom": 0.0,
            "accelerators": float(got.accelerators),
            "idle_accelerators": 0.0,
        }
        found |= {each.name: got.value(each) for each in self.latencies}
        if isinstance(plan, Plan):
            rented = sum(offer.accelerators * count for offer, count in plan.bill)
            found["headroom"] = plan.headroom
            found["idle_accelerators"] = float(rented - got.accelerators)
            found |= {f"chance_{each.name}": got.chance(each) for each in self.planner.rules}
        return found

    def _per_million(self, cost: float, prefill_share: float) -> dict[str, float]:
        """Return dollars a million tokens; input pays for prefill, output for decode."""
        hour = self.rate_per_s * 3600 / 1e6
        inputs = float((self.workload.shares * self.workload.mean_input).sum()) * hour
        outputs = float((self.workload.shares * self.workload.mean_output).sum()) * hour
        return {
            "cost_usd_per_million_tokens": cost / (inputs + outputs),
            "cost_usd_per_million_input_tokens": cost * prefill_share / inputs,
            "cost_usd_per_million_output_tokens": cost * (1.0 - prefill_share) / outputs,
        }

    def _intervals(self, plan: Plan | Relaxed) -> dict[str, tuple[float, float]]:
        got = plan.achieved
        found: dict[str, tuple[float, float]] = {"power_w": (got.power_w.low, got.power_w.high)}
        low, high = (end / self.output_tokens_per_s for end in found["power_w"])
        found["joules_per_token"] = low, high
        if isinstance(plan, Plan):
            for each in self.latencies:
                _, *ends = got.interval(each)
                found[each.name] = ends[0], ends[1]
        return found

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

    @property
    def other_engines(self) -> list[str]:
        """Names of the engines of the catalogue that this study does not run."""
        return [name for name in engine_names() if name != self.planner.engine.name]

    def find_engine(self, name: str) -> EngineSpec:
        """Return an engine by name."""
        return read_engine(name, self.folder)

    def same_model(self, design: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the other designs of the space that serve the same model."""
        names = [name for name in _DESIGN if name != "model"]
        every = itertools.product(*(_options(self.space, name) for name in names))
        found = [
            {"model": design["model"], **dict(zip(names, values, strict=True))} for values in every
        ]
        return [other for other in found if self._key(other) != self._key(design)]

    def label(self, design: Design) -> str:
        """Return a short name of a design."""
        formats = f"{design['weights']}, KV {design['kv']}"
        return f"{design['model']} {formats}, batch {design['max_batch']}"

    def family(self, design: Design) -> str:
        """Return what designs have in common that are named once: the model."""
        return str(design["model"])

    def lacks(self, design: Design) -> str:
        """Say what a design without a quality lacks, after its model's name."""
        benchmark = self.specification.benchmark
        plain = self.quality({**design, "weights": "bf16", "kv": "bf16"})
        if not np.isfinite(plain.value):
            return f"has no {benchmark} score"
        return f"nobody measured {benchmark} of it in {design['weights']} with KV {design['kv']}"

    def solved(self, design: Mapping[str, Any]) -> Answer:
        """Return everything that is said about a design, solved once."""
        return self._answers.get(self._key(design), lambda: find_answer(self, design))

    def answer(self, design: Design) -> dict[str, Any]:
        """Return the answer as plain data, for programs."""
        return self.solved(design).to_json()

    def describe(self, design: Design) -> str:
        """Return the answer in a sentence."""
        return fleet_panels.sentence(self.solved(design))

    def headline(self, design: Design) -> Headline:
        """Return what decides: limits with their doubt, dollars, and what else there is."""
        return fleet_panels.headline(self.solved(design))

    def panels(self, design: Design) -> list[Panel]:
        """Return nodes, load, who serves what, what binds, prices and today's fleet."""
        return fleet_panels.panels(self.solved(design))

    def assumptions(self, design: Design) -> list[tuple[str, str, str, str]]:
        """Return what the answer stands on, with provenance."""
        return fleet_panels.assumptions(self.solved(design))

    def runner_up(self, design: Design) -> str:
        """Return the second choice and the price at which it would win."""
        return self.solved(design).runner_up

    def why_infeasible(self, designs: Sequence[Design]) -> list[str]:
        """Return which limit binds, by how much, and the smallest change that helps."""
        return why_infeasible(self, designs)

    # inside

    @staticmethod
    def _key(design: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(design[name] for name in _DESIGN)

    @cached_property
    def _plans(self) -> Memo[Plan]:
        return Memo(256)

    @cached_property
    def _answers(self) -> Memo[Answer]:
        return Memo(16)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("_plans", "_answers")
        return {k: v for k, v in self.__dict__.items() if k not in kept}  # workers start afresh

    def _check_values(self) -> None:
        """Refuse values that cannot be used, before anything runs."""
        names = [d.name for d in self.market.devices]
        for value in _options(self.space, "devices"):
            _check_name("vary.devices", value, partial(device_set, among=names))
        for key, find in self._named.items():
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

    @property
    def _named(self) -> Mapping[str, Callable[[str], object]]:
        return {"model": self.planner.find_model, "weights": weight_format, "kv": kv_format}

    def for_goal(self, goal: Goal) -> FleetEnvironment:
        """Return the environment that plans for the chances that a goal asks of the limits."""
        asked = [
            least
            for rule in self.planner.rules
            for name, least in goal.chances()
            if name == rule.name
        ]
        confidence = min(max([self.specification.confidence, *asked]), 0.999)
        if confidence <= self.specification.confidence:
            return self
        specification = replace(self.specification, confidence=confidence)
        vary = self.space.parameters
        return FleetEnvironment(specification, vary=vary, folder=self.folder)

    def _check_today(self, today: Today) -> None:
        for name, count in today.fleet.items():
            _check_whole(f"environment.today.fleet.{name}", count, least=0)
        if not any(today.fleet.values()):
            raise SpecificationError(
                f"environment.today.fleet: expected at least one instance, found "
                f"{dict(today.fleet)}; leave out environment.today where nothing runs"
            )
        for key, find in self._named.items():
            _check_name(f"environment.today.{key}", getattr(today, key), find)
        _check_whole("environment.today.max_batch", today.max_batch, least=1)
        assert self.today_planner is not None  # which refuses what nobody rents

    @cached_property
    def today_fleet(self) -> dict[str, int]:
        """What runs today: name of an instance type to its number."""
        today = self.specification.today
        found: dict[str, int] = {}
        for name, count in ({} if today is None else today.fleet).items():
            if count:
                kind = _instance_type(name).name
                found[kind] = found.get(kind, 0) + count
        return found

    @cached_property
    def today_planner(self) -> FleetPlanner | None:
        """The planner of what runs today, whose devices and widths may be others.

        Where the study's cloud does not rent all of it, what it costs elsewhere is compared.
        """
        today = self.specification.today
        if today is None:
            return None
        kinds = [_instance_type(name) for name, count in today.fleet.items() if count]
        changed = replace(
            self.specification,
            devices=tuple(dict.fromkeys(k.device.name for k in kinds)),
            tensor_parallel=tuple(sorted({k.tensor_parallel for k in kinds})),
            survive_loss=False,
            confidence=0.5,
        )
        devices = [device(name) for name in changed.devices]
        problem: Exception | None = None
        for place in (changed, replace(changed, cloud=None, region=None)):
            try:
                planner = self.planner.changed(
                    specification=changed, market=market(place, devices, self.folder)
                )
                planner.bill(self.today_fleet)
            except (SpecificationError, InfeasibleError) as error:
                problem = problem or error
                continue
            return planner
        text = str(problem).partition(": ")[2] if ": " in str(problem) else str(problem)
        raise SpecificationError(f"environment.today.fleet: {text or problem}")


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
            "offers": plan.offers,
            "cloud": plan.cloud,
            "region": plan.region,
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
        "kv": Choice(["bf16", "fp8"]),
        "max_batch": Ordinal([32, 64, 128, 256]),
        "devices": Choice(["all"]),
    }
    for name in vary:
        if name not in default:
            raise SpecificationError(f"vary: {unknown('parameter', name, default)}")
    return {name: vary.get(name, item) for name, item in default.items()}


def _options(space: ParameterSpace, name: str) -> tuple[Any, ...]:
    return tuple(getattr(space.parameters[name], "options", ()))


def _instance_type(name: str) -> InstanceType:
    """Return the instance type of a name, such as ``H100-SXM x2``; aliases of devices hold."""
    head, _, width = name.rpartition(" x")
    if not head or not width.isdigit() or int(width) < 1:
        head, width = name, "1"
    try:
        return InstanceType(device=device(head), tensor_parallel=int(width))
    except SpecificationError as error:
        raise SpecificationError(f"environment.today.fleet: {error}") from None


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


def _quality(
    model: str, weights: str, kv: str, benchmark: str, variant: str, scores: Any, called: str
) -> Any:
    if scores is None:
        return _cached_quality(model, weights, kv, benchmark, variant)
    return quality(model, weights, kv, benchmark, variant, scores=scores, called=[called])
