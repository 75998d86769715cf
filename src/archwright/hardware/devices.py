"""Accelerators and CPUs: data-sheet facts with their origin, and the best matmul measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType
from typing import Literal

from archwright.errors import SpecificationError, unknown
from archwright.hardware.tables import catalogue_rows, catalogue_toml
from archwright.provenance import Label, Source

__all__ = [
    "PEAKS",
    "Device",
    "Fitted",
    "Link",
    "MatmulFraction",
    "Profile",
    "Tier",
    "device",
    "device_set",
    "devices",
    "matmul_fraction",
]

_ROOM = "archwright.hardware"
PEAKS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4", "int4")
"""Number types that a device may have a peak of."""
_COLUMNS = {"l2_bytes": "l2_llc_bytes", "compute_units": "sm_cu_count"}
"""Fields that bear another name in the catalogue."""

Origin = Literal["sourced", "recalled", "derived"]


@dataclass(frozen=True, kw_only=True)
class Tier:
    """A level of storage that a device reaches.

    Attributes:
        name: ``cache``, ``memory``, ``peer`` (another device over the link) or ``host``.
        capacity_bytes: its size; None where it is not known or not the device's own.
        bandwidth_bytes_s: bytes/s between it and the device, one direction; None if not known.
    """

    name: str
    capacity_bytes: int | None
    bandwidth_bytes_s: float | None


LEVELS = ("pair", "node", "rack", "nic")
"""Levels of links, nearest first; a device has some of them."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """What joins devices at one level.

    Attributes:
        level: ``pair`` (a bridge), ``node`` (within a box), ``rack`` (a switched domain of several
            boxes) or ``nic`` (the network between boxes).
        devices: most devices that it joins; None for any number.
        bandwidth_bytes_s: bytes/s out of one device, one direction.
        latency_s: seconds that a step of a collective waits for the wire.
        through_host: messages cross the host's memory, as over PCIe.

    Raises:
        SpecificationError: an unknown level, a bandwidth or latency that is not given.
    """

    level: str
    devices: int | None = None
    bandwidth_bytes_s: float
    latency_s: float = 0.0
    through_host: bool = False

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise SpecificationError(unknown("link level", self.level, LEVELS))
        for field, least in (("bandwidth_bytes_s", 1.0), ("latency_s", 0.0)):
            value = getattr(self, field)
            if not isinstance(value, (int, float)) or not least <= value < float("inf"):
                raise SpecificationError(
                    f"link level {self.level!r}: {field}: {value!r}, expected a number from "
                    f"{least:g} up"
                )
        if self.devices is not None and (
            not isinstance(self.devices, int) or isinstance(self.devices, bool) or self.devices < 2
        ):
            raise SpecificationError(
                f"link level {self.level!r}: devices: {self.devices!r}, expected 2 or more"
            )


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Constants of one law for one device and number format.

    Attributes:
        constants: name to value.
        low: 5 % quantile of measured over predicted time, one a regime, short times first.
        high: 95 % quantile.
        rows: measured rows behind them.
        source: where those rows come from.
    """

    constants: Mapping[str, float]
    low: tuple[float, ...]
    high: tuple[float, ...]
    rows: int
    source: Source


