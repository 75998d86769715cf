"""One trace through one controller and its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError
from archwright.memory import _engine
from archwright.memory.dram.controller import DramController
from archwright.memory.dram.energy import DramEnergy, energy
from archwright.memory.dram.mapping import AddressMapping, load_mapping
from archwright.memory.dram.memory import DramMemory, check_memory, load_memory, period_ps
from archwright.memory.dram.trace import DramTrace, load_trace

__all__ = ["DramCommand", "DramResult", "simulate"]

_LONGEST = 2**40  # clocks; keeps every product within 64 bits, and a run within minutes


class DramCommand(NamedTuple):
    """A command on the bus.

    Attributes:
        clock: clock of the memory at which it is issued.
        command: ACT, PRE, RD, WR, RDA, WRA (with auto-precharge), PREA or REF (all banks).
        bank: its bank; 0 for commands to all.
        row: the row that is opened or accessed.
        request: number of the request it serves, -1 for a refresh.
    """

    clock: int
    command: str
    bank: int
    row: int
    request: int


@dataclass(frozen=True, kw_only=True, eq=False)
class DramResult:
    """What a run took and did.

    Attributes:
        total_time_ns: until the last response.
        total_energy_pj: of all devices.
        average_power_mw: the energy over the window that it covers, which ends with the completion
            of the last command.
        bandwidth_bytes_s: bytes requested over the total time.
        peak_share: that bandwidth over the data bus's own.
        cycles: the total time in clocks of the memory.
        energy: the energy by part.
        counts: commands issued, by name.
        precharges: banks precharged, by whatever command.
        row_hits, row_misses, row_conflicts: requests that found their row open, their bank closed,
            or another row open.
        active_clocks, precharged_clocks: clocks with a bank open and with none.
        wrapped: requests whose address lay beyond the memory and wrapped round; see
            :class:`DramTrace`.
        latency_ns: from the arrival of each request to its response, shape (requests,).
        commands: every command, where ``record_commands`` was set.
    """

    total_time_ns: float
    total_energy_pj: float
    average_power_mw: float
    bandwidth_bytes_s: float
    peak_share: float
    cycles: int
    energy: DramEnergy
    counts: Mapping[str, int]
    precharges: int
    row_hits: int
    row_misses: int
    row_conflicts: int
    active_clocks: int
    precharged_clocks: int
    wrapped: int
    latency_ns: npt.NDArray[np.float64]
    memory: DramMemory
    commands: tuple[DramCommand, ...] | None = None

    @property
    def latency_mean_ns(self) -> float:
        """Mean latency."""
        return float(self.latency_ns.mean())

    def latency_percentile_ns(self, percent: float) -> float:
        """Return the latency that this share of requests does not exceed, from 0 to 100.

        What ``np.percentile`` returns, to rounding, by a partition of the values only.

        Raises:
            SpecificationError: a share outside of that.
        """
        if not 0 <= percent <= 100:
            raise SpecificationError(f"percent: expected 0 to 100, found {percent}")
        values = self.latency_ns
        place = (len(values) - 1) * percent / 100
        below = int(place)
        above = min(below + 1, len(values) - 1)
        part = np.partition(values, (below, above))
        return float(part[below] + (part[above] - part[below]) * (place - below))


def simulate(
    trace: DramTrace | str | PathLike[str],
    memory: DramMemory | str | PathLike[str],
    mapping: AddressMapping | str | PathLike[str],
    controller: DramController | Mapping[str, Any],
    clock_mhz: float,
    *,
    record_commands: bool = False,
) -> DramResult:
    """Run a trace, exact to the clock.

    Args:
        trace: the requests, or the path of a trace file.
        memory: the memory, or the path of its specification.
        mapping: the address mapping, or the path of its file.
        controller: the controller, or a table with DRAMSys's own keys.
        clock_mhz: clock of the trace.
        record_commands: keep every command issued.

    Example:
        >>> from archwright.memory import dram
        >>> ddr3 = dram.memory("MICRON_1Gb_DDR3-1600_8bit_G")
        >>> mapping = dram.AddressMapping.ordered(ddr3, "row-bank-column")
        >>> read = dram.DramTrace([0], [False], [0])
        >>> simulate(read, ddr3, mapping, {"PagePolicy": "Closed"}, 800).total_time_ns
        30.0

    Raises:
        SpecificationError: parts that are wrong or do not fit each other.

    Source: L. Steiner et al., DRAMSys4.0: a fast and cycle-accurate SystemC/TLM-based DRAM
    simulator, whose rules it follows.
    """
    trace = trace if isinstance(trace, DramTrace) else load_trace(trace)
    memory = memory if isinstance(memory, DramMemory) else load_memory(memory)
    mapping = mapping if isinstance(mapping, AddressMapping) else load_mapping(mapping)
    if not isinstance(controller, DramController):
        controller = DramController.from_dramsys(controller)
    check_memory(memory, where=memory.name)
    if isinstance(clock_mhz, bool) or not 1.0 <= clock_mhz <= 100_000.0:
        raise SpecificationError(f"clock_mhz: expected 1 to 100000, found {clock_mhz!r}")
    decoded = trace.decode(memory, mapping)
    trace_ps, memory_ps = period_ps(clock_mhz), memory.period_ps
    offered = trace.cycle
    if trace_ps != memory_ps:
        offered = -(-trace.cycle * trace_ps // memory_ps)
    if offered[-1] > _LONGEST:
        raise SpecificationError(
            f"{trace.name}: spans {offered[-1]} clocks of the memory; expected at most {_LONGEST}"
        )
    ran = _engine.simulate_dram(
        offered,
        trace.write.view(np.uint8),
        decoded.bank,
        decoded.row,
        trace.address,
        trace_ps,
        memory_ps,
        clocks(memory),
        controller.codes(),
        record_commands,
    )
    spent = energy(
        memory,
        ran["counts"],
        precharges=ran["precharges"],
        active_clocks=ran["active_clocks"],
        precharged_clocks=ran["precharged_clocks"],
    )
    time_ns = ran["cycles"] * memory_ps / 1000
    window_ns = (ran["active_clocks"] + ran["precharged_clocks"]) * 1000 / memory.clock_mhz
    bandwidth = len(trace) * memory.burst_bytes / time_ns * 1e9
    log = ran.pop("log", None)
    return DramResult(
        total_time_ns=time_ns,
        total_energy_pj=spent.total_pj,
        average_power_mw=spent.total_pj / window_ns,
        bandwidth_bytes_s=bandwidth,
        peak_share=bandwidth / memory.peak_bytes_s,
        energy=spent,
        latency_ns=ran.pop("latency") * (memory_ps / 1000),
        wrapped=decoded.wrapped,
        memory=memory,
        commands=None if log is None else tuple(DramCommand(*entry) for entry in log),
        **ran,
    )


def clocks(memory: DramMemory) -> dict[str, int]:
    """Return the distances between commands that the engine keeps, in clocks."""
    t, burst = memory.timing, memory.burst_clocks
    turn = t.write_preamble + 1 if memory.kind == "DDR4" else 2
    # A write also keeps the distance at which another rank could read.
    least = t.wl + burst + t.rtrs - t.rl + t.read_preamble
    return {
        "banks": memory.banks,
        "groups": memory.bank_groups,
        "burst": burst,
        "rl": t.rl,
        "wl": t.wl,
        "rcd": t.rcd - t.al,
        "ras": t.ras,
        "rc": t.rc,
        "rp": t.rp,
        "rtp": t.al + t.rtp,
        "faw": t.faw,
        "refi": t.refi,
        "rfc": t.rfc,
        "rrd_s": t.rrd_s,
        "rrd_l": t.rrd_l,
        "ccd_s": t.ccd_s,
        "ccd_l": t.ccd_l,
        "read_to_write": t.rl + burst + turn - t.wl,
        "write_to_read_s": max(t.wl + burst + t.wtr_s - t.al, least),
        "write_to_read_l": max(t.wl + burst + t.wtr_l - t.al, least),
        "write_to_pre": t.wl + burst + t.wr,
        "read_done": t.rl + t.dqsck + 1 + burst,
        "write_done": t.wl + burst + t.wr,
    }
