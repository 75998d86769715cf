"""Environments: what a design is measured by.

An environment is normally *generated* from a simulator with :func:`environment`; it is written by
hand only where batching or an inner exact solve needs it.
"""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from archwright.errors import EnvironmentFault, InfeasibleError, SpecificationError, unknown
from archwright.search.parameters import parameter
from archwright.search.space import ParameterSpace, Space
from archwright.search.store.artifacts import Artifacts
from archwright.specification import from_mapping, read_path, replace_paths, to_mapping

__all__ = [
    "Environment",
    "Fidelity",
    "Measurements",
    "Metric",
    "SimulatorEnvironment",
    "check_measurements",
    "environment",
    "make_environment",
]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A measured quantity.

    Attributes:
        name: SI name with its unit, such as ``energy_j``.
        unit: unit as people read it.
        meaning: one sentence.
        better: which direction is better.
    """

    name: str
    unit: str = ""
    meaning: str = ""
    better: Literal["lower", "higher"] = "lower"


@dataclass(frozen=True)
class Fidelity:
    """A way of measuring, with its cost relative to the others."""

    name: str
    relative_cost: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What n designs measured.

    Attributes:
        metrics: name to n values; NaN where infeasible or unknown.
        low: name to lower ends of intervals, for the metrics that have them.
        high: name to upper ends.
        provenance: name to label (``measured``, ``table``, ``fitted``, ``analytic``, …).
        feasible: n booleans; None means all.
        reason: n sentences for infeasible designs; None elsewhere.
        violation: how far an infeasible design is from feasible, relative (0.2 = 20 % over its
            limit); NaN or None where the environment cannot tell.
        cost_s: n costs in seconds of what was simulated, where the environment counts them.
        artifacts: name to n digests of the files the designs left; filled in by the executor.
    """

    metrics: Mapping[str, Floats]
    low: Mapping[str, Floats] = field(default_factory=dict)
    high: Mapping[str, Floats] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    feasible: npt.NDArray[np.bool_] | None = None
    reason: Sequence[str | None] | None = None
    violation: Floats | None = None
    cost_s: Floats | None = None
    artifacts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.metrics.values())))

    @property
    def is_feasible(self) -> npt.NDArray[np.bool_]:
        """The n booleans, all true where the environment gave none."""
        return np.ones(len(self), dtype=bool) if self.feasible is None else self.feasible

    def take(self, rows: slice | npt.NDArray[np.integer[Any]]) -> Measurements:
        """Return the measurements of some rows."""

        def pick(columns: Mapping[str, Any]) -> dict[str, Any]:
            return {name: np.asarray(column)[rows] for name, column in columns.items()}

        def entries(values: Sequence[str | None]) -> list[str | None]:
            at = range(len(values))[rows] if isinstance(rows, slice) else rows.tolist()
            return [values[i] for i in at]

        return Measurements(
            metrics=pick(self.metrics),
            low=pick(self.low),
            high=pick(self.high),
            provenance=self.provenance,
            feasible=self.is_feasible[rows],
            reason=None if self.reason is None else entries(self.reason),
            violation=None if self.violation is None else self.violation[rows],
            artifacts={name: entries(digests) for name, digests in self.artifacts.items()},
        )


@runtime_checkable
class Environment(Protocol):
    """The contract of an environment.

    Attributes:
        space: what may vary.
        metrics: what is measured.
        version: changes whenever the same design and seed may measure differently.
        deterministic: the seed has no influence; repeats are then not evaluated again.
        fidelities: ways of measuring, the truest last.

    An environment may also offer ``panels(design) -> list[Panel]``, ``describe(design) -> str``
    (the answer in a sentence), ``why_infeasible(designs) -> list[str]``, ``identity() -> dict``
    (plain data that, with ``version``, says that two environments are the same) and ``artifacts``
    (names of the files that a trial leaves for those that inherit from it, such as weights).
    """

    @property
    def space(self) -> Space: ...
    @property
    def metrics(self) -> Sequence[Metric]: ...
    @property
    def version(self) -> str: ...
    @property
    def deterministic(self) -> bool: ...
    @property
    def fidelities(self) -> Sequence[Fidelity]: ...

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str,
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Artifacts | None = None,
    ) -> Measurements:
        """Measure designs, one seed each.

        Infeasible is an answer with a reason; a broken environment raises. ``parents`` (trial
        numbers, -1 for none) say whom each inherits from; ``artifacts.read(row, name)`` gives
        what the parent of a design left (None without one), ``artifacts.write(row, name, data)``
        leaves something itself. Both are None where nothing is inherited or kept.
        """


