"""Energy of a module from its supply currents and what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from archwright.memory.dram.memory import DramMemory

__all__ = ["DramEnergy", "energy"]


@dataclass(frozen=True, kw_only=True)
class DramEnergy:
    """Energy in picojoules by part; ``vpp_pj`` is the second supply of DDR4."""

    act_pj: float
    pre_pj: float
    read_pj: float
    write_pj: float
    refresh_pj: float
    background_pj: float
    vpp_pj: float

    @property
    def total_pj(self) -> float:
        """Sum of the parts."""
        return float(sum(getattr(self, field.name) for field in fields(self)))


def energy(
    memory: DramMemory,
    counts: Mapping[str, int],
    *,
    precharges: int,
    active_clocks: int,
    precharged_clocks: int,
) -> DramEnergy:
    """Return the energy of all devices, V · mA · ns = pJ.

    A command costs what its current exceeds the background by, over the time that the data sheet
    measures it; the background is IDD3N while a bank is open and IDD2N otherwise.

    Args:
        memory: the module.
        counts: commands issued, by name.
        precharges: banks precharged, by whatever command.
        active_clocks: clocks with a bank open.
        precharged_clocks: clocks with none.

    Source: K. Chandrasekar et al., DRAMPower: open-source DRAM power and energy estimation tool.
    """
    t, p, n = memory.timing, memory.power, memory.devices
    clock_ns = 1000.0 / memory.clock_mhz
    per_ma = n * p.vdd_v * clock_ns
    burst = memory.burst_clocks
    reads = counts["RD"] + counts["RDA"]
    writes = counts["WR"] + counts["WRA"]
    vpp = n * p.vpp_v * p.ipp0_ma * clock_ns
    return DramEnergy(
        act_pj=counts["ACT"] * per_ma * (p.idd0_ma - p.idd3n_ma) * t.ras,
        pre_pj=precharges * per_ma * (p.idd0_ma - p.idd2n_ma) * (t.rc - t.ras),
        read_pj=reads * per_ma * (p.idd4r_ma - p.idd3n_ma) * burst,
        write_pj=writes * per_ma * (p.idd4w_ma - p.idd3n_ma) * burst,
        refresh_pj=counts["REF"] * per_ma * (p.idd5_ma - p.idd3n_ma) * t.rfc,
        background_pj=per_ma * (active_clocks * p.idd3n_ma + precharged_clocks * p.idd2n_ma),
        vpp_pj=vpp * (counts["ACT"] * t.ras + precharges * (t.rc - t.ras)),
    )
