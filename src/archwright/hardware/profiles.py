"""Constants of the kernel-time laws: those shipped, those of a device's own, and which apply."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w

from archwright.errors import SpecificationError, nearest, unknown
from archwright.hardware.devices import Device, device, devices
from archwright.hardware.laws import LAWS
from archwright.hardware.tables import catalogue_toml, read_toml
from archwright.provenance import Source

__all__ = [
    "DATASHEET",
    "EDGES_S",
    "Fitted",
    "Profile",
    "average",
    "carried",
    "load_profile",
    "resolve",
    "shipped",
    "unmeasured",
    "write_profile",
]

DATASHEET = "datasheet"
"""Name of the constants carried to a device that nobody measured."""
EDGES_S = (1e-5, 1e-4, 1e-3)
"""Predicted times that part the regimes of an interval: launch, short, middle, long."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Constants of one law for one device and number format.

    Attributes:
        constants: name to value.
        low: 5 % quantile of measured over predicted time, one a regime of `EDGES_S`.
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


def average(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the geometric mean of constants, name by name.

    >>> average([{"read": 0.4}, {"read": 0.9}])["read"]
    0.6
    """
    rows = list(parts)
    mean = {
        name: math.exp(sum(math.log(row[name]) for row in rows) / len(rows)) for name in rows[0]
    }
    return {name: float(f"{value:.6g}") for name, value in mean.items()}


def carried(measured: Mapping[str, Mapping[str, float]], architecture: str) -> dict[str, float]:
    """Return the constants for a device that is not among those measured.

    Those of the same architecture where there are any, else the mean over all, in which each
    inference engine counts once: devices timed with one engine share its kernels.

    Args:
        measured: device name to constants.
        architecture: of the device asked for.
    """
    siblings = [c for name, c in measured.items() if architecture == device(name).architecture]
    if architecture and siblings:
        return average(siblings)
    engines = catalogue_toml("archwright.hardware", "laws.toml")["engines"]
    groups: dict[str, list[Mapping[str, float]]] = {}
    for name, constants in measured.items():
        groups.setdefault(engines.get(name, name), []).append(constants)
    return average(average(group) for group in groups.values())


def _read(table: Mapping[str, Any], where: str, source: Source) -> Fitted:
    try:
        return Fitted(
            constants={name: float(value) for name, value in table["constants"].items()},
            low=tuple(float(value) for value in table["low"]),
            high=tuple(float(value) for value in table["high"]),
            rows=int(table["rows"]),
            source=source,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SpecificationError(
            f"{where}: {error}, expected constants, low, high and rows"
        ) from None


@cache
def shipped() -> Mapping[str, Mapping[str, Mapping[str, Fitted]]]:
    """Return the constants of the catalogue ``timing.toml``: law, device, format.

    >>> sorted(shipped()["gemm"])
    ['A100-80GB-SXM', 'B200-SXM', 'H100-SXM', 'L40S', 'datasheet']
    """
    table = catalogue_toml("archwright.hardware", "timing.toml")
    source = Source(source=table["source"], date=table["date"], flag=table["flag"])
    return {
        law: {
            name: {
                key: _read(row, f"timing.toml {law} {key}", source) for key, row in rows.items()
            }
            for name, rows in table.get(law, {}).items()
        }
        for law in LAWS
    }


def _widened(own: Fitted, far: Fitted) -> Fitted:
    """Return `own` with its interval a quarter of the way to that of the carried constants.

    How far constants carry within an architecture is not measured: a choice.
    """
    return replace(
        own,
        low=tuple(a**0.75 * min(a, b) ** 0.25 for a, b in zip(own.low, far.low, strict=True)),
        high=tuple(a**0.75 * max(a, b) ** 0.25 for a, b in zip(own.high, far.high, strict=True)),
    )


def resolve(law: str, target: Device, keys: Iterable[str]) -> Fitted:
    """Return the constants that hold for a device.

    Its own calibration first, then the catalogue: the device, one of its architecture (with a
    wider interval), the datasheet. In each, the first of `keys` that was measured.

    Args:
        law: name of a law.
        target: the device.
        keys: number formats, the one asked for first, then what stands in for it.

    Raises:
        SpecificationError: no key was ever measured.
    """
    keys = list(keys)
    table = shipped()[law]
    siblings = [
        name
        for name in table
        if name not in (DATASHEET, target.name)
        and target.architecture
        and device(name).architecture == target.architecture
    ]
    for key in keys:
        if target.timing is not None and key in target.timing.get(law, {}):
            return target.timing[law][key]
        if key in table.get(target.name, {}):
            return table[target.name][key]
        for name in siblings:
            if key in table[name]:
                return _widened(table[name][key], table[DATASHEET].get(key, table[name][key]))
    for key in keys:
        if key in table[DATASHEET]:
            return table[DATASHEET][key]
    raise SpecificationError(unknown(f"format of {law}", keys[0], sorted(table[DATASHEET])))


@cache
def _carried_from_others(name: str) -> Profile:
    """Return the constants that a measured device would have, had nobody measured it."""
    profile: dict[str, dict[str, Fitted]] = {}
    for law, table in shipped().items():
        for key, far in table[DATASHEET].items():
            others = {
                other: rows[key].constants
                for other, rows in table.items()
                if other not in (DATASHEET, name) and key in rows
            }
            if others:
                found = replace(far, constants=carried(others, ""))
                profile.setdefault(law, {})[key] = found
    return profile


def unmeasured(target: Device) -> Device:
    """Return a device with the constants carried from all the others, its own left out.

    >>> from archwright.hardware.timing import attention_decode_seconds as decode
    >>> carried = unmeasured(device("B200-SXM"))
    >>> bool(decode(carried, 64, 4096, 64, 8, 128) < decode("B200-SXM", 64, 4096, 64, 8, 128))
    True
    """
    return replace(target, timing=_carried_from_others(target.name))


def rows_of(fitted: Fitted) -> dict[str, Any]:
    """Return the TOML table of constants."""
    return {
        "rows": fitted.rows,
        "low": list(fitted.low),
        "high": list(fitted.high),
        "constants": dict(fitted.constants),
    }


_PLAIN = (
    "name", "vendor", "kind", "memory_bytes", "memory_bandwidth_bytes_s",
    "link_bytes_s_per_direction", "link_topology", "link_devices",
    "host_link_bytes_s_per_direction", "tdp_w", "l2_bytes", "compute_units", "clock_hz",
    "architecture", "year", "derived_fields", "recalled_fields",
)  # fmt: skip


def write_profile(target: Device, path: str | Path) -> Path:
    """Write a device with the constants of its own, for `load_profile`.

    Raises:
        SpecificationError: the device has no constants of its own.
    """
    if not target.timing:
        raise SpecificationError(
            f"device {target.name!r} has no timing constants of its own, expected a calibration"
        )
    facts = {name: getattr(target, name) for name in _PLAIN}
    table: dict[str, Any] = {
        "format": 1,
        "device": {
            **{
                name: list(value) if isinstance(value, tuple) else value
                for name, value in facts.items()
                if value is not None
            },
            "peak_ops_s": dict(target.peak_ops_s),
            "source": vars(target.source),
        },
    }
    for law, rows in target.timing.items():
        table[law] = {key: rows_of(fitted) for key, fitted in rows.items()}
        source = next(iter(rows.values())).source
    table["timing_source"] = vars(source)
    path = Path(path)
    path.write_bytes(tomli_w.dumps(table).encode())
    return path


def load_profile(path: str | Path) -> Device:
    """Read a device with timing constants, as `write_profile` wrote it.

    The device may be made up: it needs no row in the catalogue.

    Raises:
        SpecificationError: the file cannot be read, or a key is missing or unknown.
    """
    path = Path(path)
    table = read_toml(path)
    for key in table:
        if key not in ("format", "device", "timing_source", *LAWS):
            known = ["device", "timing_source", *LAWS]
            raise SpecificationError(f"{path}: unknown key {key!r}{nearest(key, known)}")
    if table.get("format") != 1:
        raise SpecificationError(f"{path}: format: {table.get('format')!r}, expected 1")
    facts = dict(table.get("device", {}))
    known = [*_PLAIN, "peak_ops_s", "source"]
    for key in facts:
        if key not in known:
            raise SpecificationError(f"{path} [device]: {unknown('key', key, known)}")
    source = Source(**table.get("timing_source", {"source": path.name, "flag": "fitted"}))
    timing = {
        law: {key: _read(row, f"{path} [{law}.{key}]", source) for key, row in table[law].items()}
        for law in LAWS
        if law in table
    }
    for law, rows in timing.items():
        wanted = catalogue_toml("archwright.hardware", "laws.toml")["constants"][law]
        for key, fitted in rows.items():
            if set(fitted.constants) != set(wanted):
                raise SpecificationError(
                    f"{path} [{law}.{key}.constants]: {sorted(fitted.constants)}, "
                    f"expected {sorted(wanted)}"
                )
    for name in ("derived_fields", "recalled_fields"):
        facts[name] = tuple(facts.get(name, ()))
    facts["source"] = Source(**facts.get("source", {"source": path.name}))
    try:
        return Device(timing=timing, **facts)
    except TypeError as error:
        raise SpecificationError(f"{path} [device]: {error}") from None


def measured_devices() -> list[Device]:
    """Return the devices of the catalogue that the shipped constants were fitted on.

    >>> [d.name for d in measured_devices()]
    ['L40S', 'A100-80GB-SXM', 'H100-SXM', 'B200-SXM']
    """
    return [d for d in devices() if d.name in shipped()["gemm"]]
