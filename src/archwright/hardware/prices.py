"""Prices of rented accelerators: dated list prices of clouds, and the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import cast

from archwright.errors import SpecificationError, unknown
from archwright.hardware.devices import device as _device
from archwright.hardware.offers import Offer, OfferKind
from archwright.hardware.tables import Row, catalogue_rows, read_rows
from archwright.provenance import Source

__all__ = ["Price", "cheapest", "load_offers", "load_prices", "offers", "prices", "sells_offers"]

_PRICE_COLUMNS: dict[OfferKind, str] = {"on-demand": "usd_per_hour", "spot": "spot_usd_per_hour"}


@dataclass(frozen=True, kw_only=True)
class Price:
    """An on-demand price of one accelerator for one hour.

    Attributes:
        device: name in the device catalogue.
        usd_per_hour: dollars an accelerator-hour, before tax, discount, storage and network.
        count_in_instance: accelerators in the instance that the price was divided by.
        cloud: name of the cloud; ``own`` for a user's file.
        region: region as the cloud names it; may be empty.
        instance: the cloud's name of the instance.
        available: accelerators that can be had; None means no limit is known.
        date: ISO day of the price list; empty where the list carries none.
        source: where the price comes from.
    """

    device: str
    usd_per_hour: float
    count_in_instance: int = 1
    cloud: str = "own"
    region: str = ""
    instance: str = ""
    available: int | None = None
    date: str = ""
    source: Source


@cache
def _catalogue() -> tuple[Price, ...]:
    table = []
    for row in catalogue_rows("archwright.hardware", "prices.csv"):
        if not (row["device"] and row["usd_per_hour"] and row["count"]):
            continue
        count = float(row["count"])
        if row["flag"] == "recalled" or count < 1:
            continue
        source = Source(
            source=f"{row['source']}@{row['commit'][:12]}",
            date=row["catalogue_date"],
            flag=row["flag"],
        )
        table.append(
            Price(
                device=row["device"],
                usd_per_hour=float(row["usd_per_hour"]) / count,
                count_in_instance=round(count),
                cloud=row["cloud"],
                region=row["region"],
                instance=row["instance"],
                date=row["catalogue_date"],
                source=source,
            )
        )
    return tuple(table)


def prices(
    device: str | None = None, *, cloud: str | None = None, region: str | None = None
) -> list[Price]:
    """Return list prices of whole accelerators, narrowed by device, cloud and region.

    Recalled rows, slices of an accelerator and rows without price, count or device are left
    out. The prices are dated samples, not quotes.

    >>> p = prices("a100_sxm", cloud="aws")[0]
    >>> round(p.usd_per_hour, 4), p.count_in_instance, p.date
    (3.4309, 8, '2026-07-20')

    Raises:
        SpecificationError: an unknown device or cloud, or a region that the cloud lacks.
    """
    found: Iterable[Price] = _catalogue()
    if cloud is not None:
        _known("cloud", cloud, sorted({p.cloud for p in found}))
        found = [p for p in found if p.cloud == cloud]
    if region is not None:
        _known("region", region, sorted({p.region for p in found}))
        found = [p for p in found if p.region == region]
    if device is not None:
        name = _device(device).name
        found = [p for p in found if p.device == name]
    return list(found)


def _known(kind: str, value: str, choices: list[str]) -> None:
    if value not in choices:
        raise SpecificationError(unknown(kind, value, choices))


@lru_cache(maxsize=1024)
def cheapest(device: str, *, cloud: str | None = None, region: str | None = None) -> Price | None:
    """Return the lowest on-demand price of an accelerator-hour, None where none is listed.

    >>> cheapest("H100-SXM", cloud="aws").instance
    'p5.48xlarge'
    >>> cheapest("Gaudi-3") is None
    True
    """
    found = prices(device, cloud=cloud, region=region)
    key = lambda p: (p.usd_per_hour, p.cloud, p.region, p.instance)  # noqa: E731
    return min(found, key=key, default=None)


def load_prices(path: str | Path) -> list[Price]:
    """Read a user's prices from a CSV.

    Columns: ``device``, ``usd_per_hour`` of one accelerator-hour, and optionally ``count``
    (how many can be had; empty means no limit) and ``region``.

    Raises:
        TraceError: naming file, line, column, value and what was expected.
    """
    path = Path(path)
    rows = read_rows(path, ["device", "usd_per_hour"], ["count", "region"])
    table = []
    seen: dict[tuple[str, str], int] = {}
    for row in rows:
        name = _device_of(row)
        region = row.values.get("region", "")
        first = seen.setdefault((name, region), row.line)
        if first != row.line:
            raise row.error("device", f"one price a device and region (line {first} has it)")
        price = row.number("usd_per_hour", low=0.0)
        source = Source(source=f"{path.name}:{row.line}", flag="sourced")
        table.append(
            Price(
                device=name,
                usd_per_hour=price,
                region=region,
                available=_available(row),
                source=source,
            )
        )
    return table


@cache
def _catalogue_offers() -> tuple[tuple[Offer, bool], ...]:
    """Every whole offer of the catalogue, and whether its price carries a date."""
    found = []
    for row in catalogue_rows("archwright.hardware", "prices.csv"):
        count = float(row["count"] or 0)
        if not row["device"] or row["flag"] == "recalled" or count < 1:
            continue
        source = Source(
            source=f"{row['source']}@{row['commit'][:12]}",
            date=row["catalogue_date"],
            flag=row["flag"],
        )
        for kind, price in _PRICE_COLUMNS.items():
            if row[price]:
                offer = Offer(
                    row["instance"] if kind == "on-demand" else f"{row['instance']} ({kind})",
                    row["device"],
                    round(count),
                    float(row[price]),
                    row["cloud"],
                    row["region"],
                    kind,
                    source=source,
                )
                found.append((offer, bool(row["catalogue_date"])))
    return tuple(found)


def offers(
    devices: Sequence[str] | None = None,
    *,
    cloud: str | None = None,
    region: str | None = None,
    kinds: Sequence[str] = ("on-demand",),
) -> list[Offer]:
    """Return what clouds rent out whole: nodes, and single accelerators where they are sold so.

    Rows without a date, as marketplaces have them, are taken only where their cloud is named.
    Recalled rows and slices of an accelerator are left out. Prices are dated samples, not quotes.

    >>> [o.name for o in offers(["H100-SXM"], cloud="aws")]
    ['p5.48xlarge', 'p5.4xlarge']

    Args:
        devices: names of devices; all by default.
        cloud: of this cloud only.
        region: in this region only.
        kinds: on-demand, spot, reserved.

    Raises:
        SpecificationError: an unknown device or cloud, or a region that the cloud lacks.
    """
    known = _catalogue_offers()
    if cloud is not None:
        _known("cloud", cloud, sorted({o.cloud for o, _ in known}))
    found = [o for o, dated in known if (cloud is None and dated) or o.cloud == cloud]
    if region is not None:
        _known("region", region, sorted({o.region for o in found}))
    names = None if devices is None else {_device(name).name for name in devices}
    return [
        o
        for o in found
        if (names is None or o.device in names)
        and (region is None or o.region == region)
        and o.kind in kinds
    ]


def sells_offers(path: str | Path) -> bool:
    """Say whether a user's price list holds whole offers: it has a column ``accelerators``."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return False  # the reader says what is wrong
    header = next((x for x in lines if x.strip() and not x.lstrip().startswith("#")), "")
    return "accelerators" in [name.strip() for name in header.split(",")]


