"""What a fleet may be rented from: offers by cloud and region, or accelerators by the hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from archwright.errors import SpecificationError
from archwright.hardware import Device
from archwright.hardware.offers import Offer
from archwright.hardware.prices import load_offers, load_prices, offers, sells_offers
from archwright.serving.fleet_specification import FleetSpecification
from archwright.serving.profile import InstanceType

__all__ = ["Market", "Region", "market"]


@dataclass(frozen=True, kw_only=True)
class Region:
    """What one region of one cloud rents out.

    Attributes:
        cloud, region: its names; ``own`` and empty for a user's list.
        offers: whole offers, discount included; where the price is divisible, one accelerator of
            each device.
    """

    cloud: str
    region: str
    offers: tuple[Offer, ...]

    @property
    def name(self) -> str:
        """Cloud and region in words."""
        return f"{self.cloud} {self.region}".strip()

    def dollars_an_accelerator(self, device: str, width: int = 1) -> float:
        """Return the least price of one accelerator in an offer of so many; inf without."""
        fit = [o for o in self.offers if o.device == device and o.accelerators >= width]
        return min((o.usd_per_hour / o.accelerators for o in fit), default=float("inf"))


@dataclass(frozen=True, kw_only=True)
class Market:
    """What may be rented.

    Attributes:
        regions: regions that no other makes needless, in the order of the list.
        divisible: instances pay for their accelerators alone, as if nodes could be shared.
        devices: those that are sold somewhere.
        unpriced: names of those that are not.
        available: device to accelerators that can be had, where the price is divisible.
    """

    regions: tuple[Region, ...]
    divisible: bool
    devices: tuple[Device, ...]
    unpriced: tuple[str, ...] = ()
    available: dict[str, int]

    def price(self, kind: InstanceType, region: Region | None = None) -> float:
        """Return the least dollars an hour of one instance, its part of an offer; inf if none."""
        width = 1 if self.divisible else kind.tensor_parallel
        regions = self.regions if region is None else (region,)
        each = [r.dollars_an_accelerator(kind.device.name, width) for r in regions]
        return min(each) * kind.tensor_parallel

    def bills(self, kind: InstanceType) -> list[tuple[float, float]]:
        """Return (instances that it holds, dollars an hour) of each offer that holds the type."""
        width = kind.tensor_parallel
        own = [o for r in self.regions for o in r.offers if o.device == kind.device.name]
        if self.divisible:
            return [(1.0, o.usd_per_hour * width) for o in own]
        fit = [o for o in own if o.accelerators >= width]
        return [(float(o.accelerators // width), o.usd_per_hour) for o in fit]

    def largest(self, device: str) -> int:
        """Return the most accelerators that one offer of a device has; no limit if divisible."""
        if self.divisible:
            return 1 << 30
        sizes = [o.accelerators for r in self.regions for o in r.offers if o.device == device]
        return max(sizes, default=0)

    def only(self, cloud: str) -> Market:
        """Return the same market with the regions of one cloud."""
        return replace(self, regions=tuple(r for r in self.regions if r.cloud == cloud))

    def scaled(self, device: str, factor: float) -> Market:
        """Return the same market with the prices of one device times a factor."""

        def scale(offer: Offer) -> Offer:
            if offer.device != device:
                return offer
            return replace(offer, usd_per_hour=offer.usd_per_hour * factor)

        regions = tuple(replace(r, offers=tuple(map(scale, r.offers))) for r in self.regions)
        return replace(self, regions=regions)


def market(specification: FleetSpecification, devices: Sequence[Device], folder: Path) -> Market:
    """Return what a fleet study may rent.

    Raises:
        SpecificationError: a cloud or region that is not known or sells none of the devices, or
            a width that fits no offer.
        TraceError: a broken price list.
    """
    names = [d.name for d in devices]
    own = None if specification.prices is None else folder / specification.prices
    by_accelerator = own is not None and not sells_offers(own)
    available: dict[str, int] = {}
    if own is None:
        found = offers(
            names, cloud=specification.cloud, region=specification.region,
            kinds=specification.kinds,
        )  # fmt: skip
    elif by_accelerator:
        found = []
        for row in load_prices(own):
            if specification.region in (None, row.region) or not row.region:
                found.append(
                    Offer(row.device, row.device, 1, row.usd_per_hour, "own",
                          row.region or specification.region or "", source=row.source)
                )  # fmt: skip
                if row.available is not None:
                    available[row.device] = available.get(row.device, 0) + row.available
    else:
        found = _chosen(load_offers(own), specification, own)
    divisible = by_accelerator or specification.pricing == "accelerator"
    off = 1.0 - specification.discount
    found = [replace(o, usd_per_hour=o.usd_per_hour * off) for o in found if o.device in names]
    sold = {o.device for o in found}
    if not sold:
        raise SpecificationError(_nothing_sold(specification, names))
    regions = _regions(_divided(found) if divisible else found)
    made = Market(
        regions=regions,
        divisible=divisible,
        devices=tuple(d for d in devices if d.name in sold),
        unpriced=tuple(name for name in names if name not in sold),
        available=available if divisible else {},
    )
    _check_widths(specification, made)
    return made


def _chosen(found: list[Offer], specification: FleetSpecification, path: Path) -> list[Offer]:
    """Narrow a user's own offers as the specification says."""
    for key in ("cloud", "region"):
        wanted = getattr(specification, key)
        known = sorted({getattr(o, key) for o in found})
        if wanted is not None and wanted not in known:
            raise SpecificationError(
                f"environment.{key}: {path.name} has no {wanted!r}; it has {', '.join(known)}"
            )
        found = [o for o in found if wanted in (None, getattr(o, key))]
    return [o for o in found if o.kind in specification.kinds]


