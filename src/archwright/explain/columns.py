"""Parameters and metrics of a study's trials as numbers: the data that every figure draws.

Report, notebook and page read trials through these columns, so they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from archwright.errors import SpecificationError, unknown
from archwright.search.study import Result

__all__ = [
    "Column",
    "evenly",
    "known",
    "metric",
    "objective",
    "objectives",
    "parameter",
    "parameters",
    "points",
    "shown_sign",
]

Floats = npt.NDArray[np.float64]

# Positive numbers are read on a logarithmic axis where they span this ratio and half of them
# crowd in the lowest fifth.
_RATIO, _CROWDED = 100.0, 0.2
_FIRST = 64  # trials that show how a parameter is spread before a search has narrowed it


@dataclass(frozen=True, kw_only=True)
class Column:
    """One parameter or metric of all designs.

    Attributes:
        name: its name.
        values: shape (n,): the number, or the position of its level; NaN where inactive or
            unknown.
        levels: names of the positions 0, 1, …; empty for numbers.
        log: whether it is read on a logarithmic axis.
        sign: 1 where less is better, -1 where more is better.
    """

    name: str
    values: Floats
    levels: tuple[str, ...] = ()
    log: bool = False
    sign: float = 1.0

    @property
    def losses(self) -> Floats:
        """The values, negated where more is better."""
        return self.sign * self.values

    @property
    def scaled(self) -> Floats:
        """The values as an axis spaces them: logarithms where ``log``."""
        return np.log10(self.values) if self.log else self.values

    def take(self, rows: npt.ArrayLike) -> Column:
        """Return the column of some rows."""
        return replace(self, values=self.values[np.asarray(rows)])

    def bins(self, most: int, least: int = 1) -> tuple[npt.NDArray[np.intp], int]:
        """Cut the column into at most ``most`` slices and return (slice of each row, number).

        Numbers are cut at equal widths, so that a place where a search lingered does not get
        more slices than others; slices of fewer than ``least`` rows join their neighbor. Levels
        are slices of their own; the rarest share the last one. Inactive rows have slice -1.
        """
        rows = np.flatnonzero(np.isfinite(self.values))
        slices = np.full(len(self.values), -1, dtype=np.intp)
        if not len(rows):
            return slices, 0
        if self.levels:
            codes = self.values[rows].astype(np.intp)
            counts = np.bincount(codes, minlength=len(self.levels))
            frequent = np.argsort(-counts, kind="stable")
            own = [c for c in frequent[: most - 1 if (counts > 0).sum() > most else most].tolist()
                   if counts[c] >= least]  # fmt: skip
            place = np.full(len(self.levels), len(own), dtype=np.intp)
            place[own] = np.arange(len(own))
            slices[rows] = place[codes]
        else:
            values = self.scaled[rows]
            distinct = np.unique(values)
            if len(distinct) <= most:
                cut = np.searchsorted(distinct, values)
            else:
                span = (values - distinct[0]) / (distinct[-1] - distinct[0])
                cut = np.minimum((span * most).astype(np.intp), most - 1)
            slices[rows] = _joined(np.bincount(cut, minlength=most), least)[cut]
        found, slices[rows] = np.unique(slices[rows], return_inverse=True)
        return slices, len(found)


def parameters(result: Result) -> list[Column]:
    """Return the parameters of a study's designs, one column each."""
    return [parameter(result, name) for name in result.schema.parameters]


def parameter(result: Result, name: str) -> Column:
    """Return one parameter of each design.

    Raises:
        SpecificationError: no such parameter.
    """
    if name not in result.schema.parameters:
        raise SpecificationError(unknown("parameter", name, result.schema.parameters))
    column = result.trials[f"param.{name}"]
    if result.schema.parameters[name] in ("int", "float"):
        values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
        log = _wide(values[:_FIRST]) and not (values <= 0).any()
        return Column(name=name, values=values, log=log)
    coded = pc.dictionary_encode(pc.cast(column, pa.string())).combine_chunks()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.chunk(0)
    levels = [str(level) for level in coded.dictionary.to_pylist()]
    sort = np.argsort(np.array(levels, dtype=object), kind="stable")
    place = np.empty(len(levels))
    place[sort] = np.arange(len(levels))
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.intp)
    values = np.where(codes < 0, np.nan, place[codes] if len(levels) else np.nan)
    return Column(name=name, values=values, levels=tuple(levels[i] for i in sort))


def metric(result: Result, name: str) -> Column:
    """Return one metric of each design, with its direction where the goal names it.

    Raises:
        SpecificationError: no such metric.
    """
    if name not in result.schema.metrics:
        raise SpecificationError(unknown("metric", name, result.schema.metrics))
    values = np.asarray(result.metric(name), dtype=np.float64)
    sign = shown_sign(result, name) or 1.0
    return Column(name=name, values=values, log=_wide(values), sign=sign)


def shown_sign(result: Result, name: str) -> float | None:
    """Return 1 where a goal minimizes a metric, -1 where it maximizes, None where none shows.

    The sign of a loss is not stored; a trial with a loss and a value other than 0 shows it.
    """
    if name not in result.schema.losses or name not in result.schema.metrics:
        return None
    values = np.asarray(result.metric(name), dtype=np.float64)
    losses = result.column(f"loss.{name}")
    both = np.isfinite(values) & np.isfinite(losses) & (values != 0)
    if not both.any():
        return None
    return -1.0 if bool((losses[both] == -values[both]).all()) else 1.0


def objective(result: Result, name: str) -> Column:
    """Return one of the goal's metrics as it was measured, or a combined loss by its name."""
    if name in result.schema.metrics:
        return metric(result, name)
    if name not in result.schema.losses:
        known_names = [*result.schema.metrics, *result.schema.losses]
        raise SpecificationError(unknown("metric", name, known_names))
    values = np.asarray(result.column(f"loss.{name}"), dtype=np.float64)
    return Column(name=name, values=values, log=_wide(values))


def objectives(result: Result) -> list[Column]:
    """Return what the goal minimizes or maximizes, in its own sign."""
    return [objective(result, name) for name in result.schema.losses]


def known(result: Result, column: Column) -> npt.NDArray[np.bool_]:
    """Say for each design whether it is feasible and has this value."""
    feasible = np.asarray(result.column("feasible"), dtype=bool)
    return feasible & np.isfinite(column.values)


def evenly(rows: Any, most: int) -> Any:
    """At most ``most`` of some rows, evenly spread; all of them where they fit."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _wide(values: Floats) -> bool:
    finite = values[np.isfinite(values)]
    if not len(finite) or not finite.min() > 0:
        return False
    wide = finite.max() >= _RATIO * finite.min()
    return bool(wide and np.median(finite) <= _CROWDED * finite.max())


def _joined(counts: npt.NDArray[np.intp], least: int) -> npt.NDArray[np.intp]:
    """Number the slices so that each number holds at least ``least`` rows, neighbors together."""
    numbers = np.zeros(len(counts), dtype=np.intp)
    number, held = 0, 0
    for i, count in enumerate(counts.tolist()):
        numbers[i] = number
        held += count
        if held >= least:
            number, held = number + 1, 0
    if held < least and number:
        numbers[numbers == number] = number - 1
    return numbers


def points(result: Result) -> dict[tuple[float, ...], list[int]]:
    """Return the points of the front, each with its rows: designs of equal losses are one."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for row in result.front.tolist():
        groups.setdefault(tuple(result.losses[row].tolist()), []).append(row)
    return groups
