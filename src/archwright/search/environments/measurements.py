"""What designs measured, in columns, and the check of what an environment returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Measurements", "merge"]

Floats = npt.NDArray[np.float64]


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
        failed: n booleans: could not be measured at all; filled in by the study.
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
    failed: npt.NDArray[np.bool_] | None = None
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
            failed=None if self.failed is None else self.failed[rows],
            artifacts={name: entries(digests) for name, digests in self.artifacts.items()},
        )


def merge(n: int, parts: list[tuple[npt.NDArray[np.intp], Measurements]]) -> Measurements:
    """Join measurements of some rows into one of n rows."""

    def join(pick: Callable[[Measurements], Mapping[str, Any]]) -> dict[str, Any]:
        names = dict.fromkeys(name for _, part in parts for name in pick(part))
        joined = {name: np.full(n, np.nan) for name in names}
        for rows, part in parts:
            for name, column in pick(part).items():
                joined[name][rows] = column
        return joined

    feasible = np.ones(n, dtype=bool)
    reason: list[str | None] = [None] * n
    violation = np.full(n, np.nan)
    failed = np.zeros(n, dtype=bool)
    artifacts: dict[str, list[str | None]] = {}
    for rows, part in parts:
        feasible[rows] = part.is_feasible
        for i, row in enumerate(rows):
            reason[row] = None if part.reason is None else part.reason[i]
        if part.violation is not None:
            violation[rows] = part.violation
        if part.failed is not None:
            failed[rows] = part.failed
        for name, digests in part.artifacts.items():
            column = artifacts.setdefault(name, [None] * n)
            for i, row in enumerate(rows):
                column[row] = digests[i]
    return Measurements(
        metrics=join(lambda part: part.metrics),
        low=join(lambda part: part.low),
        high=join(lambda part: part.high),
        provenance=parts[0][1].provenance if parts else {},
        feasible=feasible,
        reason=reason,
        violation=violation,
        failed=failed if failed.any() else None,
        artifacts=artifacts,
    )
