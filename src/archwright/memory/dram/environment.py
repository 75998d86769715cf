"""The environment ``memory/dram-controller``: which controller serves a trace best.

The space is the one that ArchGym searches: ten parameters of the controller, 28,311,552 designs;
or the coarser grid of its learning agents, 442,368.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.memory.dram.controller import DramController
from archwright.memory.dram.mapping import named_mapping
from archwright.memory.dram.memory import named_memory
from archwright.memory.dram.simulation import DramResult, simulate
from archwright.memory.dram.trace import GENERATED, named_trace
from archwright.search.amounts import amount
from archwright.search.environments import Fidelity, Measurements, Metric, digests
from archwright.search.panels import Bars, Panel
from archwright.search.space import Choice, Integer, Ordinal, Parameter, ParameterSpace
from archwright.specification import from_mapping, option, to_mapping

__all__ = [
    "DramControllerEnvironment",
    "DramControllerSpecification",
    "dram_controller",
    "target_reward",
]

_LEGAL = {field.name: field.metadata["choices"] for field in fields(DramController)}
_SCHEDULERS = {"Fifo": "FIFO", "FrFcfs": "FR-FCFS", "FrFcfsGrp": "FR-FCFS grouped by direction"}
_PAGES = {
    "Open": "an open",
    "OpenAdaptive": "an adaptive open",
    "Closed": "a closed",
    "ClosedAdaptive": "an adaptive closed",
}
_BUFFERS = {"Bankwise": "a bank", "ReadWrite": "a direction", "Shared": "for all"}
_POWERS = (1, 2, 4, 8, 16, 32, 64, 128)
_MEASURED = (
    Metric("power_w", "W", "Average power"),
    Metric("latency_s", "s", "Time of the whole trace, which ArchGym calls latency"),
    Metric("energy_j", "J", "Energy of the whole trace"),
    Metric("bandwidth_bytes_s", "B/s", "Bytes requested over that time", "higher"),
    Metric("mean_request_latency_s", "s", "Mean latency of a request"),
    Metric("p99_request_latency_s", "s", "99th percentile of the latency of a request"),
)
_REWARDS = (
    Metric("reward_power", "", "ArchGym's reward of the power", "higher"),
    Metric("reward_latency", "", "ArchGym's reward of the time of the trace", "higher"),
    Metric("reward_both", "", "Product of the two", "higher"),
)


@dataclass(frozen=True, kw_only=True)
class DramControllerSpecification:
    """What stands fixed while the controller varies.

    The targets are ArchGym's 1 W and 0.1. Its environment for learning agents divides nanoseconds
    by a million, so that 0.1 is a tenth of a millisecond.
    """

    workload: str = option(
        "random", doc="stream, random, cloud-1, cloud-2, or a trace file (.stl)"
    )
    requests: int = option(10_000, low=1, doc="requests of a generated trace")
    trace_seed: int = option(0, low=0, doc="seed of a generated trace")
    memory: str = option(
        "MICRON_1Gb_DDR3-1600_8bit_G", doc="name in the catalogue, or a file (.json)"
    )
    mapping: str = option(
        "row-bank-column", doc="row-bank-column, bank-row-column, or a file (.json)"
    )
    clock_mhz: float | None = option(
        None, unit="MHz", low=1.0, doc="clock of the trace; default: that of the memory"
    )
    grid: str = option(
        "full",
        doc="full: 28,311,552 designs; rl: the 442,368 of ArchGym's learning agents",
        choices=("full", "rl"),
    )
    power_target_w: float = option(1.0, unit="W", doc="target of reward_power")
    latency_target_s: float = option(1e-4, unit="s", doc="target of reward_latency")
    reward_cap: float = option(1000.0, doc="most that a reward can be")


class DramControllerEnvironment:
    """See the module. Build it with :data:`dram_controller`."""

    version = "1"
    deterministic = True
    fidelities: Sequence[Fidelity] = (Fidelity("full"),)
    metrics: Sequence[Metric] = (*_MEASURED, *_REWARDS)

    def __init__(
        self,
        specification: DramControllerSpecification,
        *,
        vary: Mapping[str, Parameter] | None = None,
        folder: Path | None = None,
    ) -> None:
        for name in ("power_target_w", "latency_target_s", "reward_cap"):
            value = getattr(specification, name)
            if not 0 < value < math.inf:
                raise SpecificationError(
                    f"environment.{name}: expected a number above 0, found {value!r}"
                )
        self.specification = specification
        self.folder = folder or Path()
        named, order = specification.memory, specification.mapping
        self.memory = named_memory(named, self.folder)
        self.mapping = named_mapping(order, self.memory, self.folder)
        self.clock_mhz = specification.clock_mhz or self.memory.clock_mhz
        self.trace = named_trace(
            specification.workload,
            self.folder,
            key="environment.workload",
            requests=specification.requests,
            seed=specification.trace_seed,
            capacity_bytes=self.memory.capacity_bytes,
        )
        self.trace.decode(self.memory, self.mapping)  # refuses what does not fit
        files = {name for name in (named, order) if name.endswith(".json")}
        files |= {specification.workload} - set(GENERATED)
        self._digests = digests({name: self.folder / name for name in files})
        self.space = ParameterSpace(_parameters(specification.grid, vary or {}))
        self._check_values()

    def identity(self) -> dict[str, Any]:
        """Return the specification, and digests of the files it names."""
        return {"specification": to_mapping(self.specification), "files": self._digests}

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str = "full",
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Any | None = None,
    ) -> Measurements:
        """Run the trace once a design."""
        del seeds, fidelity, parents, artifacts
        n = len(designs)
        values = np.empty((len(_MEASURED), n))
        cost = np.empty(n)
        for i, design in enumerate(designs):
            started = time.perf_counter()
            result = self.simulate(design)
            values[:, i] = (
                result.average_power_mw * 1e-3,
                result.total_time_ns * 1e-9,
                result.total_energy_pj * 1e-12,
                result.bandwidth_bytes_s,
                result.latency_mean_ns * 1e-9,
                result.latency_percentile_ns(99) * 1e-9,
            )
            cost[i] = time.perf_counter() - started
        metrics = {metric.name: row for metric, row in zip(_MEASURED, values, strict=True)}
        given, cap = self.specification, self.specification.reward_cap
        power = target_reward(metrics["power_w"], given.power_target_w)
        latency = target_reward(metrics["latency_s"], given.latency_target_s)
        metrics |= {
            "reward_power": np.minimum(power, cap),
            "reward_latency": np.minimum(latency, cap),
            "reward_both": np.minimum(power * latency, cap),
        }
        return Measurements(
            metrics=metrics,
            provenance=dict.fromkeys(metrics, "analytic"),
            cost_s=cost,
        )

    def simulate(self, design: Mapping[str, Any]) -> DramResult:
        """Return the whole result of one design."""
        controller = DramController(**design)
        return simulate(self.trace, self.memory, self.mapping, controller, self.clock_mhz)

    def describe(self, design: Mapping[str, Any]) -> str:
        """Return the controller and what it reaches, as a phrase after what was asked."""
        result = self.simulate(design)
        return (
            f"{self.label(design)}: {len(self.trace):,} requests in "
            f"{amount(result.total_time_ns, 'ns')} at {amount(result.total_energy_pj, 'pJ')} "
            f"({amount(result.peak_share, 'share')} of the bus, "
            f"{amount(result.average_power_mw, 'mW')}, mean latency of a request "
            f"{amount(result.latency_mean_ns, 'ns')})"
        )

    def label(self, design: Mapping[str, Any]) -> str:
        """Return the controller in the words of its field.

        >>> environment = dram_controller(requests=100)
        >>> environment.label({**asdict(DramController()), "page_policy": "ClosedAdaptive"})
        'FR-FCFS with an adaptive closed page policy, buffers of 8 a bank, refresh of all banks'
        """
        pages = _PAGES[design["page_policy"]]
        words = [f"{_SCHEDULERS[design['scheduler']]} with {pages} page policy"]
        words.append(
            f"buffers of {design['request_buffer_size']} {_BUFFERS[design['scheduler_buffer']]}"
        )
        if design["arbiter"] != "Simple":
            order = " answered in order" if design["arbiter"] == "Reorder" else ""
            words.append(f"at most {design['max_active_transactions']} in flight{order}")
        if design["resp_queue"] == "Reorder":
            words.append("responses in order")
        refreshed = design["refresh_policy"] == "AllBank"
        words.append("refresh of all banks" if refreshed else "no refresh")
        return ", ".join(words)

    def panels(self, design: Mapping[str, Any]) -> list[Panel]:
        """Return energy by part, what the requests found, and latency percentiles."""
        result = self.simulate(design)
        spent = {k.removesuffix("_pj"): v * 1e-6 for k, v in asdict(result.energy).items()}
        found = {
            "row open": result.row_hits,
            "bank closed": result.row_misses,
            "another row open": result.row_conflicts,
        }
        points = (50.0, 90.0, 95.0, 99.0, 99.9)
        return [
            Bars(
                title="Energy by part",
                labels=list(spent),
                series={"energy": list(spent.values())},
                unit="µJ",
            ),
            Bars(
                title="What requests found",
                labels=list(found),
                series={"requests": [float(count) for count in found.values()]},
            ),
            Bars(
                title="Latency of a request",
                labels=[f"p{point:g}" for point in points],
                series={"latency": [result.latency_percentile_ns(point) for point in points]},
                unit="ns",
            ),
        ]

    def _check_values(self) -> None:
        """Refuse values that the controller does not take, before the first is run."""
        for name, item in self.space.parameters.items():
            if item.when is not None:
                raise SpecificationError(
                    f"vary.{name}: a controller has every parameter; a condition is not possible"
                )
            if not math.isfinite(item.size):
                raise SpecificationError(f"vary.{name}: expected a list or whole numbers")
            ends = item.grid(256) if _LEGAL[name] is None else item.enumerate()
            for value in item.values(ends).tolist():
                try:
                    DramController(**{name: value})
                except SpecificationError as error:
                    raise SpecificationError(f"vary.{name}: {error}") from error


def target_reward(value: npt.ArrayLike, target: float) -> npt.NDArray[np.float64]:
    """Return ArchGym's reward, target / |target − value|; infinite at the target.

    It is two-sided: a design better than its target is punished. ``[goal].combine = "target"`` is
    one-sided unless told otherwise.

    >>> target_reward([1.5, 0.5, 3.0], 1.0)
    array([2. , 2. , 0.5])

    Source: S. Krishnan et al.: ArchGym, ISCA 2023.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(target / np.abs(target - np.asarray(value, dtype=np.float64)))


