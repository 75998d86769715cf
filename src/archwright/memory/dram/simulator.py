"""The registered simulator ``memory/dram``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archwright.memory.dram.controller import DramController
from archwright.memory.dram.mapping import named_mapping
from archwright.memory.dram.memory import named_memory
from archwright.memory.dram.simulation import simulate
from archwright.memory.dram.trace import named_trace
from archwright.specification import option

__all__ = ["DramSpecification", "simulate_dram"]


@dataclass(frozen=True, kw_only=True)
class DramSpecification:
    """One trace, memory and controller, for ``archwright simulate memory/dram``."""

    trace: str = option("random", doc="stream, random, cloud-1, cloud-2, or a trace file (.stl)")
    requests: int = option(10_000, low=1, doc="requests of a generated trace")
    seed: int = option(0, low=0, doc="seed of a generated trace")
    memory: str = option(
        "MICRON_1Gb_DDR3-1600_8bit_G", doc="name in the catalogue, or a file (.json)"
    )
    mapping: str = option(
        "row-bank-column", doc="row-bank-column, bank-row-column, or a file (.json)"
    )
    clock_mhz: float | None = option(
        None, unit="MHz", low=1.0, doc="clock of the trace; default: that of the memory"
    )
    controller: DramController = option(factory=DramController, doc="the memory controller")


class _DramSimulator:
    """Run one trace and print what it took."""

    specification = DramSpecification

    def __call__(self, specification: DramSpecification, *, folder: Path) -> dict[str, Any]:
        """Return time, energy, bandwidth, latency and counts."""
        module = named_memory(specification.memory, folder)
        result = simulate(
            named_trace(
                specification.trace,
                folder,
                key="trace",
                requests=specification.requests,
                seed=specification.seed,
                capacity_bytes=module.capacity_bytes,
            ),
            module,
            named_mapping(specification.mapping, module, folder),
            specification.controller,
            specification.clock_mhz or module.clock_mhz,
        )
        return {
            "total_time_ns": result.total_time_ns,
            "cycles": result.cycles,
            "memory_clock_mhz": module.clock_mhz,
            "total_energy_pj": result.total_energy_pj,
            "average_power_mw": result.average_power_mw,
            "bandwidth_bytes_s": result.bandwidth_bytes_s,
            "peak_share": result.peak_share,
            "latency_mean_ns": result.latency_mean_ns,
            **{f"latency_p{p}_ns": result.latency_percentile_ns(p) for p in (50, 95, 99)},
            "wrapped_requests": result.wrapped,
            "row_hits": result.row_hits,
            "row_misses": result.row_misses,
            "row_conflicts": result.row_conflicts,
            **{f"energy.{part}": value for part, value in asdict(result.energy).items()},
            **{f"commands.{name}": count for name, count in result.counts.items()},
        }


simulate_dram = _DramSimulator()
"""The registered simulator ``memory/dram``."""
