"""What a caller may give to :func:`archwright.serving.plan_fleet`, checked and in arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown

__all__ = [
    "CountLimit",
    "GpuProfile",
    "Way",
    "budget_limits",
    "column_arrays",
    "count_bounds",
    "limit_row",
    "price",
    "read_rate",
    "read_shares",
    "read_slices",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LATE = "late"
"""The budget that ``late_share`` and ``late_max_rate`` stand for."""


@dataclass(frozen=True)
class Way:
    """A further operating point of an instance type.

    Attributes:
        max_rate: highest rate of one instance serving only that bucket so, requests/s, shape
            (I, J); 0 means that it may not.
        uses: budget to what one request takes of it, at least 0, shape (I, J) or a number.
    """

    max_rate: npt.ArrayLike
    uses: Mapping[str, npt.ArrayLike] = field(default_factory=dict)


@dataclass(frozen=True)
class GpuProfile:
    """One instance type.

    Attributes:
        cost_per_hour: price of one instance, dollars an hour, positive; not used where offers
            are rented.
        max_rate: highest rate of one instance serving only that bucket, requests/s, shape
            (I, J); 0 means that it may not serve the bucket.
        uses: budget to what one request takes of it when served at that rate, at least 0, shape
            (I, J) or a number.
        ways: further operating points.
    """

    cost_per_hour: float
    max_rate: npt.ArrayLike
    uses: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    ways: Sequence[Way] = ()


@dataclass(frozen=True)
class CountLimit:
    """A limit over several types, such as accelerators that all widths of a device share.

    Attributes:
        coefficients: type name to what one instance takes.
        at_most: what there is.
    """

    coefficients: Mapping[str, float]
    at_most: float


def read_shares(given: Any) -> Floats:
    """Return shares of requests by bucket, shape (I, J)."""
    shares = _table("workload", given)
    if shares.ndim != 2 or not shares.size:
        raise SpecificationError(
            f"workload: expected a table of shares, found shape {shares.shape}"
        )
    for i, j in np.argwhere(~(shares >= 0) | np.isinf(shares)):
        raise SpecificationError(
            f"workload[{i}][{j}]: expected a share of at least 0, found {shares[i, j]}"
        )
    if abs(shares.sum() - 1) > 1e-6:
        raise SpecificationError(f"workload: the shares must sum to 1, found {shares.sum():.9g}")
    return shares


def read_rate(rate: Any) -> float:
    """Return requests/s."""
    if not _is_number(rate) or not math.isfinite(rate) or rate < 0:
        raise SpecificationError(f"rate: expected requests/s of at least 0, found {rate!r}")
    return float(rate)


def read_slices(slice_factor: Any) -> int | None:
    """Return slices of a bucket, or None where it is divided freely."""
    if slice_factor is not None and (not is_whole(slice_factor) or slice_factor < 1):
        raise SpecificationError(
            f"slice_factor: expected None or a whole number from 1, found {slice_factor!r}"
        )
    return slice_factor if slice_factor is None else int(slice_factor)


def price(name: str, value: float) -> float:
    """Return dollars an hour of one instance."""
    if not _is_number(value) or not math.isfinite(value) or value <= 0:
        raise SpecificationError(
            f"gpus[{name!r}].cost_per_hour: expected more than 0, found {value!r}"
        )
    return float(value)


def count_bounds(
    names: list[str], available: Mapping[str, int] | None, fixed: Mapping[str, int] | None
) -> tuple[Floats, Floats]:
    """Return the least and the most instances of each type, shape (G,)."""
    least, most = np.zeros(len(names)), np.full(len(names), np.inf)
    for what, given in (("available", available), ("fixed", fixed)):
        for name, count in (given or {}).items():
            if name not in names:
                raise SpecificationError(f"{what}: {unknown('type', name, names)}")
            if not is_whole(count) or count < 0:
                raise SpecificationError(
                    f"{what}[{name!r}]: expected a whole number from 0, found {count!r}"
                )
            at = names.index(name)
            most[at] = min(most[at], count)
            least[at] = count if what == "fixed" else least[at]
    if (least > most).any():
        name = names[int(np.argmax(least > most))]
        raise SpecificationError(f"fixed: {name!r} is above what is available")
    return least, most


def limit_row(limit: CountLimit, names: list[str]) -> tuple[Floats, float]:
    """Return a limit as coefficients of shape (G,) and a bound."""
    row = np.zeros(len(names))
    for name, takes in limit.coefficients.items():
        if name not in names:
            raise SpecificationError(f"limits: {unknown('type', name, names)}")
        row[names.index(name)] = _from_zero(f"limits: coefficient of {name!r}", takes)
    return row, _from_zero("limits: at_most", limit.at_most)


def budget_limits(
    gpus: Mapping[str, GpuProfile],
    budgets: Mapping[str, float] | None,
    late_share: float,
    late_max_rate: Mapping[str, Any] | None,
) -> tuple[dict[str, GpuProfile], dict[str, float]]:
    """Return the profiles with the late way of each type, and all budgets."""
    if not _is_number(late_share) or not 0 <= late_share <= 1:
        raise SpecificationError(f"late_share: expected a share from 0 to 1, found {late_share!r}")
    held = {
        name: _from_zero(f"budgets[{name!r}]", value) for name, value in (budgets or {}).items()
    }
    used: set[str] = set()
    for gpu in gpus.values():
        used.update(gpu.uses, *(way.uses for way in gpu.ways))
    if late_max_rate is not None and LATE in used | set(held):
        raise SpecificationError(
            f"late_max_rate: expected no budget {LATE!r} beside it, found one in "
            + ("budgets" if LATE in held else "uses")
        )
    profiles = dict(gpus)
    for name, rates in (late_max_rate or {}).items():
        if name not in gpus:
            raise SpecificationError(f"late_max_rate: {unknown('type', name, gpus)}")
        gpu = gpus[name]
        ways = (*gpu.ways, Way(rates, {LATE: 1.0}))
        profiles[name] = GpuProfile(gpu.cost_per_hour, gpu.max_rate, gpu.uses, ways)
    if late_max_rate is not None or (LATE in used and LATE not in held):
        held[LATE] = float(late_share)
        used.add(LATE)
    elif late_share > 0:
        raise SpecificationError(
            f"late_share: expected late_max_rate beside it, found {late_share!r} alone"
        )
    for name in used:
        if name not in held:
            raise SpecificationError(f"uses: {unknown('budget', name, held)}")
    for name in held:
        if name not in used:
            raise SpecificationError(f"budgets: {unknown('budget', name, sorted(used))}")
    return profiles, held


def column_arrays(
    gpus: Mapping[str, GpuProfile],
    budgets: Mapping[str, float],
    shape: tuple[int, ...],
    late: Mapping[str, Any] | None,
) -> tuple[Floats, Floats, Ints]:
    """Return the ways of all types, type by type.

    Returns:
        Highest rates, shape (I, J, C); what one request takes, shape (budgets, I, J, C); type of
        each, shape (C,).
    """
    rates, takes, type_of = [], [], []
    for g, (name, gpu) in enumerate(gpus.items()):
        last = len(gpu.ways) - 1
        every: list[GpuProfile | Way] = [gpu, *gpu.ways]
        for w, each in enumerate(every, -1):
            where = f"gpus[{name!r}]" + (f".ways[{w}]" if w >= 0 else "")
            rate_where = f"{where}.max_rate"
            if late is not None and name in late and w == last:
                rate_where = f"late_max_rate[{name!r}]"
            rates.append(_max_rate(rate_where, each.max_rate, shape))
            takes.append([_uses(where, budget, each, shape) for budget in budgets])
            type_of.append(g)
    taken = np.array(takes, dtype=np.float64).reshape(len(rates), len(budgets), *shape)
    return np.stack(rates, axis=-1), np.moveaxis(taken, 0, -1), np.array(type_of)


def is_whole(value: Any) -> bool:
    """Say whether a value is a whole number."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _uses(where: str, budget: str, each: GpuProfile | Way, shape: tuple[int, ...]) -> Floats:
    where = f"{where}.uses[{budget!r}]"
    found = _table(where, each.uses.get(budget, 0.0))
    if found.shape not in (shape, ()):
        raise SpecificationError(
            f"{where}: expected a number or shape {shape} as the workload, found {found.shape}"
        )
    for at in np.argwhere(~(found >= 0) | np.isinf(found)):
        place = "".join(f"[{i}]" for i in at)
        raise SpecificationError(
            f"{where}{place}: expected what a request takes, at least 0, found {found[tuple(at)]}"
        )
    return np.broadcast_to(found, shape)


def _max_rate(where: str, given: Any, shape: tuple[int, ...]) -> Floats:
    rates = _table(where, given)
    if rates.shape != shape:
        raise SpecificationError(
            f"{where}: expected shape {shape} as the workload, found {rates.shape}"
        )
    for i, j in np.argwhere(~(rates >= 0) | np.isinf(rates)):
        raise SpecificationError(
            f"{where}[{i}][{j}]: expected requests/s of at least 0 (0 = may not "
            f"serve it), found {rates[i, j]}"
        )
    return rates


def _from_zero(what: str, value: float) -> float:
    if not _is_number(value) or not math.isfinite(value) or value < 0:
        raise SpecificationError(f"{what}: expected a number of at least 0, found {value!r}")
    return float(value)


def _table(what: str, given: Any) -> Floats:
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise SpecificationError(
            f"{what}: expected a table of numbers with rows of equal length, found {given!r}"
        ) from None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_))