class SimulatorEnvironment:
    """An environment that varies paths of one composed specification. See :func:`environment`."""

    fidelities: Sequence[Fidelity] = (Fidelity("full"),)

    def __init__(
        self,
        simulate: Callable[..., Any],
        *,
        base: Any,
        vary: Mapping[str, Any],
        metrics: Sequence[Metric],
        require: Sequence[str] = (),
        version: str = "1",
        deterministic: bool | None = None,
        folder: Path = Path(),
    ) -> None:
        if not metrics:
            raise SpecificationError("metrics: an environment needs at least one")
        self._simulate = simulate
        taken = inspect.signature(simulate).parameters
        self._seeded = "seed" in taken
        bound = getattr(simulate, "keywords", {})  # of a functools.partial
        named = taken.get("folder")
        self._placed = (
            named is not None and named.kind is named.KEYWORD_ONLY and "folder" not in bound
        )
        self.base = base
        self.folder = folder
        for path in vary:
            read_path(base, path)
        self.space = ParameterSpace(
            {path: parameter(item, where=path) for path, item in vary.items()}, require=require
        )
        self.metrics = tuple(metrics)
        self.version = version
        self.deterministic = not self._seeded if deterministic is None else deterministic

    def identity(self) -> dict[str, Any]:
        """Return plain data that tells this environment from others."""
        simulate = self._simulate
        name = getattr(simulate, "__qualname__", type(simulate).__qualname__)
        return {"simulate": f"{simulate.__module__}:{name}", "base": to_mapping(self.base)}

    def configure(
        self, options: Mapping[str, Any], *, vary: Mapping[str, Any], folder: Path
    ) -> Self:
        """Return a copy with fixed fields and varied paths as a study file gives them.

        It is of the same class, so a subclass with another constructor overrides this.

        Args:
            options: fields that are fixed.
            vary: path to parameter; without any, what varied before.
            folder: what a simulator with a parameter ``folder`` takes file names relative to.
        """
        merged = _deep_merge(to_mapping(self.base), options)
        base = from_mapping(type(self.base), merged, where="[environment]")
        return type(self)(
            self._simulate,
            base=base,
            vary=vary or self.space.parameters,
            metrics=self.metrics,
            require=[rule.text for rule in self.space.require] if not vary else (),
            version=self.version,
            deterministic=self.deterministic,
            folder=folder,
        )

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str = "full",
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Artifacts | None = None,
    ) -> Measurements:
        """Run the simulator for each design."""
        del fidelity, parents, artifacts
        n = len(designs)
        names = [metric.name for metric in self.metrics]
        columns = {name: np.full(n, np.nan) for name in names}
        ends: dict[str, npt.NDArray[np.float64]] = {}
        feasible = np.ones(n, dtype=bool)
        reason: list[str | None] = [None] * n
        cost = np.zeros(n)
        specifications = [self._specification(design) for design in designs]
        for i, (result, seconds) in enumerate(self._simulated(specifications, seeds)):
            cost[i] = seconds
            if isinstance(result, InfeasibleError):
                feasible[i], reason[i] = False, str(result)
                continue
            for name in names:
                columns[name][i] = _read_metric(result, name)
                for end in (f"{name}.low", f"{name}.high"):
                    if isinstance(result, Mapping) and end in result:
                        ends.setdefault(end, np.full(n, np.nan))[i] = result[end]
        low, high = (
            {name: ends[f"{name}.{end}"] for name in names if f"{name}.{end}" in ends}
            for end in ("low", "high")
        )
        return Measurements(
            metrics=columns, low=low, high=high, feasible=feasible, reason=reason, cost_s=cost
        )

    def _specification(self, design: Mapping[str, Any]) -> Any:
        """Return the specification of a design; what is inactive stays as in the base."""
        active = {path: value for path, value in design.items() if value is not None}
        return replace_paths(self.base, active)

    def _simulated(
        self, specifications: Sequence[Any], seeds: npt.NDArray[np.uint64]
    ) -> Iterator[tuple[Any, float]]:
        """Yield the result of each, or why there is none, and the seconds it took.

        A subclass that can run several at once overrides this.
        """
        for specification, seed in zip(specifications, seeds, strict=True):
            started = time.perf_counter()
            extra: dict[str, Any] = {"seed": int(seed)} if self._seeded else {}
            if self._placed:
                extra["folder"] = self.folder
            try:
                result = self._simulate(specification, **extra)
            except InfeasibleError as error:
                result = error
            yield result, time.perf_counter() - started


