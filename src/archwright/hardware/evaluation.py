"""From a device and a number format to the machine and constants of a law, and to times."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from archwright.errors import SpecificationError, unknown
from archwright.hardware.devices import Device
from archwright.hardware.devices import device as _device
from archwright.hardware.laws import LAWS, Array, Machine
from archwright.hardware.profiles import DATASHEET, EDGES_S, Fitted, key_name, resolve, shipped
from archwright.hardware.tables import catalogue_toml

__all__ = [
    "Timed",
    "answer",
    "assumption",
    "find",
    "formats",
    "keys_of",
    "machine",
    "machine_of",
    "predict",
    "ready",
    "run",
    "sample",
    "sampling_bytes",
    "stream",
]

_BLOCK = 8192
"""Points that are evaluated together, so that the steps of a law stay in the cache."""


class Timed(NamedTuple):
    """A kernel time with its 90 % interval, seconds."""

    seconds: Any
    low: Any
    high: Any


@cache
def _catalogue() -> dict[str, Any]:
    return catalogue_toml("archwright.hardware", "laws.toml")


def assumption(name: str) -> Any:
    """Return a table of the catalogue ``laws.toml``.

    >>> assumption("memory")["share"]
    0.8
    """
    return _catalogue()[name]


def formats() -> list[str]:
    """Return the number formats that kernels may have.

    >>> formats()[:4]
    ['fp32', 'float16', 'bfloat16', 'fp8']
    """
    return list(assumption("formats"))


def _format(kind: str, name: str) -> str:
    found = key_name(name)
    if found not in assumption("formats"):
        known = [*assumption("formats"), *assumption("format_aliases")]
        raise SpecificationError(unknown(kind, name, known))
    return found


def machine(target: Device, dtype: str, *, kv_dtype: str | None = None) -> Machine:
    """Return what a law needs of a device for a number format.

    Args:
        target: the device.
        dtype: format of the arithmetic.
        kv_dtype: format of the KV cache; for attention.

    Raises:
        SpecificationError: an unknown format, or a device that has no peak of it.
    """
    row = assumption("formats")[_format("dtype", dtype)]
    rest = assumption("unknown")
    peak = target.peak_ops_s.get(row["peak"])
    if peak is None:
        able = [
            name for name, f in assumption("formats").items() if f["peak"] in target.peak_ops_s
        ]
        raise SpecificationError(
            unknown(f"dtype of {target.name}", dtype, able) + f"; it has no {row['peak']} peak"
        )
    weight = row["weight"]
    if kv_dtype is not None:
        weight = assumption("formats")[_format("kv_dtype", kv_dtype)]["weight"]
    # Units of anything but a GPU are engines or cores, to which no kernel block belongs.
    units = target.compute_units if "gpu" in target.kind else None
    return Machine(
        peak=peak,
        bandwidth=target.memory_bandwidth_bytes_s,
        units=units or rest["compute_units"],
        clock=target.clock_hz or rest["clock_hz"],
        l2=target.l2_bytes or rest["l2_bytes"],
        weight=weight,
        activation=row["activation"] if kv_dtype is None else max(2.0, row["activation"]),
        output=row["output"],
    )


def find(target: Device | str) -> Device:
    """Return a device, itself or by its catalogue name."""
    return target if isinstance(target, Device) else _device(target)


def _keys(dtype: str, kv_dtype: str | None = None) -> list[str]:
    """Return the formats whose constants stand in, nearest first."""
    peak = assumption("formats")[dtype]["peak"]
    same = [name for name, row in assumption("formats").items() if row["peak"] == peak]
    if kv_dtype is None:
        narrow = ["fp8"] if peak in ("fp8", "fp4") else []
        return list(dict.fromkeys([dtype, *same, *narrow, "bfloat16"]))
    pairs = [f"{dtype}/{kv_dtype}", f"{dtype}/{dtype}"]
    kv = "fp8" if assumption("formats")[kv_dtype]["weight"] < 2.0 else "bfloat16"
    return list(dict.fromkeys([*pairs, f"bfloat16/{kv}", "bfloat16/bfloat16"]))


def keys_of(law: str, key: str) -> list[str]:
    """Return the keys under which constants for a key may stand, nearest first."""
    if law in ("all_reduce", "all_to_all"):
        return [key]
    dtype, _, kv_dtype = key.partition("/")
    return _keys(dtype, kv_dtype or None)


@lru_cache(maxsize=512)
def _named(name: str, law: str, dtype: str, kv_dtype: str | None) -> tuple[Machine, Fitted]:
    return _prepare(_device(name), law, dtype, kv_dtype)


def _prepare(target: Device, law: str, dtype: str, kv_dtype: str | None) -> tuple[Machine, Fitted]:
    dtype = _format("dtype", dtype)
    if kv_dtype is not None:
        kv_dtype = _format("kv_dtype", kv_dtype)
    found = machine(target, dtype, kv_dtype=kv_dtype)
    return found, resolve(law, target, _keys(dtype, kv_dtype))


def ready(
    target: Device | str, law: str, dtype: str, kv_dtype: str | None = None
) -> tuple[Machine, Fitted]:
    """Return the machine and the constants of a law, kept for devices of the catalogue."""
    if isinstance(target, Device):
        return _prepare(target, law, dtype, kv_dtype)
    return _named(target, law, dtype, kv_dtype)


def run(
    law: str, machine: Machine, fitted: Fitted, sizes: Iterable[Array], return_interval: bool
) -> Any:
    """Evaluate a law over arrays that broadcast; seconds, or a `Timed`."""
    arrays = list(sizes)
    shape = np.broadcast(*arrays).shape
    formula = LAWS[law]
    if math.prod(shape) <= _BLOCK:  # the formula broadcasts faster than numpy prepares it
        seconds = formula(machine, fitted.constants, *arrays)
    else:
        flat = [array.reshape(-1) for array in np.broadcast_arrays(*arrays)]
        seconds = np.empty(flat[0].size)
        for i in range(0, seconds.size, _BLOCK):
            part = [array[i : i + _BLOCK] for array in flat]
            seconds[i : i + _BLOCK] = formula(machine, fitted.constants, *part)
        seconds = seconds.reshape(shape)
    return answer(seconds, fitted, return_interval)


def answer(seconds: Array, fitted: Fitted, return_interval: bool) -> Any:
    """Return seconds, or a `Timed` with the interval of each time's regime."""
    if not return_interval:
        return seconds[()]
    regime = np.searchsorted(EDGES_S, seconds)
    low = seconds * np.asarray(fitted.low)[regime]
    high = seconds * np.asarray(fitted.high)[regime]
    return Timed(seconds[()], low[()], high[()])