Profile = Mapping[str, Mapping[str, Fitted]]
"""Law to format to constants."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator, phone chip or CPU.

    Attributes:
        name: name in the catalogue.
        vendor: maker.
        kind: gpu, edge gpu, mobile gpu, mobile npu, soc gpu, tpu, accelerator or cpu.
        peak_ops_s: dense operations/s by type, a multiply-add counting two; a type that is
            not supported or not known is absent.
        memory_bytes: device memory; None for CPUs.
        memory_bandwidth_bytes_s: peak bytes/s.
        link_bytes_s_per_direction: bytes/s out of one device over its device-to-device links.
        link_topology: who reaches whom over that link.
        link_devices: devices that one link domain joins, 1 without a link (derived).
        host_link_bytes_s_per_direction: bytes/s to the host.
        tdp_w: board or socket limit, watts.
        l2_bytes: last-level cache on chip.
        compute_units: streaming multiprocessors, compute units, engines or cores.
        clock_hz: clock that the half-precision peak stands for (derived), None where unknown.
        architecture: design that devices share, such as ``hopper``; empty where none is known
            (recalled).
        links: links that are stated, in place of the derived ones of their levels.
        timing: kernel-time constants of the device's own, from a calibration.
        year: year of release.
        source: where the row comes from.
        derived_fields: catalogue columns that were computed.
        recalled_fields: catalogue columns from memory; ``all`` means the whole row.
    """

    name: str
    vendor: str
    kind: str
    peak_ops_s: Mapping[str, float]
    memory_bytes: int | None = None
    memory_bandwidth_bytes_s: float
    link_bytes_s_per_direction: float | None = None
    link_topology: str = ""
    link_devices: int = 1
    host_link_bytes_s_per_direction: float | None = None
    tdp_w: float | None = None
    l2_bytes: int | None = None
    compute_units: int | None = None
    clock_hz: float | None = None
    architecture: str = ""
    links: tuple[Link, ...] = ()
    timing: Profile | None = None
    year: int
    source: Source
    derived_fields: tuple[str, ...] = ()
    recalled_fields: tuple[str, ...] = ()

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """What the device reaches, nearest first; links that it lacks are left out.

        >>> [tier.name for tier in device("H100-SXM").tiers]
        ['cache', 'memory', 'peer', 'host']
        """
        found = [
            Tier(name="cache", capacity_bytes=self.l2_bytes, bandwidth_bytes_s=None),
            Tier(
                name="memory",
                capacity_bytes=self.memory_bytes,
                bandwidth_bytes_s=self.memory_bandwidth_bytes_s,
            ),
        ]
        for name, speed in (
            ("peer", self.link_bytes_s_per_direction),
            ("host", self.host_link_bytes_s_per_direction),
        ):
            if speed is not None:
                found.append(Tier(name=name, capacity_bytes=None, bandwidth_bytes_s=speed))
        return tuple(found)

    @cached_property
    def levels(self) -> tuple[Link, ...]:
        """What joins this device to others, nearest first.

        A device-to-device link joins its domain; in a box without one, or beyond a bridged pair,
        messages cross the host; beyond the box and the domain they take the network.

        >>> [(link.level, link.devices) for link in device("H100-SXM").levels]
        [('node', 8), ('nic', None)]
        >>> [(link.level, link.through_host) for link in device("L40S").levels]
        [('node', True), ('nic', False)]
        >>> [link.level for link in device("GB200").levels]
        ['rack', 'nic']
        """
        row = catalogue_toml(_ROOM, "assumptions.toml")["links"]
        box = int(row["node_devices"])
        found: dict[str, Link] = {}
        joined = self.link_devices if self.link_bytes_s_per_direction else 1
        if self.link_bytes_s_per_direction and joined > 1:
            level = "node" if joined > 2 else "pair"
            level = "rack" if joined > box else level
            found[level] = Link(
                level=level,
                devices=joined,
                bandwidth_bytes_s=self.link_bytes_s_per_direction,
                latency_s=row["link_latency_s"],
            )
        if joined < box and "node" not in found:
            host = self.host_link_bytes_s_per_direction or row["host_bytes_s"]
            found["node"] = Link(
                level="node",
                devices=box,
                bandwidth_bytes_s=min(host, row["host_bytes_s"]),
                latency_s=row["host_latency_s"],
                through_host=True,
            )
        found["nic"] = Link(
            level="nic", bandwidth_bytes_s=row["nic_bytes_s"], latency_s=row["nic_latency_s"]
        )
        found |= {link.level: link for link in self.links}
        return tuple(sorted(found.values(), key=lambda link: LEVELS.index(link.level)))

    def link_for(self, ranks: int) -> Link:
        """Return the nearest level that joins so many devices.

        >>> [device("H100-SXM").link_for(n).level for n in (2, 8, 16)]
        ['node', 'node', 'nic']

        Raises:
            SpecificationError: none of the stated levels does.
        """
        for link in self.levels:
            if link.devices is None or ranks <= link.devices:
                return link
        most = max(link.devices or 0 for link in self.levels)
        raise SpecificationError(
            f"{ranks} ranks: no link level of {self.name} joins more than {most}"
        )

    def origin(self, field: str) -> Origin:
        """Say how a field is known; a type such as ``bf16`` stands for its peak.

        >>> device("H100-SXM").origin("bf16"), device("H100-SXM").origin("fp64")
        ('sourced', 'recalled')
        """
        known = [*PEAKS, *self.__dataclass_fields__]
        if field not in known:
            raise SpecificationError(unknown("device field", field, known))
        column = _COLUMNS.get(field, field)
        if column in self.recalled_fields or "all" in self.recalled_fields:
            return "recalled"
        if field == "architecture":
            return "recalled"
        if column in self.derived_fields or field in ("link_devices", "clock_hz"):
            return "derived"
        return "derived" if self.source.flag == "derived" else "sourced"


