"""Fleet planning: the cheapest whole number of instances of each type that carries a load.

The method is Mélange's (Griggs et al. 2024, arXiv 2404.14527): requests in buckets of input and
output length, each type's capacity per bucket, loads that add up, instances bought whole. Beyond
it, instances are packed into whole offers of one region, and a share of the requests may be served
late, or any other budget spent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError
from archwright.hardware.offers import Offer
from archwright.serving.plan_inputs import (
    LATE,
    CountLimit,
    GpuProfile,
    Way,
    budget_limits,
    column_arrays,
    count_bounds,
    limit_row,
    price,
    read_rate,
    read_shares,
    read_slices,
)
from archwright.serving.plan_offers import regions
from archwright.serving.plan_regions import Rented, cheapest_region
from archwright.serving.plan_shortage import refuse_unservable, shortage
from archwright.solve.allocation import Allocation, Problem, allocate

__all__ = ["CountLimit", "FleetPlan", "GpuProfile", "Way", "plan_fleet"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """The cheapest fleet.

    Attributes:
        counts: instances by type, in the order of ``gpus``.
        cost_per_hour: dollars an hour; the bill of the offers where there are any.
        assignment: share of bucket (i, j) that goes to each type, shape (I, J, types); zeros for
            a bucket without requests.
        load: instances' worth of work on each type.
        headroom: 1 - load/count of each type; NaN where there is none.
        proven: the headroom and the order among equals are proven too. Cost and number always
            are; with slices a fixed amount of work is spent on the rest.
        shares: type to the share of bucket (i, j) that goes to each of its ways, shape
            (1 + ways, I, J); the first is ``max_rate``, a late one the last.
        budgets: budget to the mean that a request takes of it.
        late: share of bucket (i, j) that each type serves late, shape (I, J, types).
        late_share: share of all requests served late.
        offers: name to how many are rented, those rented.
        idle_accelerators: accelerators rented that no instance uses.
        cloud, region: where the offers are rented.
    """

    counts: dict[str, int]
    cost_per_hour: float
    assignment: Floats
    load: dict[str, float]
    headroom: dict[str, float]
    proven: bool = True
    shares: dict[str, Floats] = field(default_factory=dict)
    budgets: dict[str, float] = field(default_factory=dict)
    late: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))
    late_share: float = 0.0
    offers: dict[str, int] = field(default_factory=dict)
    idle_accelerators: int = 0
    cloud: str = ""
    region: str = ""


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
    offers: Sequence[Offer] | None = None,
    shapes: Mapping[str, tuple[str, int]] | None = None,
    late_share: float = 0.0,
    late_max_rate: Mapping[str, npt.ArrayLike] | None = None,
    budgets: Mapping[str, float] | None = None,
) -> FleetPlan:
    """Return the cheapest fleet that carries a workload.

    Among plans of equal cost (relative 1e-9) it has the fewest instances, then the largest
    smallest headroom, then more of the earlier name in ``gpus``; then the fewest offers, then
    more of the earlier in ``offers``. Cost and number of instances are proven; ``proven`` tells
    whether the rest is.

    >>> gpus = {"A10G": GpuProfile(1.01, [[2, 1], [5, 2]]),
    ...         "A100-80GB": GpuProfile(3.67, [[20, 20], [40, 20]])}
    >>> plan = plan_fleet([[0.2, 0.1], [0.5, 0.2]], gpus, rate=30.0, slice_factor=1)
    >>> plan.counts, round(plan.cost_per_hour, 2)
    ({'A10G': 3, 'A100-80GB': 1}, 6.7)

    With nodes of four and of eight A100, 5 % of the requests served late:

    >>> nodes = [Offer("four", "A100", 4, 14.0), Offer("eight", "A100", 8, 27.0)]
    >>> plan = plan_fleet([[0.3, 0.7]], {"A100 x2": GpuProfile(7.34, [[4.0, 2.0]])}, rate=9.5,
    ...                   offers=nodes, shapes={"A100 x2": ("A100", 2)},
    ...                   late_share=0.05, late_max_rate={"A100 x2": [[8.0, 8.0]]})
    >>> plan.counts, plan.offers, plan.idle_accelerators, round(plan.late_share, 4)
    ({'A100 x2': 4}, {'eight': 1}, 0, 0.05)

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
        survive_loss: the load must still be carried, within the budgets, after the loss of any
            one instance.
        offers: what is rented, whole. An instance lies in one offer of its device, and the fleet
            in one region of one cloud; prices of ``gpus`` are not used.
        shapes: with offers, name to (device, accelerators). A type that fits no offer is not
            rented.
        late_share: the largest share of all requests that may be served late.
        late_max_rate: name to the highest rate of one instance serving only that bucket late,
            requests/s, shape (I, J).
        budgets: budget to the most that a request may take of it in the mean over all requests,
            see ``uses`` of :class:`GpuProfile`; ``late_share`` is the budget ``"late"``.

    Raises:
        SpecificationError: an illegal value; the message names it.
        InfeasibleError: the load cannot be carried; the message names the bucket.
    """
    arrivals = read_shares(getattr(workload, "shares", workload))
    rate = read_rate(rate)
    if not gpus:
        raise SpecificationError("gpus: expected at least one type")
    slices = read_slices(slice_factor)
    names = list(gpus)
    profiles, held = budget_limits(gpus, budgets, late_share, late_max_rate)
    rates, takes, type_of = column_arrays(profiles, held, arrivals.shape, late_max_rate)
    if offers is None:
        cost = np.array([price(name, gpus[name].cost_per_hour) for name in names])
    else:
        cost = np.ones(len(names))
    least, most = count_bounds(names, available, fixed)
    where = regions(offers, shapes, names, least)
    buckets = np.argwhere(arrivals * rate > 0)
    at = tuple(buckets.T)
    arrival = arrivals[at] * rate
    with np.errstate(divide="ignore"):
        load = arrival[:, None] / rates[at]
    load[:, most[type_of] == 0] = np.inf
    share_of_all = arrivals[at] / arrivals.sum()
    problem = Problem(
        load=load,
        cost=cost,
        most=most,
        least=least,
        limits=[limit_row(limit, names) for limit in limits],
        slices=slices,
        survive_loss=survive_loss,
        type_of=type_of if len(type_of) > len(names) else None,
        takes=takes[:, at[0], at[1]] * share_of_all[:, None],
        at_most=np.array(list(held.values()), dtype=np.float64),
    )
    refuse_unservable(load, buckets, arrival)
    if offers is not None:
        rented = cheapest_region(problem, where, buckets, arrival, list(held))
        plan = _plan(rented.problem, rented.found, names, takes, at, held)
        return _with_offers(plan, rented)
    try:
        found = allocate(problem)
    except InfeasibleError:
        raise InfeasibleError(shortage(problem, buckets, arrival, list(held))) from None
    return _plan(problem, found, names, takes, at, held)


def _plan(
    problem: Problem,
    found: Allocation,
    names: list[str],
    takes: Floats,
    at: tuple[npt.NDArray[np.intp], ...],
    held: Mapping[str, float],
) -> FleetPlan:
    """Return an allocation in the caller's terms."""
    types, counts, shape = problem.types, found.counts, takes.shape[1:3]
    by_type = (types[:, None] == np.arange(len(names))).astype(np.float64)
    used = np.where(found.share > 0, found.share, 0.0)
    units = (used * np.where(np.isinf(problem.load), 0.0, problem.load)).sum(axis=0) @ by_type
    assignment = np.zeros((*shape, len(names)))
    assignment[at] = used @ by_type
    by_way = np.zeros((len(types), *shape))
    by_way[:, at[0], at[1]] = used.T
    spent = [float((each * used).sum()) for each in problem.takes]
    budgets = dict(zip(held, spent, strict=True))
    late = np.zeros_like(assignment)
    if LATE in held:
        late = np.einsum("ijc,cij,cg->ijg", takes[list(held).index(LATE)], by_way, by_type)
    return FleetPlan(
        counts={name: int(n) for name, n in zip(names, counts, strict=True)},
        cost_per_hour=float(problem.cost @ counts),
        assignment=assignment,
        load={name: float(u) for name, u in zip(names, units, strict=True)},
        headroom={
            name: float(1 - u / n) if n else math.nan
            for name, u, n in zip(names, units, counts.tolist(), strict=True)
        },
        proven=found.proven,
        shares={name: by_way[types == g] for g, name in enumerate(names)},
        budgets=budgets,
        late=late,
        late_share=budgets.get(LATE, 0.0),
    )


def _with_offers(plan: FleetPlan, rented: Rented) -> FleetPlan:
    """Return the plan with what is rented for it."""
    region, numbers = rented.region, rented.found.bins
    assert numbers is not None
    room = int(region.bins.size @ numbers)
    return replace(
        plan,
        cost_per_hour=rented.bill,
        offers={o.name: int(n) for o, n in zip(region.offers, numbers, strict=True) if n},
        idle_accelerators=room - int(region.bins.unit_size @ rented.found.counts),
        cloud=region.cloud,
        region=region.region,
    )