def stream(target: Device, size: Any, return_interval: bool) -> Any:
    """Time a streaming kernel of so many bytes; nothing is checked."""
    row = assumption("memory")
    seconds = row["launch_s"] + np.asarray(size, dtype=np.float64) / (
        target.memory_bandwidth_bytes_s * row["share"]
    )
    return answer(seconds, shipped()["gemm"][DATASHEET]["bfloat16"], return_interval)


def sampling_bytes(sampling: str, entries: Any) -> Any:
    """Return the bytes that drawing tokens moves, of so many logits in all."""
    return _sampling(sampling)["entry_bytes"] * entries


def sample(target: Device, sampling: str, entries: Any) -> Timed:
    """Time drawing tokens from so many logits in all; nothing is checked but the rule's name."""
    row, rest = _sampling(sampling), assumption("unknown")
    timed: Timed = stream(target, row["entry_bytes"] * entries, True)
    units = target.compute_units if "gpu" in target.kind else None
    rate = (units or rest["compute_units"]) * (target.clock_hz or rest["clock_hz"])
    sorting = assumption("memory")["launch_s"] + row["entry_cycles"] * entries / rate
    longer = np.maximum(timed.seconds, sorting)
    factor = longer / timed.seconds
    return Timed(longer, timed.low * factor, timed.high * factor)


def _sampling(name: str) -> Any:
    known = assumption("sampling")
    if name not in known:
        raise SpecificationError(unknown("sampling", name, known))
    return known[name]


def predict(law: str, target: Device, key: str, fitted: Fitted, shape: Iterable[Array]) -> Timed:
    """Return the times that given constants put on shapes; nothing is checked.

    Args:
        law: name of a law.
        target: the device.
        key: format, ``arithmetic/cache`` for attention, ``link`` or ``host`` for collectives.
        fitted: constants and interval.
        shape: arguments of the law, one array each.
    """
    found = machine_of(target, law, key)
    timed: Timed = run(law, found, fitted, shape, True)
    return timed


def machine_of(target: Device, law: str, key: str) -> Machine:
    """Return what a law needs of a device, by the key that its constants stand under."""
    if law in ("all_reduce", "all_to_all"):
        through = key == "host"
        near = [link for link in target.levels if link.level != "nic"]
        speeds = [link.bandwidth_bytes_s for link in near if link.through_host == through]
        speed = (speeds or [link.bandwidth_bytes_s for link in target.levels])[0]
        return Machine(peak=1, bandwidth=1, units=1, clock=1, l2=1, link=speed)
    dtype, _, kv_dtype = key.partition("/")
    return machine(target, dtype, kv_dtype=kv_dtype or None)
