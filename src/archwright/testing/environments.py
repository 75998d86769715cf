"""The conformance suite of environments."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import EnvironmentFault
from archwright.provenance import LABELS
from archwright.search import Environment, Measurements, Space
from archwright.search.environments import check_measurements
from archwright.search.seeds import trial_seeds
from archwright.search.store import Disk
from archwright.search.store.artifacts import Artifacts
from archwright.testing.conformance import Checks, elsewhere, ensure, global_randomness

__all__ = ["check_environment"]

Seeds = npt.NDArray[np.uint64]


def check_environment(
    environment: Environment,
    *,
    seed: int = 0,
    n: int = 12,
    rtol: float = 0.0,
    processes: bool = True,
) -> None:
    """Check an environment against its contract; its space is checked by ``check_space``.

    It is never asked to evaluate an empty batch, because a study never does.

    >>> from archwright.testing import toy_environment
    >>> check_environment(toy_environment(noise=0.1), processes=False)

    Args:
        environment: the environment.
        seed: seed of the designs it is checked with.
        n: number of designs, each evaluated about ten times for each fidelity.
        rtol: relative difference that counts as equal; 0 asks for equal bits. Matrix products
            over a batch may round differently when it is cut: then state what you accept.
        processes: also evaluate in a second Python process.

    Raises:
        ConformanceError: the message lists every broken clause with the likely mistake.

    Warns:
        UserWarning: it says ``deterministic = False``, but seeds had no influence.
    """
    checks = Checks(f"the environment {type(environment).__name__}")
    _check_attributes(checks, environment)
    if checks.broken:
        checks.finish()
    designs = environment.space.sample(np.random.default_rng(seed), n)
    for fidelity in [f.name for f in environment.fidelities]:
        _Suite(checks, environment, designs, seed, fidelity, rtol).run(processes)
    checks.finish()


def _check_attributes(checks: Checks, environment: Environment) -> None:
    with checks.clause(
        "it has the members of an environment", "an attribute of Environment is missing"
    ):
        missing = [
            name
            for name in ("space", "metrics", "version", "deterministic", "fidelities", "evaluate")
            if not hasattr(environment, name)
        ]
        ensure(not missing, f"lacks {', '.join(missing)}")
        ensure(isinstance(environment.space, Space), "its space is no Space; see check_space")
        version = environment.version
        ensure(isinstance(version, str) and version, f"version is {version!r}, not a text")
        said = environment.deterministic
        ensure(isinstance(said, bool), f"deterministic is {said!r}, not True or False")
    if checks.broken:
        return
    with checks.clause(
        "metrics are named and directed", "a name used twice, or a word for better"
    ):
        names = [metric.name for metric in environment.metrics]
        ensure(names, "there are no metrics")
        ensure(len(set(names)) == len(names), f"a metric stands twice in {names}")
        for metric in environment.metrics:
            legal = metric.better in ("lower", "higher")
            ensure(legal, f"{metric.name!r} is better {metric.better!r}, not 'lower' or 'higher'")
    with checks.clause("fidelities have names and costs", "a cost of zero, or no fidelity at all"):
        names = [fidelity.name for fidelity in environment.fidelities]
        ensure(names, "there are no fidelities; the least is Fidelity('full')")
        ensure(len(set(names)) == len(names), f"a fidelity stands twice in {names}")
        for fidelity in environment.fidelities:
            cost = fidelity.relative_cost
            ensure(cost > 0 and math.isfinite(cost), f"{fidelity.name!r} costs {cost!r}")


class _Suite:
    """The clauses over ``evaluate`` at one fidelity."""

    def __init__(
        self,
        checks: Checks,
        environment: Environment,
        designs: Any,
        seed: int,
        fidelity: str,
        rtol: float,
    ) -> None:
        self.checks = checks
        self.environment = environment
        self.designs = designs
        self.seeds = trial_seeds(seed, np.arange(len(designs)))
        self.keys = environment.space.keys(designs)
        self.fidelity = fidelity
        self.rtol = rtol

    def run(self, processes: bool) -> None:
        n = len(self.designs)
        before = len(self.checks.broken)
        with self.checks.clause("evaluate answers for each design", "a column of another length"):
            try:
                check_measurements(
                    _evaluate(self.environment, self.designs, self.seeds, self.fidelity),
                    n,
                    self.environment.metrics,
                )
            except EnvironmentFault as fault:
                ensure(False, f"{fault} (at fidelity {self.fidelity!r})")
        if len(self.checks.broken) > before:
            return
        self._answers()
        self._repeats()
        if getattr(self.environment, "artifacts", ()):
            self._leaves()
        if processes:
            with self.checks.clause(
                "another process measures the same", "state outside the environment object"
            ):
                there = elsewhere(
                    _evaluate, self.environment, self.designs, self.seeds, self.fidelity
                )
                self._same(self.evaluate(), there, "a second process measures")

    def _leaves(self) -> None:
        """Check what trials leave: every declared artifact, and the same again."""
        names, n = self.environment.artifacts, len(self.designs)  # type: ignore[attr-defined]
        with (
            self.checks.clause(
                "feasible designs leave the artifacts that it declares",
                "artifacts.write left out, or content that depends on the time or the process",
            ),
            tempfile.TemporaryDirectory() as folder,
        ):
            left = []
            for _ in range(2):
                artifacts = Artifacts(Path(folder) / "artifacts", names, {}, n, Disk())
                measured = self.environment.evaluate(
                    self.designs, seeds=self.seeds, fidelity=self.fidelity, artifacts=artifacts
                )
                left.append(artifacts.written)
            for name in names:
                for i in np.flatnonzero(measured.is_feasible):
                    ensure(left[0][name][i], f"design {i} left no {name!r}")
            ensure(left[0] == left[1], "the same designs and seeds left other contents")

    def evaluate(self, rows: Any = None, seeds: Seeds | None = None) -> Measurements:
        at = np.arange(len(self.designs)) if rows is None else np.asarray(rows)
        given = (self.seeds if seeds is None else seeds)[at]
        return _evaluate(self.environment, self.designs.take(at), given, self.fidelity)

    def _answers(self) -> None:
        measured = self.evaluate()
        feasible = np.asarray(measured.is_feasible)
        with self.checks.clause(
            "infeasible is an answer: a reason, and no metrics",
            "numbers left in the columns of a design that cannot be built",
        ):
            for name, column in measured.metrics.items():
                for i in np.flatnonzero(~feasible & ~np.isnan(column)):
                    ensure(False, f"design {i} is infeasible, but its {name} is {column[i]}")
            if measured.violation is not None:
                ensure(
                    np.shape(measured.violation) == feasible.shape,
                    f"violation has shape {np.shape(measured.violation)}",
                )
                low = float(np.nanmin(np.append(measured.violation, 0.0)))
                ensure(low >= 0, f"a violation is {low}, below 0")
        with self.checks.clause("intervals hold their value", "low and high exchanged"):
            for side, ends in (("low", measured.low), ("high", measured.high)):
                for name, end in ends.items():
                    ensure(name in measured.metrics, f"{side} has {name!r}, which is no metric")
                    gap = end - measured.metrics[name]
                    wrong = gap > 0 if side == "low" else gap < 0
                    ensure(not wrong.any(), f"a {side} end of {name!r} excludes its value")
        with self.checks.clause("provenance labels are known", "a word of your own"):
            for name, label in measured.provenance.items():
                ensure(name in measured.metrics, f"provenance has {name!r}, which is no metric")
                ensure(label in LABELS, f"{name!r} is {label!r}; known: {', '.join(LABELS)}")

    def _repeats(self) -> None:
        n, checks = len(self.designs), self.checks
        whole = self.evaluate()
        with checks.clause(
            "equal seeds measure the same",
            "np.random.default_rng() without a seed, or state kept between calls",
        ):
            self._same(whole, self.evaluate(), "evaluating again gives")
        with checks.clause(
            "global randomness plays no part",
            "np.random.normal or random.random; use np.random.default_rng(int(seed)) a design",
        ):
            with global_randomness(1) as untouched:
                first = self.evaluate()
                ensure(untouched(), "it draws from or seeds the global generators")
            with global_randomness(2):
                self._same(first, self.evaluate(), "under another global random state it gives")
        with checks.clause(
            "cutting or reordering a batch changes nothing",
            "one generator for the whole batch, or a result that depends on the place in it",
        ):
            for i in range(n):
                self._same(
                    whole.take(np.array([i])), self.evaluate([i]), f"design {i} alone gives"
                )
            for cut in (1, n // 2):
                head, tail = np.arange(cut), np.arange(cut, n)
                self._same(whole.take(head), self.evaluate(head), f"the first {cut} give")
                self._same(whole.take(tail), self.evaluate(tail), f"all after {cut} give")
            back = np.arange(n)[::-1]
            self._same(whole.take(back), self.evaluate(back), "in reverse order they give")
        with checks.clause("evaluate leaves designs and seeds alone", "an operation in place"):
            seeds = self.seeds.copy()
            _evaluate(self.environment, self.designs, self.seeds, self.fidelity)
            after = self.environment.space.keys(self.designs)
            ensure(after == self.keys, "it changed the designs")
            ensure((self.seeds == seeds).all(), "it changed the seeds")
        others = trial_seeds(int(self.seeds[0]) ^ 1, np.arange(n))
        if self.environment.deterministic:
            with checks.clause(
                "deterministic means that seeds have no influence",
                "a noisy simulator that says deterministic = True",
            ):
                self._same(whole, self.evaluate(seeds=others), "other seeds give")
        elif _difference(whole, self.evaluate(seeds=others), 0.0) is None:
            warnings.warn(
                f"{checks.part} says deterministic = False, but seeds had no influence on {n} "
                f"designs at fidelity {self.fidelity!r}; deterministic = True saves repeats",
                stacklevel=4,
            )

    def _same(self, expected: Measurements, found: Measurements, what: str) -> None:
        difference = _difference(expected, found, self.rtol)
        ensure(difference is None, f"{what} another {difference} (at fidelity {self.fidelity!r})")


def _evaluate(environment: Environment, designs: Any, seeds: Seeds, fidelity: str) -> Measurements:
    return environment.evaluate(designs, seeds=seeds, fidelity=fidelity, parents=None)


def _difference(a: Measurements, b: Measurements, rtol: float) -> str | None:
    """Return the first difference between two measurements in words; costs may differ."""
    if len(a) != len(b):
        return f"number of designs, {len(b)} for {len(a)}"
    for kind in ("metrics", "low", "high"):
        left: Mapping[str, Any] = getattr(a, kind)
        right: Mapping[str, Any] = getattr(b, kind)
        for name in {**left, **right}:
            if name not in left or name not in right:
                return f"set of {kind}: {name!r} is in one only"
            x, y = np.asarray(left[name]), np.asarray(right[name])
            equal = np.isclose(x, y, rtol=rtol, atol=0.0, equal_nan=True)
            if not equal.all():
                i = int(np.flatnonzero(~equal)[0])
                return f"{name!r}: {y[i]!s} in place of {x[i]!s}"
    if not np.array_equal(a.is_feasible, b.is_feasible):
        return "feasibility"
    if list(a.reason or [None] * len(a)) != list(b.reason or [None] * len(b)):
        return "reason"
    none = np.full(len(a), np.nan)
    x, y = (none if m.violation is None else m.violation for m in (a, b))
    return None if np.allclose(x, y, rtol=rtol, atol=0.0, equal_nan=True) else "violation"
