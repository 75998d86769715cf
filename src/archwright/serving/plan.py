"""Fleet planning: the cheapest whole number of instances of each type that carries a load.

The method is Mélange's (Griggs et al. 2024, arXiv 2404.14527): requests in buckets of input and
output length, each type's capacity per bucket, loads that add up, instances bought whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError, unknown
from archwright.solve.allocation import Problem, allocate, unserved

__all__ = ["CountLimit", "FleetPlan", "GpuProfile", "plan_fleet"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GpuProfile:
    """One instance type.

    Attributes:
        cost_per_hour: price of one instance, dollars an hour, positive.
        max_rate: highest rate of one instance serving only that bucket, requests/s, shape
            (I, J); 0 means that it may not serve the bucket.
    """

    cost_per_hour: float
    max_rate: npt.ArrayLike


@dataclass(frozen=True)
class CountLimit:
    """A limit over several types, such as accelerators that all widths of a device share.

    Attributes:
        coefficients: type name to what one instance takes.
        at_most: what there is.
    """

    coefficients: Mapping[str, float]
    at_most: float


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """The cheapest fleet.

    Attributes:
        counts: instances by type, in the order of ``gpus``.
        cost_per_hour: dollars an hour.
        assignment: share of bucket (i, j) that goes to each type, shape (I, J, types); zeros for
            a bucket without requests.
        load: instances' worth of work on each type.
        headroom: 1 - load/count of each type; NaN where there is none.
        proven: the headroom and the order among equals are proven too. Cost and number always
            are; with slices a fixed amount of work is spent on the rest.
    """

    counts: dict[str, int]
    cost_per_hour: float
    assignment: Floats
    load: dict[str, float]
    headroom: dict[str, float]
    proven: bool = True


def plan_fleet(
    workload: Any,
    gpus: Mapping[str, GpuProfile],
    rate: float,
    slice_factor: int | None = None,
    available: Mapping[str, int] | None = None,
    fixed: Mapping[str, int] | None = None,
    *,
    limits: Sequence[CountLimit] = (),
    survive_loss: bool = False,
) -> FleetPlan:
    """Return the cheapest fleet that carries a workload.

    Among plans of equal cost (relative 1e-9) it has the fewest instances, then the largest
    smallest headroom, then more of the earlier name in ``gpus``. Cost and number of instances are
    proven; ``proven`` tells whether the rest is.

    >>> gpus = {"A10G": GpuProfile(1.01, [[2, 1], [5, 2]]),
    ...         "A100-80GB": GpuProfile(3.67, [[20, 20], [40, 20]])}
    >>> plan = plan_fleet([[0.2, 0.1], [0.5, 0.2]], gpus, rate=30.0, slice_factor=1)
    >>> plan.counts, round(plan.cost_per_hour, 2)
    ({'A10G': 3, 'A100-80GB': 1}, 6.7)

    Args:
        workload: shares of requests by input bucket i and output bucket j, shape (I, J), sum 1;
            or an object with ``shares``.
        gpus: name to profile.
        rate: requests/s in total.
        slice_factor: None to divide a bucket freely among types; s to cut each bucket into s
            equal slices that go whole, as the paper does.
        available: name to the most instances.
        fixed: name to the exact number of instances.
        limits: further limits over several types.
        survive_loss: the load must still be carried after the loss of any one instance.

    Raises:
        SpecificationError: an illegal value; the message names it.
        InfeasibleError: the load cannot be carried; the message names the bucket.
    """
    shares = _shares(getattr(workload, "shares", workload))
    if not _is_number(rate) or not math.isfinite(rate) or rate < 0:
        raise SpecificationError(f"rate: expected requests/s of at least 0, found {rate!r}")
    if not gpus:
        raise SpecificationError("gpus: expected at least one type")
    if slice_factor is not None and (
        isinstance(slice_factor, bool)
        or not isinstance(slice_factor, (int, np.integer))
        or slice_factor < 1
    ):
        raise SpecificationError(
            f"slice_factor: expected None or a whole number from 1, found {slice_factor!r}"
        )
    names = list(gpus)
    rates = np.stack([_max_rate(name, gpus[name], shares.shape) for name in names], axis=-1)
    cost = np.array([_price(name, gpus[name].cost_per_hour) for name in names])
    least, most = np.zeros(len(names)), np.full(len(names), np.inf)
    for what, given in (("available", available), ("fixed", fixed)):
        for name, count in (given or {}).items():
            at = _index(what, name, count, names)
            most[at] = min(most[at], count)
            least[at] = count if what == "fixed" else least[at]
    if (least > most).any():
        name = names[int(np.argmax(least > most))]
        raise SpecificationError(f"fixed: {name!r} is above what is available")
    buckets = np.argwhere(shares * rate > 0)
    arrival = shares[tuple(buckets.T)] * rate
    capacity = rates[tuple(buckets.T)]
    with np.errstate(divide="ignore"):
        load = arrival[:, None] / capacity
    load[:, most == 0] = np.inf
    problem = Problem(
        load=load,
        cost=cost,
        most=most,
        least=least,
        limits=[_limit_row(limit, names) for limit in limits],
        slices=slice_factor,
        survive_loss=survive_loss,
    )
    _refuse_unservable(load, buckets, arrival)
    try:
        found = allocate(problem)
    except InfeasibleError:
        raise InfeasibleError(_shortage(problem, buckets, arrival, survive_loss)) from None
    assignment = np.zeros((*shares.shape, len(names)))
    assignment[tuple(buckets.T)] = found.share
    units = np.where(found.share > 0, found.share * np.where(np.isinf(load), 0, load), 0).sum(
        axis=0
    )
    counts = found.counts
    return FleetPlan(
        counts={name: int(n) for name, n in zip(names, counts, strict=True)},
        cost_per_hour=float(cost @ counts),
        assignment=assignment,
        load={name: float(u) for name, u in zip(names, units, strict=True)},
        headroom={
            name: float(1 - u / n) if n else math.nan
            for name, u, n in zip(names, units, counts.tolist(), strict=True)
        },
        proven=found.proven,
    )


def _shares(given: Any) -> Floats:
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


def _max_rate(name: str, profile: GpuProfile, shape: tuple[int, ...]) -> Floats:
    rates = _table(f"gpus[{name!r}].max_rate", profile.max_rate)
    if rates.shape != shape:
        raise SpecificationError(
            f"gpus[{name!r}].max_rate: expected shape {shape} as the workload, found {rates.shape}"
        )
    for i, j in np.argwhere(~(rates >= 0) | np.isinf(rates)):
        raise SpecificationError(
            f"gpus[{name!r}].max_rate[{i}][{j}]: expected requests/s of at least 0 (0 = may not "
            f"serve it), found {rates[i, j]}"
        )
    return rates


def _price(name: str, price: float) -> float:
    if not _is_number(price) or not math.isfinite(price) or price <= 0:
        raise SpecificationError(
            f"gpus[{name!r}].cost_per_hour: expected more than 0, found {price!r}"
        )
    return float(price)


def _index(what: str, name: str, count: int, names: list[str]) -> int:
    if name not in names:
        raise SpecificationError(f"{what}: {unknown('type', name, names)}")
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
        raise SpecificationError(
            f"{what}[{name!r}]: expected a whole number from 0, found {count!r}"
        )
    return names.index(name)


def _limit_row(limit: CountLimit, names: list[str]) -> tuple[Floats, float]:
    row = np.zeros(len(names))
    for name, takes in limit.coefficients.items():
        if name not in names:
            raise SpecificationError(f"limits: {unknown('type', name, names)}")
        row[names.index(name)] = _from_zero(f"limits: coefficient of {name!r}", takes)
    return row, _from_zero("limits: at_most", limit.at_most)


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


def _refuse_unservable(load: Floats, buckets: npt.NDArray[Any], arrival: Floats) -> None:
    stuck = np.isinf(load).all(axis=1)
    if stuck.any():
        b = int(np.argmax(np.where(stuck, arrival, -1)))
        i, j = buckets[b]
        raise InfeasibleError(
            f"bucket ({i}, {j}): {arrival[b]:.4g} requests/s, but no type that is available may "
            "serve it"
        )


def _shortage(
    problem: Problem, buckets: npt.NDArray[Any], arrival: Floats, survive_loss: bool
) -> str:
    missing = unserved(problem, arrival)
    b = int(np.argmax(missing))
    i, j = buckets[b]
    if missing[b] <= 1e-9 * arrival[b]:
        why = " after the loss of one instance" if survive_loss else ""
        return f"bucket ({i}, {j}): the counts allowed cannot carry the load{why}"
    return (
        f"bucket ({i}, {j}): the counts allowed leave {missing[b]:.4g} of its {arrival[b]:.4g} "
        "requests/s unserved"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_))
