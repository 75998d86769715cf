"""Environments generated from simulators: what varies are paths of one specification."""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from archwright.errors import EnvironmentFault, InfeasibleError, SpecificationError, unknown
from archwright.search.environments.contract import Fidelity, Metric
from archwright.search.environments.measurements import Measurements
from archwright.search.space import ParameterSpace, parameter
from archwright.search.store.artifacts import Artifacts
from archwright.specification import from_mapping, read_path, replace_paths, to_mapping

__all__ = ["SimulatorEnvironment", "environment"]


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
            require=self._rules(base, vary) if vary else [r.text for r in self.space.require],
            version=self.version,
            deterministic=self.deterministic,
            folder=folder,
        )

    def _rules(self, base: Any, vary: Mapping[str, Any]) -> list[str]:
        """Return the limits over what varies now; what is fixed takes part with its value.

        Raises:
            SpecificationError: fixed values alone break a limit.
        """
        found = []
        for rule in self.space.require:
            fixed = {name: read_path(base, name) for name in rule.names if name not in vary}
            bound = rule.bind(fixed)
            if bound.names:
                found.append(bound.text)
            elif not bound({}):
                values = ", ".join(f"{name} = {value!r}" for name, value in fixed.items())
                raise SpecificationError(f"require: {rule.text!r} does not hold for {values}")
        return found

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
