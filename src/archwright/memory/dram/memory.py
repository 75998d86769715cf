"""Memories: organization, timing in clocks and supply currents of a DDR3 or DDR4 module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

from archwright.errors import SpecificationError, unknown
from archwright.hardware.tables import catalogue_toml

__all__ = [
    "DramMemory",
    "DramPower",
    "DramTiming",
    "check_memory",
    "load_memory",
    "memories",
    "memory",
    "period_ps",
    "read_json",
]

_MOST = 1_000_000  # clocks; nothing in a memory takes longer


@dataclass(frozen=True, kw_only=True)
class DramTiming:
    """Timing in clocks of the memory; ``_s`` between bank groups, ``_l`` within one.

    A DDR3 memory has no bank groups: both values are the same.
    """

    al: int
    rl: int
    wl: int
    rcd: int
    ras: int
    rc: int
    rp: int
    rtp: int
    wr: int
    faw: int
    refi: int
    rfc: int
    rrd_s: int
    rrd_l: int
    ccd_s: int
    ccd_l: int
    wtr_s: int
    wtr_l: int
    rtrs: int
    dqsck: int
    read_preamble: int
    write_preamble: int


@dataclass(frozen=True, kw_only=True)
class DramPower:
    """Supply voltages in volts and currents in milliamperes of one device.

    ``vpp_v`` and ``ipp0_ma`` are the second supply of DDR4, zero for DDR3.
    """

    vdd_v: float
    idd0_ma: float
    idd2n_ma: float
    idd3n_ma: float
    idd4r_ma: float
    idd4w_ma: float
    idd5_ma: float
    vpp_v: float = 0.0
    ipp0_ma: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DramMemory:
    """One rank of equal devices on one channel.

    Attributes:
        kind: ``DDR3`` or ``DDR4``.
        clock_mhz: clock of the command bus.
        width_bits: data pins of one device; ``devices`` of them work in step.
        columns: columns of a row, one per device and beat.
    """

    name: str
    kind: str
    clock_mhz: float
    banks: int
    bank_groups: int
    rows: int
    columns: int
    width_bits: int
    devices: int
    burst_length: int
    data_rate: int
    timing: DramTiming
    power: DramPower

    @property
    def burst_clocks(self) -> int:
        """Clocks that one burst holds the data bus."""
        return self.burst_length // self.data_rate

    @property
    def burst_bytes(self) -> int:
        """Bytes of one request."""
        return self.burst_length * self.width_bits * self.devices // 8

    @property
    def capacity_bytes(self) -> int:
        """Bytes of the whole module."""
        return self.banks * self.rows * self.columns * self.width_bits * self.devices // 8

    @property
    def period_ps(self) -> int:
        """Clock period, in whole picoseconds."""
        return period_ps(self.clock_mhz)

    @property
    def peak_bytes_s(self) -> float:
        """Bandwidth of a data bus that never idles."""
        return self.burst_bytes / (self.burst_clocks * self.period_ps) * 1e12


def period_ps(clock_mhz: float) -> int:
    """Return a clock's period in whole picoseconds, the resolution of the simulation.

    >>> period_ps(800), period_ps(1200)
    (1250, 833)
    """
    return int(1e6 / clock_mhz + 0.5)


def load_memory(path: str | PathLike[str]) -> DramMemory:
    """Read a memory specification in DRAMSys's JSON form.

    Keys that describe power-down, which the controller never enters, are not needed.

    Raises:
        SpecificationError: the file is not such a specification, or its values contradict.
    """
    where = str(path)
    return _memory(_Section(read_json(path), where).section("memspec"), where)


def memories() -> list[str]:
    """Return the names in the catalogue."""
    return list(catalogue_toml("archwright.memory", "dram.toml"))


def named_memory(name: str, folder: Path) -> DramMemory:
    """Return a memory of the catalogue, or the file (``.json``) of that name in a folder.

    Raises:
        SpecificationError: neither in the catalogue nor a file that can be used.
    """
    return load_memory(folder / name) if name.endswith(".json") else memory(name)


def memory(name: str) -> DramMemory:
    """Return a memory of the catalogue.

    >>> memory("MICRON_1Gb_DDR3-1600_8bit_G").capacity_bytes == 2**30
    True

    Raises:
        SpecificationError: there is none of that name; the message names the nearest.
    """
    tables = catalogue_toml("archwright.memory", "dram.toml")
    if name not in tables:
        raise SpecificationError(unknown("memory", name, tables))
    return _memory(_Section(tables[name], name), name)


def _memory(table: _Section, where: str) -> DramMemory:
    organization = table.section("memarchitecturespec")
    clocks = table.section("memtimingspec")
    currents = table.section("mempowerspec")
    kind = table.text("memoryType")
    if kind not in ("DDR3", "DDR4"):
        raise SpecificationError(f"{where}: {unknown('memoryType', kind, ('DDR3', 'DDR4'))}")
    ddr4 = kind == "DDR4"
    for key in ("nbrOfRanks", "nbrOfChannels"):
        if organization.count(key, default=1) != 1:
            raise SpecificationError(f"{where}: {key}: expected 1, the only number supported")
    if ddr4 and clocks.count("REFM", default=1) != 1:
        raise SpecificationError(f"{where}: REFM: expected 1, the only refresh mode supported")
    clock_mhz = clocks.number("clkMhz")

    def pair(name: str) -> tuple[int, int]:
        if ddr4:
            return clocks.count(f"{name}_S"), clocks.count(f"{name}_L")
        return (clocks.count(name),) * 2

    (rrd_s, rrd_l), (ccd_s, ccd_l), (wtr_s, wtr_l) = pair("RRD"), pair("CCD"), pair("WTR")
    found = DramMemory(
        name=table.text("memoryId"),
        kind=kind,
        clock_mhz=clock_mhz,
        banks=organization.count("nbrOfBanks", low=1),
        bank_groups=organization.count("nbrOfBankGroups", low=1) if ddr4 else 1,
        rows=organization.count("nbrOfRows", low=1, high=2**32),
        columns=organization.count("nbrOfColumns", low=1, high=2**20),
        width_bits=organization.count("width", low=1),
        devices=organization.count("nbrOfDevicesOnDIMM", low=1),
        burst_length=organization.count("burstLength", low=1),
        data_rate=organization.count("dataRate", low=1),
        timing=DramTiming(
            al=clocks.count("AL", default=0),
            rl=clocks.count("RL", low=1),
            wl=clocks.count("WL", low=1),
            rcd=clocks.count("RCD", low=1),
            ras=clocks.count("RAS", low=1),
            rc=clocks.count("RC", low=1),
            rp=clocks.count("RP", low=1),
            rtp=clocks.count("RTP", low=1),
            wr=clocks.count("WR", low=1),
            faw=clocks.count("FAW", low=1),
            refi=clocks.count("REFI", low=1),
            rfc=clocks.count("RFC", low=1),
            rrd_s=rrd_s,
            rrd_l=rrd_l,
            ccd_s=ccd_s,
            ccd_l=ccd_l,
            wtr_s=wtr_s,
            wtr_l=wtr_l,
            rtrs=clocks.count("RTRS", default=1),
            dqsck=clocks.count("DQSCK", default=0),
            read_preamble=clocks.count("RPRE") if ddr4 else 0,
            write_preamble=clocks.count("WPRE") if ddr4 else 0,
        ),
        power=DramPower(
            vdd_v=currents.number("vdd"),
            idd0_ma=currents.number("idd0"),
            idd2n_ma=currents.number("idd2n"),
            idd3n_ma=currents.number("idd3n"),
            idd4r_ma=currents.number("idd4r"),
            idd4w_ma=currents.number("idd4w"),
            idd5_ma=currents.number("idd5"),
            vpp_v=currents.number("vdd2") if ddr4 else 0.0,
            ipp0_ma=currents.number("idd02") if ddr4 else 0.0,
        ),
    )
    check_memory(found, where=where)
    return found


def check_memory(memory: DramMemory, *, where: str) -> None:
    """Refuse values that contradict each other.

    Raises:
        SpecificationError: the first contradiction.
    """
    t = memory.timing
    counts = {
        "nbrOfBankGroups": memory.bank_groups,
        "nbrOfRows": memory.rows,
        "nbrOfColumns": memory.columns,
        "width": memory.width_bits,
        "nbrOfDevicesOnDIMM": memory.devices,
        "burstLength": memory.burst_length,
        "dataRate": memory.data_rate,
    }
    for key, count in counts.items():  # the rules below divide by them
        if count < 1:
            raise SpecificationError(f"{where}: {key}: expected at least 1, found {count}")
    if not 1.0 <= memory.clock_mhz <= 100_000.0:
        raise SpecificationError(
            f"{where}: clkMhz: expected 1 to 100000, found {memory.clock_mhz}"
        )
    busy = t.rfc + t.rc + t.rp + t.wl + memory.burst_clocks + t.wr
    rules = {
        f"RC ({t.rc}) is at least RAS + RP ({t.ras + t.rp})": t.rc >= t.ras + t.rp,
        f"RFC ({t.rfc}) is above RP ({t.rp})": t.rfc > t.rp,
        # Between two refreshes at least one request must be served.
        f"REFI ({t.refi}) is above RFC + RC + RP + WL + burst + WR ({busy})": t.refi > busy,
        f"RRD_L ({t.rrd_l}) is at least RRD_S ({t.rrd_s})": t.rrd_l >= t.rrd_s,
        f"CCD_L ({t.ccd_l}) is at least CCD_S ({t.ccd_s})": t.ccd_l >= t.ccd_s,
        f"nbrOfBanks ({memory.banks}) is from 1 to 64": 1 <= memory.banks <= 64,
        f"nbrOfBanks ({memory.banks}) is a multiple of nbrOfBankGroups ({memory.bank_groups})": (
            memory.banks % memory.bank_groups == 0
        ),
        f"burstLength ({memory.burst_length}) is a multiple of dataRate ({memory.data_rate})": (
            memory.burst_length % memory.data_rate == 0
        ),
        f"width times nbrOfDevicesOnDIMM ({memory.width_bits * memory.devices}) is whole bytes": (
            memory.width_bits * memory.devices % 8 == 0
        ),
    }
    for field in fields(t):
        rules[f"{field.name} is from 0 to {_MOST}"] = 0 <= getattr(t, field.name) <= _MOST
    for rule, holds in rules.items():
        if not holds:
            raise SpecificationError(f"{where}: expected that {rule}")


def read_json(path: str | PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        SpecificationError: there is no such file, or it is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecificationError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SpecificationError(f"{path}: expected JSON: {error}") from error


class _Section:
    """A table of the file, read key by key with the place named in every message."""

    def __init__(self, table: Any, where: str) -> None:
        if not isinstance(table, Mapping):
            raise SpecificationError(f"{where}: expected a table, found {type(table).__name__}")
        self._table, self._where = table, where

    def _get(self, key: str) -> Any:
        if key not in self._table:
            raise SpecificationError(f"{self._where}: the key {key!r} is missing")
        return self._table[key]

    def section(self, key: str) -> _Section:
        return _Section(self._get(key), f"{self._where}: {key}")

    def text(self, key: str) -> str:
        value = self._get(key)
        if not isinstance(value, str):
            raise SpecificationError(f"{self._where}: {key}: expected a text, found {value!r}")
        return value

    def count(
        self, key: str, *, low: int = 0, high: int = _MOST, default: int | None = None
    ) -> int:
        if default is not None and key not in self._table:
            return default
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise SpecificationError(
                f"{self._where}: {key}: expected a whole number from {low} to {high}, "
                f"found {value!r}"
            )
        return value

    def number(self, key: str) -> float:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SpecificationError(f"{self._where}: {key}: expected a number, found {value!r}")
        if not 0 <= value <= 1e9:
            raise SpecificationError(f"{self._where}: {key}: expected 0 to 1e9, found {value!r}")
        return float(value)