class _Factory:
    """Find the memory controller that serves a trace of requests best."""

    specification = DramControllerSpecification

    def __call__(
        self,
        *,
        vary: Mapping[str, Parameter] | None = None,
        folder: Path | None = None,
        **options: Any,
    ) -> DramControllerEnvironment:
        """Return the environment.

        Args:
            vary: what varies instead of the defaults; a parameter of one value is fixed.
            folder: what file names are relative to.
            options: fields of :class:`DramControllerSpecification`.

        Raises:
            SpecificationError: an option or a value that is not legal, or parts that do not fit.
        """
        read = from_mapping(DramControllerSpecification, options, where="environment")
        return DramControllerEnvironment(read, vary=vary, folder=folder)

    def configure(
        self, options: Mapping[str, Any], *, vary: Mapping[str, Parameter], folder: Path
    ) -> DramControllerEnvironment:
        """Build the environment of a study file."""
        return self(vary=vary, folder=folder, **options)

    def parameters(self) -> dict[str, Parameter]:
        """Return what varies, with the defaults."""
        return _parameters("full", {})


dram_controller = _Factory()
"""Makes :class:`DramControllerEnvironment`; the registered ``memory/dram-controller``.

>>> small = dram_controller(workload="stream", requests=100)
>>> small.space.size, dram_controller(grid="rl", requests=100).space.size
(28311552, 442368)
>>> drawn = small.space.sample(np.random.default_rng(0), 2)
>>> len(small.evaluate(drawn, seeds=np.zeros(2, np.uint64)))
2
"""


def _parameters(grid: str, vary: Mapping[str, Parameter]) -> dict[str, Parameter]:
    coarse = grid == "rl"
    refreshes = Ordinal(_POWERS[:4]) if coarse else Integer(1, 8)
    default: dict[str, Parameter] = {
        "page_policy": Choice(_LEGAL["page_policy"]),
        "scheduler": Choice(["Fifo", "FrFcfsGrp", "FrFcfs"]),
        "scheduler_buffer": Choice(["Bankwise", "ReadWrite", "Shared"]),
        "request_buffer_size": Ordinal(_POWERS) if coarse else Integer(1, 8),
        "resp_queue": Choice(["Fifo", "Reorder"]),
        "refresh_policy": Choice(["NoRefresh", "AllBank"]),
        "refresh_max_postponed": refreshes,
        "refresh_max_pulledin": refreshes,
        "arbiter": Choice(["Simple", "Fifo", "Reorder"]),
        "max_active_transactions": Ordinal(_POWERS) if coarse else Integer(1, 128),
    }
    for name in vary:
        if name not in default:
            raise SpecificationError(f"vary: {unknown('parameter', name, default)}")
    return {name: vary.get(name, item) for name, item in default.items()}
