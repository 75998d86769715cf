"""An environment that looks its answers up: a table of measured designs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search.environments import Fidelity, Measurements, Metric
from archwright.search.space import Choice, Ordinal, ParameterSpace

__all__ = ["TableEnvironment", "table_environment"]


class TableEnvironment:
    """Designs and what they measured, row by row. See :func:`table_environment`."""

    version = "1"
    deterministic = True
    fidelities: Sequence[Fidelity] = (Fidelity("full"),)

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any]],
        *,
        metrics: Mapping[str, npt.ArrayLike] | Sequence[Metric],
        space: ParameterSpace | None = None,
        provenance: str = "table",
    ) -> None:
        described = () if isinstance(metrics, Mapping) else tuple(metrics)
        self.metrics = described or tuple(Metric(name) for name in metrics)  # type: ignore[arg-type]
        values: dict[str, npt.NDArray[np.float64]] = {}
        for metric in self.metrics:
            given = metrics[metric.name] if isinstance(metrics, Mapping) else columns[metric.name]
            values[metric.name] = np.asarray(given, dtype=np.float64)
        measured = set(values) if described else set()
        varied = {name: column for name, column in columns.items() if name not in measured}
        self.space = space or _space(varied)
        designs = self.space.from_columns(varied)
        for name, column in values.items():
            if column.shape != (len(designs),):
                raise SpecificationError(
                    f"{name}: expected {len(designs)} values, one a design, found {column.shape}"
                )
        keys = self.space.keys(designs)
        self._row = {key: i for i, key in enumerate(keys)}
        if len(self._row) < len(keys):
            first = next(i for i, key in enumerate(keys) if self._row[key] != i)
            raise SpecificationError(f"the design {{{designs[first]}}} stands in two rows")
        self._values = values
        self._provenance = dict.fromkeys(values, provenance)

    def __len__(self) -> int:
        return len(self._row)

    def identity(self) -> dict[str, Any]:
        """Return a digest of the table."""
        digest = hashlib.sha256()
        for key in self._row:
            digest.update(key)
        for name, column in self._values.items():
            digest.update(name.encode() + column.tobytes())
        return {"rows": len(self), "sha256": digest.hexdigest()}

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str = "full",
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Any | None = None,
    ) -> Measurements:
        """Look designs up; one that the table lacks is infeasible."""
        del seeds, fidelity, parents, artifacts
        found = [self._row.get(key, -1) for key in self.space.keys(designs)]
        rows = np.array(found, dtype=np.intp)
        known = rows >= 0
        return Measurements(
            metrics={
                name: np.where(known, column[rows], np.nan)
                for name, column in self._values.items()
            },
            provenance=self._provenance,
            feasible=known,
            reason=None if known.all() else [None if k else "not in the table" for k in known],
        )


def table_environment(
    columns: Mapping[str, Sequence[Any]],
    *,
    metrics: Mapping[str, npt.ArrayLike] | Sequence[Metric],
    space: ParameterSpace | None = None,
    provenance: str = "table",
) -> TableEnvironment:
    """Make an environment of a table: a benchmark, a finished sweep, measurements of a lab.

    >>> table = table_environment(
    ...     {"ways": [1, 2, 4], "policy": ["lru", "lru", "fifo"]},
    ...     metrics={"latency_ns": [1.0, 1.2, 1.5]},
    ... )
    >>> table.space.size, len(table)
    (6, 3)

    Args:
        columns: parameter to its value in each row; None where inactive.
        metrics: metric to its value in each row; or the description of metrics whose values
            stand in ``columns`` too.
        space: the space; None makes one of the values that occur, numbers in their order and
            all else as choices, in the order of their first row.
        provenance: label of the values, such as ``measured``.

    Raises:
        SpecificationError: a design stands in two rows, or a column has another length.
    """
    if not metrics:
        raise SpecificationError("metrics: a table needs at least one")
    if not isinstance(metrics, Mapping):
        for metric in metrics:
            if metric.name not in columns:
                raise SpecificationError(f"metrics: {unknown('column', metric.name, columns)}")
    return TableEnvironment(columns, metrics=metrics, space=space, provenance=provenance)


def _space(columns: Mapping[str, Sequence[Any]]) -> ParameterSpace:
    parameters: dict[str, Choice | Ordinal] = {}
    for name, column in columns.items():
        values = list(dict.fromkeys(np.asarray(column, dtype=object).tolist()))
        if any(value is None for value in values):
            raise SpecificationError(f"{name}: has inactive values; give the space")
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        parameters[name] = Ordinal(sorted(values)) if numbers else Choice(values)
    return ParameterSpace(parameters)
