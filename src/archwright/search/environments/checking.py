"""The check of what an environment declares and returns, so that a broken one is found at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from archwright.errors import EnvironmentFault, unknown
from archwright.search.environments.measurements import Floats, Measurements

if TYPE_CHECKING:
    from archwright.search.environments.contract import Metric

__all__ = ["check_measurements", "check_metrics"]

_EXACT = 2**53  # beyond it a float64 no longer names one whole number


def check_metrics(metrics: Sequence[Metric]) -> None:
    """Refuse metrics whose columns would stand in each other's place.

    Raises:
        EnvironmentFault: two metrics of one name, or one named as the interval of another.
    """
    names = [metric.name for metric in metrics]
    for name in names:
        if names.count(name) > 1:
            raise EnvironmentFault(f"the environment has two metrics named {name!r}; rename one")
        for end in (".low", ".high"):
            if f"{name}{end}" in names:
                raise EnvironmentFault(
                    f"the environment has a metric {name + end!r} beside {name!r}, whose interval "
                    "has that name; rename it"
                )


def check_measurements(result: Any, n: int, metrics: Sequence[Metric]) -> Measurements:
    """Check what an environment returned; whole numbers come back as floating-point ones.

    Raises:
        EnvironmentFault: the result breaks the contract; the message names the field, what it
            was and what was expected.
    """
    if not isinstance(result, Measurements):
        raise EnvironmentFault(f"evaluate returned a {type(result).__name__}, not Measurements")
    names = [metric.name for metric in metrics]
    for name in names:
        if name not in result.metrics:
            raise EnvironmentFault(f"evaluate returned no metric {name!r}")
    for field in ("metrics", "low", "high", "provenance"):
        table = getattr(result, field)
        if not isinstance(table, Mapping):
            raise EnvironmentFault(
                f"evaluate returned {field} as a {type(table).__name__}; expected a mapping"
            )
        for name in table:
            if name not in names:
                of = "" if field == "metrics" else f"{field} of "
                raise EnvironmentFault(
                    f"evaluate returned {of}the {unknown('metric', name, names)}"
                )
    changed: dict[str, Any] = {}
    for field in ("metrics", "low", "high"):
        table = getattr(result, field)
        floats = {name: _floats(column, f"{field} {name!r}", n) for name, column in table.items()}
        if any(floats[name] is not column for name, column in table.items()):
            changed[field] = floats
    for field in ("violation", "cost_s"):
        column = getattr(result, field)
        if column is not None:
            floats_of = _floats(column, field, n)
            if floats_of is not column:
                changed[field] = floats_of
    if result.feasible is not None:
        _check_array(result.feasible, "'feasible'", n, "b", "truth values")
    _check_reasons(result, n)
    return replace(result, **changed) if changed else result


def _floats(column: Any, field: str, n: int) -> Floats:
    _check_array(column, field, n, "iuf", "real numbers")
    found: Floats = column
    if column.dtype.kind != "f":
        if len(column) and int(np.abs(column.astype(object)).max()) > _EXACT:
            raise EnvironmentFault(
                f"evaluate returned {field} with whole numbers beyond 2**53; expected float64"
            )
        found = column.astype(np.float64)
    elif column.dtype != np.float64:
        found = column.astype(np.float64)
    return found


def _check_array(column: Any, field: str, n: int, kinds: str, what: str) -> None:
    expected = f"expected a NumPy array of {what} of shape ({n},)"
    if not isinstance(column, np.ndarray):
        length = f" of {len(column)}" if isinstance(column, (list, tuple)) else ""
        raise EnvironmentFault(
            f"evaluate returned {field} as a {type(column).__name__}{length}; {expected}"
        )
    if column.shape != (n,):
        raise EnvironmentFault(
            f"evaluate returned {field} of shape {column.shape} for {n} designs; {expected}"
        )
    if column.dtype.kind not in kinds:
        raise EnvironmentFault(f"evaluate returned {field} of type {column.dtype}; {expected}")


def _check_reasons(result: Measurements, n: int) -> None:
    reasons = result.reason
    if reasons is not None:
        if isinstance(reasons, str) or not isinstance(reasons, (Sequence, np.ndarray)):
            raise EnvironmentFault(
                f"evaluate returned reason as a {type(reasons).__name__}; expected a list of {n}"
            )
        if len(reasons) != n:
            raise EnvironmentFault(
                f"evaluate returned {len(reasons)} reasons for {n} designs; expected one a design"
            )
        for reason in reasons:
            if reason is not None and not isinstance(reason, str):
                raise EnvironmentFault(
                    f"evaluate returned the reason {reason!r}; expected a text or None"
                )
    if result.feasible is not None and not result.feasible.all():
        for i in np.flatnonzero(~result.feasible).tolist():
            if reasons is None or not reasons[i]:
                raise EnvironmentFault(f"design {i} of the batch is infeasible without a reason")
