"""A DDR3/DDR4 controller and memory, exact to the clock."""

from archwright.memory.dram.checker import Violation, check_commands, recount_energy
from archwright.memory.dram.chrome import chrome_trace
from archwright.memory.dram.controller import DramController
from archwright.memory.dram.energy import DramEnergy
from archwright.memory.dram.environment import (
    DramControllerEnvironment,
    DramControllerSpecification,
    dram_controller,
    target_reward,
)
from archwright.memory.dram.mapping import AddressMapping, load_mapping
from archwright.memory.dram.memory import (
    DramMemory,
    DramPower,
    DramTiming,
    load_memory,
    memories,
    memory,
)
from archwright.memory.dram.simulation import DramCommand, DramResult, simulate
from archwright.memory.dram.trace import DramTrace, cloud_1, cloud_2, load_trace, random, stream

__all__ = [
    "AddressMapping",
    "DramCommand",
    "DramController",
    "DramControllerEnvironment",
    "DramControllerSpecification",
    "DramEnergy",
    "DramMemory",
    "DramPower",
    "DramResult",
    "DramTiming",
    "DramTrace",
    "Violation",
    "check_commands",
    "chrome_trace",
    "cloud_1",
    "cloud_2",
    "dram_controller",
    "load_mapping",
    "load_memory",
    "load_trace",
    "memories",
    "memory",
    "random",
    "recount_energy",
    "simulate",
    "stream",
    "target_reward",
]