def load_offers(path: str | Path) -> list[Offer]:
    """Read a user's offers from a CSV.

    Columns: ``device``, ``accelerators`` in one offer, ``usd_per_hour`` of the whole offer, and
    optionally ``name``, ``cloud``, ``region``, ``kind`` (on-demand, spot or reserved) and
    ``available`` (how many can be had; empty means no limit).

    Raises:
        TraceError: naming file, line, column, value and what was expected.
    """
    path = Path(path)
    optional = ["name", "cloud", "region", "kind", "available"]
    table = []
    seen: dict[tuple[str, str, str], int] = {}
    for row in read_rows(path, ["device", "accelerators", "usd_per_hour"], optional):
        size = _whole(row, "accelerators", low=1)
        device = _device_of(row)
        if row.number("usd_per_hour", low=0.0) <= 0:
            raise row.error("usd_per_hour", "a price above 0")
        name = row.values.get("name") or f"{size}x{device}"
        place = (row.values.get("cloud") or "own", row.values.get("region", ""), name)
        first = seen.setdefault(place, row.line)
        if first != row.line:
            raise row.error("name", f"one row an offer and region (line {first} has {name!r})")
        try:
            offer = Offer(
                name, device, size, row.number("usd_per_hour", low=0.0), place[0], place[1],
                cast(OfferKind, row.values.get("kind") or "on-demand"),
                _whole(row, "available", low=0) if row.values.get("available") else None,
                source=Source(source=f"{path.name}:{row.line}", flag="sourced"),
            )  # fmt: skip
        except SpecificationError as error:
            raise row.error("kind", str(error)) from None
        table.append(offer)
    return table


def _whole(row: Row, column: str, *, low: int) -> int:
    value = row.number(column, low=low)
    if value != int(value):
        raise row.error(column, f"a whole number from {low}")
    return int(value)


def _device_of(row: Row) -> str:
    try:
        return _device(row.text("device")).name
    except SpecificationError as error:
        raise row.error("device", f"a device of the catalogue: {error}") from None


def _available(row: Row) -> int | None:
    if not row.values.get("count"):
        return None
    return _whole(row, "count", low=0)