def environment(
    simulate: Callable[..., Any],
    *,
    base: Any,
    vary: Mapping[str, Any],
    metrics: Sequence[Metric],
    require: Sequence[str] = (),
    version: str = "1",
) -> SimulatorEnvironment:
    """Make an environment from a simulator.

    >>> from dataclasses import dataclass
    >>> from archwright.search import Integer, Metric, environment
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Cache:
    ...     ways: int = 4
    >>> def simulate(cache):
    ...     return {"latency_ns": 1.0 + cache.ways / 8, "miss_rate": 1.0 / cache.ways}
    >>> cache = environment(simulate, base=Cache(), vary={"ways": Integer(1, 16)},
    ...                     metrics=[Metric("latency_ns"), Metric("miss_rate")])
    >>> cache.space.size
    16

    Args:
        simulate: ``simulate(specification) -> result``, with ``*, seed`` where it draws and
            ``*, folder`` where the specification names files, which are relative to it. The
            result is an object with an attribute a metric, or a mapping, which may also hold
            the ends of a metric's 90 % interval as ``NAME.low`` and ``NAME.high``. It raises
            :class:`~archwright.errors.InfeasibleError` where a design cannot be built.
        base: the specification whose paths vary, a frozen dataclass.
        vary: dotted path to parameter.
        metrics: what is read from the result.
        require: arithmetic limits between the varied paths.
        version: raise it whenever results may change.
    """
    return SimulatorEnvironment(
        simulate, base=base, vary=vary, metrics=metrics, require=require, version=version
    )


def make_environment(
    target: Any, options: Mapping[str, Any], *, vary: Mapping[str, Any], folder: Path, name: str
) -> Environment:
    """Build an environment from what a study names and the rest of its table.

    ``target`` is an object with ``configure(options, vary=, folder=)``, a class or function
    taking the options as keywords, or a finished environment (then without options).

    Raises:
        SpecificationError: an option the target does not take, or no environment.
    """
    varied = {path: parameter(item, where=f"vary.{path}") for path, item in vary.items()}
    if hasattr(target, "configure"):
        made = target.configure(options, vary=varied, folder=folder)
    elif callable(target) and not (
        isinstance(target, Environment) and not inspect.isclass(target)
    ):
        keywords = dict(options) | ({"vary": varied} if varied else {})
        accepted = inspect.signature(target).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
            for key in keywords:
                if key not in accepted:
                    raise SpecificationError(f"[environment]: {unknown('key', key, accepted)}")
        try:
            made = target(**keywords)
        except TypeError as error:
            raise SpecificationError(f"environment {name!r}: {error}") from error
    else:
        made = target
        if options or varied:
            key = next(iter([*options, *(f"vary.{path}" for path in varied)]))
            raise SpecificationError(f"environment {name!r} takes no options, found {key!r}")
    if not isinstance(made, Environment):
        raise SpecificationError(
            f"environment {name!r} is a {type(made).__name__} and lacks part of the contract: "
            "space, metrics, version, deterministic, fidelities, evaluate"
        )
    return made


def check_measurements(result: Any, n: int, metrics: Sequence[Metric]) -> Measurements:
    """Check what an environment returned, so that a broken one is found at once.

    Raises:
        EnvironmentFault: the result breaks the contract; the message says where.
    """
    if not isinstance(result, Measurements):
        raise EnvironmentFault(f"evaluate returned a {type(result).__name__}, not Measurements")
    names = [metric.name for metric in metrics]
    for name in names:
        if name not in result.metrics:
            raise EnvironmentFault(f"evaluate returned no metric {name!r}")
    for name in result.metrics:
        if name not in names:
            raise EnvironmentFault(f"evaluate returned the {unknown('metric', name, names)}")
    columns = {**result.metrics, "feasible": result.is_feasible}
    for name, column in columns.items():
        if np.shape(column) != (n,):
            raise EnvironmentFault(
                f"evaluate returned {name!r} of shape {np.shape(column)} for {n} designs"
            )
    if not all(np.issubdtype(np.asarray(c).dtype, np.number) for c in result.metrics.values()):
        raise EnvironmentFault("evaluate returned a metric that is not numeric")
    if result.feasible is not None and not result.feasible.all():
        reasons = result.reason
        for i in np.flatnonzero(~result.feasible).tolist():
            if reasons is None or not reasons[i]:
                raise EnvironmentFault(f"design {i} of the batch is infeasible without a reason")
    return result


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return name to SHA-256: what the identity of an environment says of the files it names."""
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}


def _read_metric(result: Any, name: str) -> float:
    if isinstance(result, Mapping):
        if name not in result:
            raise EnvironmentFault(f"the simulator's result: {unknown('metric', name, result)}")
        return float(result[name])
    if not hasattr(result, name):
        known = (
            [f.name for f in dataclasses.fields(result)]
            if dataclasses.is_dataclass(result)
            else vars(result)
        )
        raise EnvironmentFault(f"the simulator's result: {unknown('metric', name, known)}")
    return float(getattr(result, name))


def _deep_merge(base: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        inner = merged.get(key)
        if isinstance(value, Mapping) and isinstance(inner, dict):
            merged[key] = _deep_merge(inner, value)
        else:
            merged[key] = value
    return merged