@dataclass(frozen=True, kw_only=True)
class MatmulFraction:
    """Share of the dense peak that the best large matmul reaches.

    Attributes:
        value: 0 to 1.
        label: ``measured``, or ``assumed`` where nobody measured the device and type.
        source: where it comes from.
    """

    value: float
    label: Label
    source: Source


@cache
def _catalogue() -> Mapping[str, Device]:
    links = catalogue_toml(_ROOM, "assumptions.toml")["link_devices"]
    designs = {
        name: (design, row["operations_cycle"])
        for design, row in catalogue_toml(_ROOM, "architectures.toml").items()
        if isinstance(row, dict)
        for name in row["devices"]
    }
    table = {}
    for row in catalogue_rows(_ROOM, "devices.csv"):
        link = row["link_bytes_s_per_direction"]
        units = int(float(row["sm_cu_count"])) if row["sm_cu_count"] else None
        design, operations = designs.get(row["name"], ("", 0))
        half = row["bf16"] or row["fp16"]
        table[row["name"]] = Device(
            name=row["name"],
            vendor=row["vendor"],
            kind=row["kind"],
            peak_ops_s=MappingProxyType({t: float(row[t]) for t in PEAKS if row[t]}),
            memory_bytes=int(float(row["memory_bytes"])) if row["memory_bytes"] else None,
            memory_bandwidth_bytes_s=float(row["memory_bandwidth_bytes_s"]),
            link_bytes_s_per_direction=float(link) if link else None,
            link_topology=row["link_topology"],
            link_devices=links.get(row["link_topology"], 1) if link else 1,
            host_link_bytes_s_per_direction=_optional(row["host_link_bytes_s_per_direction"]),
            tdp_w=_optional(row["tdp_w"]),
            l2_bytes=int(float(row["l2_llc_bytes"])) if row["l2_llc_bytes"] else None,
            compute_units=units,
            clock_hz=float(half) / (units * operations) if units and operations else None,
            architecture=design,
            year=int(row["year"]),
            source=Source(source=row["source"], date=row["source_date"], flag=row["flag"]),
            derived_fields=_names(row["derived_fields"]),
            recalled_fields=_names(row["recalled_fields"]),
        )
    return MappingProxyType(table)


def _optional(text: str) -> float | None:
    return float(text) if text else None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in re.split(r";\s*", text) if name)


_MAKERS = re.compile(
    r"^\W*(nvidia|amd|intel|google|aws|apple|qualcomm)\b\W*|\b(geforce|instinct|habana|tesla)\b",
    re.IGNORECASE,
)


