"""Constants of the kernel-time laws: those shipped, those of a device's own, and which apply."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w

from archwright.errors import SpecificationError, nearest, unknown
from archwright.hardware.devices import PEAKS, Device, Fitted, Profile, device
from archwright.hardware.laws import LAWS
from archwright.hardware.tables import catalogue_toml, read_toml
from archwright.provenance import Source
from archwright.specification import from_mapping, to_mapping

__all__ = [
    "DATASHEET",
    "EDGES_S",
    "Fitted",
    "Profile",
    "average",
    "carried",
    "key_name",
    "load_profile",
    "resolve",
    "shipped",
    "write_profile",
]

DATASHEET = "datasheet"
"""Name of the constants carried to a device that nobody measured."""
EDGES_S = (1e-5, 1e-4, 1e-3)
"""Predicted times that part the regimes of an interval: launch, short, middle, long."""


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


def same_generation(law: str, measured: Iterable[str], architecture: str) -> list[str]:
    """Return the measured devices whose kernels of a law an architecture can run.

    All of them where the law's kernels are not written for a generation, or where nothing is
    known of the architecture's; none where none of them is of its own.

    >>> same_generation("attention_prefill", ["A100-80GB-SXM", "H100-SXM"], "ada")
    ['A100-80GB-SXM']
    >>> same_generation("gemm", ["A100-80GB-SXM", "H100-SXM"], "ada")
    ['A100-80GB-SXM', 'H100-SXM']
    """
    names = list(measured)
    generations = _catalogue()["generations"].get(law, {})
    own = generations.get(architecture)
    if own is None:
        return names
    return [name for name in names if generations.get(device(name).architecture) == own]


def carried(
    law: str, measured: Mapping[str, Mapping[str, float]], architecture: str
) -> dict[str, float]:
    """Return the constants for a device that is not among those measured.

    Those of the same architecture where there are any, else the mean over those of its generation
    (:func:`same_generation`), else over all. In a mean each inference engine counts once: devices
    timed with one engine share its kernels.

    Args:
        law: whose constants they are.
        measured: device name to constants.
        architecture: of the device asked for; empty for any.
    """
    siblings = [c for name, c in measured.items() if architecture == device(name).architecture]
    if architecture and siblings:
        return average(siblings)
    engines = _catalogue()["engines"]
    groups: dict[str, list[Mapping[str, float]]] = {}
    for name in same_generation(law, measured, architecture) or measured:
        groups.setdefault(engines.get(name, name), []).append(measured[name])
    return average(average(group) for group in groups.values())


def _catalogue() -> Mapping[str, Any]:
    return catalogue_toml("archwright.hardware", "laws.toml")


def key_name(key: str) -> str:
    """Return the key that constants stand under, with names in place of formats' aliases.

    >>> key_name("bf16/float8")
    'bfloat16/fp8'
    """
    aliases = _catalogue()["format_aliases"]
    return "/".join(aliases.get(part, part) for part in key.split("/"))


def _read(table: Any, where: str, source: Source) -> Fitted:
    """Read constants; `source` is that of those that name none of their own."""
    if not isinstance(table, Mapping):
        raise SpecificationError(f"{where}: {table!r}, expected a table")
    found = from_mapping(Fitted, {"source": source, **table}, where=where)
    for name, ends in (("low", found.low), ("high", found.high)):
        if len(ends) != len(EDGES_S) + 1 or not all(map(_positive, ends)):
            raise SpecificationError(
                f"{where}.{name}: {list(ends)}, expected {len(EDGES_S) + 1} positive numbers, "
                "one a regime"
            )
    return found


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0.0


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

    Key by key: its own calibration, then the rows of the catalogue for the device, then those
    for one of its architecture, with a wider interval. Only where none of the keys has any of
    these the datasheet's rows count: the first key that was measured on a device whose kernels
    this one can run (:func:`same_generation`), else the first that was measured at all.

    Args:
        law: name of a law.
        target: the device.
        keys: number formats, the one asked for first, then what stands in for it, nearest first.

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
    known = [key for key in keys if key in table[DATASHEET]]
    runs = [key for key in known if same_generation(law, _measured(law, key), target.architecture)]
    for key in runs or known:
        return _carried_row(law, key, target.architecture)
    raise SpecificationError(unknown(f"format of {law}", keys[0], sorted(table[DATASHEET])))


def _measured(law: str, key: str) -> dict[str, Fitted]:
    """Return device to constants in the catalogue."""
    table = shipped()[law]
    return {name: rows[key] for name, rows in table.items() if name != DATASHEET and key in rows}


@cache
def _carried_row(law: str, key: str, architecture: str) -> Fitted:
    """Return the constants of an architecture from the devices measured.

    Their interval is the datasheet's, in which every device was predicted from the others.
    """
    far, every = shipped()[law][DATASHEET][key], _measured(law, key)
    some = {n: every[n] for n in same_generation(law, every, architecture) or every}
    if some.keys() == every.keys():
        return far
    constants = carried(law, {name: row.constants for name, row in some.items()}, "")
    return replace(far, constants=constants, rows=sum(row.rows for row in some.values()))


def rows_of(fitted: Fitted) -> dict[str, Any]:
    """Return the TOML table of constants."""
    return {
        "rows": fitted.rows,
        "low": list(fitted.low),
        "high": list(fitted.high),
        "constants": dict(fitted.constants),
    }


def write_profile(target: Device, path: str | Path) -> Path:
    """Write a device with the constants of its own, for `load_profile`.

    Raises:
        SpecificationError: the device has no constants of its own.
    """
    if not target.timing:
        raise SpecificationError(
            f"device {target.name!r} has no timing constants of its own, expected a calibration"
        )
    facts = to_mapping(replace(target, timing=None))
    facts["peak_ops_s"] = dict(target.peak_ops_s)
    table: dict[str, Any] = {"format": 1, "device": facts}
    for law, rows in target.timing.items():
        table[law] = {
            key: {**rows_of(fitted), "source": vars(fitted.source)} for key, fitted in rows.items()
        }
    path = Path(path)
    path.write_bytes(tomli_w.dumps(table).encode())
    return path


def load_profile(path: str | Path) -> Device:
    """Read a device with timing constants, as `write_profile` wrote it.

    The device may be made up: it needs no row in the catalogue. Constants without a source of
    their own have that of the table ``timing_source``.

    Raises:
        SpecificationError: the file cannot be read, a key is missing or unknown, or a value is
            of the wrong kind or not positive; the message names file and key.
    """
    path = Path(path)
    table = read_toml(path)
    for key in table:
        if key not in ("format", "device", "timing_source", *LAWS):
            known = ["device", "timing_source", *LAWS]
            raise SpecificationError(f"{path}: unknown key {key!r}{nearest(key, known)}")
    if table.get("format") != 1:
        raise SpecificationError(f"{path}: format: {table.get('format')!r}, expected 1")
    stated = {"source": path.name, "flag": "fitted"}
    source = from_mapping(
        Source, _table(table, "timing_source", path, stated), where=f"{path} [timing_source]"
    )
    timing: dict[str, dict[str, Fitted]] = {}
    for law in LAWS:
        for key, row in _table(table, law, path).items():
            found = timing.setdefault(law, {})
            if key_name(key) in found:
                raise SpecificationError(
                    f"{path} [{law}.{key}]: another name of {key_name(key)!r}, which stands there "
                    "already"
                )
            found[key_name(key)] = _constants(law, key, row, path, source)
    return _device(_table(table, "device", path), timing, path)


def _table(
    table: Mapping[str, Any], key: str, path: Path, default: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    found = table.get(key, {} if default is None else default)
    if not isinstance(found, Mapping):
        raise SpecificationError(f"{path}: {key}: {found!r}, expected a table")
    return found


def _constants(law: str, key: str, row: Any, path: Path, source: Source) -> Fitted:
    """Read constants of a profile, which must be those of the law in a format that it has."""
    where = f"{path} [{law}.{key}]"
    parts = key_name(key).split("/")
    collective = law in ("all_reduce", "all_to_all")
    known = ["link", "host"] if collective else list(_catalogue()["formats"])
    if len(parts) != (2 if law.startswith("attention") else 1):
        raise SpecificationError(
            f"{where}: {key!r}, expected a format such as 'fp8', or for attention those of "
            "arithmetic and cache, such as 'bfloat16/fp8'"
        )
    for part in parts:
        if part not in known:
            raise SpecificationError(f"{where}: {unknown('format', part, known)}")
    found = _read(row, where, source)
    where = f"{path} [{law}.{key}.constants]"
    names = _catalogue()["constants"][law]
    if set(found.constants) != set(names):
        raise SpecificationError(f"{where}: {sorted(found.constants)}, expected {sorted(names)}")
    for name, value in found.constants.items():
        if not _positive(value):
            raise SpecificationError(f"{where}: {name}: {value:g}, expected a positive number")
    return found


def _device(facts: Mapping[str, Any], timing: Profile, path: Path) -> Device:
    where = f"{path} [device]"
    known = [field.name for field in fields(Device) if field.name != "timing"]
    for key in facts:
        if key not in known:
            raise SpecificationError(f"{where}: {unknown('key', key, known)}")
    whole = {
        # TOML writes no whole number with an exponent, and people write 80e9 bytes
        name: int(facts[name])
        for name in ("memory_bytes", "l2_bytes")
        if isinstance(facts.get(name), float) and facts[name].is_integer()
    }
    found = from_mapping(
        Device, {"source": {"source": path.name}, **facts, **whole, "timing": timing}, where=where
    )
    numbers = {name: getattr(found, name) for name in known}
    for name, peak in found.peak_ops_s.items():
        if name not in PEAKS:
            raise SpecificationError(f"{where}: peak_ops_s: {unknown('number type', name, PEAKS)}")
        numbers[f"peak_ops_s.{name}"] = peak
    for name, value in numbers.items():
        if isinstance(value, (int, float)) and not _positive(value):
            raise SpecificationError(f"{where}: {name}: {value:g}, expected a positive number")
    return found
