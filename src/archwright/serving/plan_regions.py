"""The region of a cloud in which a fleet is cheapest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError
from archwright.serving.plan_offers import RegionOffers, place
from archwright.serving.plan_shortage import over_budget, refuse_unservable, shortage
from archwright.solve.allocation import Allocation, Problem, allocate, unit_prices

__all__ = ["Rented", "cheapest_region"]

Floats = npt.NDArray[np.float64]

EXACT = 1e-9


@dataclass(frozen=True, kw_only=True)
class Rented:
    """A fleet in one region: the problem there, its answer, where, and the bill."""

    problem: Problem
    found: Allocation
    region: RegionOffers
    bill: float


def cheapest_region(
    problem: Problem,
    regions: list[RegionOffers],
    buckets: npt.NDArray[np.intp],
    arrival: Floats,
    budgets: list[str],
) -> Rented:
    """Plan each region that may be the cheapest; among equals as within one, then the earlier.

    Regions go by a bound on their bill; once one is known, what is dearer is not looked for.

    Raises:
        InfeasibleError: no region carries the load.
    """
    anywhere = np.any([region.fits for region in regions], axis=0)
    refuse_unservable(_only(problem, anywhere).load, buckets, arrival)
    here: dict[tuple[object, ...], tuple[Problem, RegionOffers]] = {}
    for region in regions:
        local = replace(_only(problem, region.fits), bins=region.bins)
        here.setdefault(region.sells, (local, region))  # the first of equal ones
    ordered = sorted(here.values(), key=lambda each: _least_bill(each[0]))
    best: Rented | None = None
    proven = True
    for local, region in ordered:
        if best is not None:
            if _least_bill(local) > best.bill * (1 + EXACT):
                break
            local = replace(local, most_cost=best.bill)
        try:
            found = allocate(local)
        except InfeasibleError:
            continue
        assert found.bins is not None
        bill = float(region.bins.cost @ found.bins)
        rented = Rented(problem=local, found=found, region=region, bill=bill)
        if best is None or bill < best.bill * (1 - EXACT):
            best, proven = rented, found.proven
        elif bill <= best.bill * (1 + EXACT):
            proven &= found.proven
            if _rank(rented, best, regions) < _rank(best, rented, regions):
                best = rented
    if best is not None:
        return replace(best, found=replace(best.found, proven=proven))
    if (message := over_budget(_only(problem, anywhere), buckets, budgets)) is not None:
        raise InfeasibleError(message)
    local, region = ordered[0]
    what = f"the offers of {place(region.cloud, region.region)} and the counts allowed"
    raise InfeasibleError(shortage(local, buckets, arrival, budgets, what=what))


def _only(problem: Problem, fits: npt.NDArray[np.bool_]) -> Problem:
    return replace(problem, load=np.where(fits[problem.types], problem.load, np.inf))


def _least_bill(problem: Problem) -> float:
    """Return what no bill is below: each bucket where its part of an offer is cheapest."""
    bins = problem.bins
    assert bins is not None
    prices = unit_prices(bins)
    required = float((problem.least[problem.least > 0] * prices[problem.least > 0]).sum())
    if not len(problem.load):
        return required
    load = np.where(np.isfinite(prices)[problem.types], problem.load, np.inf)
    dollars = np.full_like(load, np.inf)
    np.multiply(load, prices[problem.types], out=dollars, where=np.isfinite(load))
    whole = np.array(
        [
            bins.cost[(bins.pool == pool) & (bins.size >= width) & (bins.most > 0)].min(
                initial=np.inf
            )
            for pool, width in zip(bins.unit_pool, bins.unit_size, strict=True)
        ]
    )
    one = np.where(np.isfinite(load), whole[problem.types], np.inf).min(axis=1).max()
    return max(required, float(dollars.min(axis=1).sum()), float(one))


def _rank(
    rented: Rented, other: Rented, regions: list[RegionOffers]
) -> tuple[float, float, tuple[int, ...], float, int]:
    """Return the order among equal bills; headroom counts where it differs beyond roundoff."""
    assert rented.found.bins is not None
    load, rival = rented.found.relative_load, other.found.relative_load
    return (
        float(rented.found.counts.sum()),
        load if abs(load - rival) > EXACT * max(load, rival) else 0.0,
        tuple((-rented.found.counts).tolist()),
        float(rented.found.bins.sum()),
        regions.index(rented.region),
    )