def _key(name: str) -> str:
    """Return the letters and digits of a name, in lower case, without its maker."""
    return re.sub(r"[^0-9a-z]", "", _MAKERS.sub("", name.replace("_", "-")).lower())


@cache
def _by_key() -> Mapping[str, str]:
    aliases = catalogue_toml(_ROOM, "assumptions.toml")["aliases"]
    return {**aliases, **{_key(name): name for name in _catalogue()}}


def devices() -> list[Device]:
    """Return every device of the catalogue, in its order.

    >>> [d.name for d in devices() if d.vendor == "Intel" and d.kind == "accelerator"]
    ['Gaudi-2', 'Gaudi-3']
    """
    return list(_catalogue().values())


def device(name: str) -> Device:
    """Return a device by name; short names and those of drivers and clouds work.

    Case, hyphens, spaces and the maker's name do not matter.

    >>> device("h200_sxm").memory_bytes
    141000000000
    >>> device("a100_sxm").name, device("NVIDIA H100 80GB HBM3").name
    ('A100-80GB-SXM', 'H100-SXM')

    Raises:
        SpecificationError: no such device; the message names the nearest one.
    """
    found = _by_key().get(_key(name))
    if found is None:
        raise SpecificationError(unknown("device", name, _catalogue()))
    return _catalogue()[found]


def device_set(text: str, among: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return the names of a set of devices written as ``h100+l4``, in the order written.

    >>> device_set("h100+l4")
    ('H100-SXM', 'L4')
    >>> device_set("all", among=["L4", "L40S"])
    ('L4', 'L40S')

    Args:
        text: names joined by ``+``, spaces around them allowed; ``all`` for every one of `among`.
        among: names of the catalogue that the set may hold; None for the whole catalogue.

    Raises:
        SpecificationError: an unknown name, one that is not among them, or one named twice.
    """
    allowed = list(_catalogue() if among is None else among)
    if among is not None and text.strip().lower() == "all":
        return tuple(allowed)
    names: list[str] = []
    for part in text.split("+"):
        if not part.strip() and names and names[-1].endswith("+"):
            continue  # the end of a name such as Xeon-Platinum-8480+
        name = _by_key().get(_key(part))
        if name is None:
            raise SpecificationError(unknown("device", part.strip(), allowed))
        if name not in allowed:
            raise SpecificationError(
                f"{text!r} names {name}, expected devices of {', '.join(allowed) or 'none'}"
            )
        if name in names:
            raise SpecificationError(f"{text!r} names {name} twice, expected each device once")
        names.append(name)
    return tuple(names)


@cache
def _measured() -> Mapping[tuple[str, str], MatmulFraction]:
    return {
        (row["devices_csv_name"], row["type"]): MatmulFraction(
            value=float(row["fraction"]),
            label="measured",
            source=Source(source=row["source"], date=row["source_date"], flag=row["flag"]),
        )
        for row in catalogue_rows(_ROOM, "measured_matmul.csv")
    }


def matmul_fraction(device: Device, dtype: str) -> MatmulFraction:
    """Return the best measured share of peak of a matmul, or the assumed default.

    A best case over many shapes in one framework: an upper mark, not a mean.

    >>> matmul_fraction(device("H100-SXM"), "bf16").value
    0.8033
    >>> matmul_fraction(device("T4"), "fp16").label
    'assumed'

    Raises:
        SpecificationError: the device has no peak of this type.
    """
    if dtype not in device.peak_ops_s:
        raise SpecificationError(
            unknown(f"number type of {device.name}", dtype, sorted(device.peak_ops_s))
        )
    found = _measured().get((device.name, dtype))
    if found is not None:
        return found
    row = catalogue_toml(_ROOM, "assumptions.toml")["matmul_fraction"]
    source = Source(source=row["source"], date=row["date"], flag=row["flag"])
    return MatmulFraction(value=row["value"], label="assumed", source=source)