def _divided(found: Sequence[Offer]) -> list[Offer]:
    """Return the cheapest accelerator-hour of each device in each region as an offer of one."""
    best: dict[tuple[str, str, str], Offer] = {}
    for offer in found:
        each = replace(
            offer, accelerators=1, usd_per_hour=offer.usd_per_hour / offer.accelerators,
            available=None,
        )  # fmt: skip
        key = (offer.cloud, offer.region, offer.device)
        if key not in best or each.usd_per_hour < best[key].usd_per_hour:
            best[key] = each
    return list(best.values())


def _regions(found: Sequence[Offer]) -> tuple[Region, ...]:
    """Sort offers by region, and leave out regions that have nothing which another lacks."""
    places = dict.fromkeys((o.cloud, o.region) for o in found)
    regions = [
        Region(
            cloud=cloud, region=region,
            offers=tuple(o for o in found if (o.cloud, o.region) == (cloud, region)),
        )
        for cloud, region in places
    ]  # fmt: skip
    kept: list[Region] = []
    for at, one in enumerate(regions):
        others = [*kept, *regions[at + 1 :]]
        if not any(other.cloud == one.cloud and _replaces(other, one) for other in others):
            kept.append(one)
    return tuple(kept)


def _replaces(other: Region, one: Region) -> bool:
    """Say whether a region sells everything that one does, no dearer and no scarcer."""

    def replaced(offer: Offer) -> bool:
        return any(
            o.device == offer.device
            and o.accelerators == offer.accelerators
            and o.usd_per_hour <= offer.usd_per_hour
            and _plenty(o) >= _plenty(offer)
            for o in other.offers
        )

    return all(replaced(offer) for offer in one.offers)


def _plenty(offer: Offer) -> float:
    return float("inf") if offer.available is None else float(offer.available)


def _nothing_sold(specification: FleetSpecification, names: Sequence[str]) -> str:
    wanted = ", ".join(names)
    if specification.prices is not None:
        return f"environment.devices: none of {wanted} has a price in {specification.prices}"
    where = specification.region or specification.cloud
    kinds = " or ".join(specification.kinds)
    if where is None:
        return f"environment.devices: no cloud of the catalogue rents {wanted} {kinds}"
    key = "cloud" if specification.region is None else "region"
    sold = sorted(
        {o.device for o in offers(cloud=specification.cloud, region=specification.region)}
    )
    return (
        f"environment.{key}: {where!r} rents none of {wanted} {kinds}; it has "
        f"{', '.join(sold) or 'nothing dated'}"
    )


def _check_widths(specification: FleetSpecification, made: Market) -> None:
    if not specification.tensor_parallel:
        raise SpecificationError("environment.tensor_parallel: expected at least one width")
    largest = max(made.largest(d.name) for d in made.devices)
    asked = specification.tensor_parallel
    default = FleetSpecification.__dataclass_fields__["tensor_parallel"].default
    wrong = [w for w in asked if w > largest and asked != default]
    if wrong or min(asked) > largest:
        raise SpecificationError(
            f"environment.tensor_parallel: no offer holds {max(asked)} accelerators; the largest "
            f"has {largest}"
        )
