"""Offers as bins, one set for each region of a cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, nearest, unknown
from archwright.hardware.offers import Offer
from archwright.serving.plan_inputs import is_whole
from archwright.solve.allocation import Bins

__all__ = ["RegionOffers", "regions"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RegionOffers:
    """What one region of one cloud rents out.

    Attributes:
        cloud, region: its names.
        offers: in the order of the list.
        bins: the same for the planner.
        fits: types whose width fits an offer of their device here, shape (G,).
    """

    cloud: str
    region: str
    offers: tuple[Offer, ...]
    bins: Bins
    fits: npt.NDArray[np.bool_]

    @property
    def sells(self) -> tuple[object, ...]:
        """What tells a region's offers from those of another, names aside."""
        return tuple((o.device, o.accelerators, o.usd_per_hour, o.available) for o in self.offers)


def regions(
    offers: Sequence[Offer] | None,
    shapes: Mapping[str, tuple[str, int]] | None,
    names: list[str],
    least: Floats,
) -> list[RegionOffers]:
    """Return the offers of each region, in the order of the list; none where none are given.

    Args:
        offers: all of them.
        shapes: type to (device, accelerators).
        names: the types (G).
        least: instances demanded of each, shape (G,).

    Raises:
        SpecificationError: a name twice in a region, a type without a shape, or a width that is
            demanded, or each of them, fits no offer.
    """
    if offers is None:
        if shapes is not None:
            raise SpecificationError("shapes: expected offers beside it, found it alone")
        return []
    if not offers:
        raise SpecificationError("offers: expected at least one offer")
    devices, widths = _shapes(shapes, names)
    pools = {device: at for at, device in enumerate(dict.fromkeys(devices))}
    grouped: dict[tuple[str, str], list[Offer]] = {}
    for offer in offers:
        if not isinstance(offer, Offer):
            raise SpecificationError(f"offers: expected an Offer, found {offer!r}")
        same = grouped.setdefault((offer.cloud, offer.region), [])
        if offer.name in [other.name for other in same]:
            raise SpecificationError(
                f"offers: expected one offer {offer.name!r} in "
                f"{place(offer.cloud, offer.region)}, found two"
            )
        same.append(offer)
    _refuse_misfits(offers, names, devices, widths, least)
    found = []
    for (cloud, region), all_here in grouped.items():
        here = tuple(offer for offer in all_here if offer.device in pools)
        bins = Bins(
            cost=np.array([o.usd_per_hour for o in here], dtype=np.float64),
            size=np.array([o.accelerators for o in here], dtype=np.int64),
            pool=np.array([pools[o.device] for o in here], dtype=np.int64),
            most=np.array([np.inf if o.available is None else o.available for o in here]),
            unit_size=np.array(widths, dtype=np.int64),
            unit_pool=np.array([pools[d] for d in devices], dtype=np.int64),
        )
        largest = np.array([_largest(here, device) for device in devices])
        fits = bins.unit_size <= largest
        if fits.any():
            found.append(
                RegionOffers(cloud=cloud, region=region, offers=here, bins=bins, fits=fits)
            )
    return found


def place(cloud: str, region: str) -> str:
    """Return cloud and region in words."""
    return " ".join(part for part in (cloud, region) if part) or "one region"


def _shapes(
    shapes: Mapping[str, tuple[str, int]] | None, names: list[str]
) -> tuple[list[str], list[int]]:
    given = shapes or {}
    for name in given:
        if name not in names:
            raise SpecificationError(f"shapes: {unknown('type', name, names)}")
    devices, widths = [], []
    for name in names:
        if name not in given:
            raise SpecificationError(
                f"shapes: expected (device, accelerators) of type {name!r}, found none"
            )
        shape = given[name]
        pair = isinstance(shape, (tuple, list)) and len(shape) == 2
        if not pair or not isinstance(shape[0], str) or not is_whole(shape[1]) or shape[1] < 1:
            raise SpecificationError(
                f"shapes[{name!r}]: expected (device, accelerators from 1), found {shape!r}"
            )
        devices.append(shape[0])
        widths.append(int(shape[1]))
    return devices, widths


def _refuse_misfits(
    offers: Sequence[Offer],
    names: list[str],
    devices: list[str],
    widths: list[int],
    least: Floats,
) -> None:
    """Refuse types that are demanded and fit no offer, and types of which none fits any."""
    misfit = [w > _largest(offers, d) for d, w in zip(devices, widths, strict=True)]
    demanded = [g for g, bad in enumerate(misfit) if bad and (least[g] > 0 or all(misfit))]
    if demanded:
        g = demanded[0]
        what = f"shapes[{names[g]!r}]: {widths[g]} × {devices[g]} is a width that fits no offer"
        largest = _largest(offers, devices[g])
        known = sorted({offer.device for offer in offers})
        raise SpecificationError(
            f"{what}; the largest node of {devices[g]!r} has {largest}"
            if largest
            else f"{what}; no offer has {devices[g]!r}{nearest(devices[g], known)}"
        )


def _largest(offers: Sequence[Offer], device: str) -> int:
    return max((o.accelerators for o in offers if o.device == device), default=0)
