"""The independent checker: it accepts every log, rejects each broken one, and recounts energy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.memory import dram
from archwright.memory.dram import DramCommand as Command
from memory.cases import DDR3, DDR4, MAPPING, address, controllers, memories, traces


@given(st.data(), controllers)
def test_logs_are_legal_and_energy_recounts(
    data: st.DataObject, controller: dram.DramController
) -> None:
    memory = data.draw(memories())
    mapping = dram.AddressMapping.ordered(memory)
    trace = data.draw(traces(memory))

    result = dram.simulate(
        trace, memory, mapping, controller, memory.clock_mhz, record_commands=True
    )

    assert result.commands is not None
    assert dram.check_commands(memory, result.commands) == []
    assert dram.recount_energy(memory, result.commands) == result.energy
    names = [command.command for command in result.commands]
    assert {name: names.count(name) for name in result.counts} == dict(result.counts)
    assert result.row_hits + result.row_misses + result.row_conflicts == len(trace)


@pytest.mark.parametrize(
    ("memory", "log", "rule", "clocks"),
    [
        (DDR3, [(0, "ACT", 0), (9, "RD", 0)], "tRCD (bank)", 1),
        (DDR3, [(0, "ACT", 0), (4, "ACT", 1)], "tRRD_S (rank)", 1),
        (DDR4, [(0, "ACT", 0), (5, "ACT", 1)], "tRRD_L (group)", 1),
        (DDR4, [(0, "ACT", 0), (3, "ACT", 4)], "tRRD_S (rank)", 1),
        (DDR3, [(0, "ACT", 0), (27, "PRE", 0)], "tRAS (bank)", 1),
        (DDR3, [(0, "ACT", 0), (28, "PRE", 0), (37, "ACT", 0)], "tRP (bank)", 1),
        (DDR3, [(0, "ACT", 0), (30, "RD", 0), (35, "PRE", 0)], "tRTP (bank)", 1),
        (DDR3, [(0, "ACT", 0), (10, "WR", 0), (33, "PRE", 0)], "tWR (bank)", 1),
        (DDR3, [(0, "ACT", 0), (10, "RD", 0), (13, "RD", 0)], "tCCD_S (rank)", 1),
        (DDR4, [(0, "ACT", 0), (16, "RD", 0), (21, "RD", 0)], "tCCD_L (group)", 1),
        (DDR3, [(0, "ACT", 0), (10, "RD", 0), (17, "WR", 0)], "read to write (rank)", 1),
        (DDR3, [(0, "ACT", 0), (10, "WR", 0), (27, "RD", 0)], "tWTR_S (rank)", 1),
        (DDR4, [(0, "ACT", 0), (16, "WR", 0), (44, "RD", 0)], "tWTR_L (group)", 1),
        (DDR3, [(0, "REF", 0), (87, "ACT", 0)], "tRFC (rank)", 1),
        (DDR3, [(0, "ACT", 0), (28, "PREA", 0), (37, "REF", 0)], "tRP (rank)", 1),
        (DDR3, [(0, "ACT", 0), (28, "RDA", 0), (43, "ACT", 0)], "tRTP + tRP (bank)", 1),
        (DDR3, [(0, "ACT", 0), (10, "WRA", 0), (43, "ACT", 0)], "tWR + tRP (bank)", 1),
        (
            DDR3,
            [(0, "ACT", 0), (5, "ACT", 1), (10, "ACT", 2), (15, "ACT", 3), (23, "ACT", 4)],
            "tFAW (rank)",
            1,
        ),
        (DDR3, [(0, "ACT", 0), (0, "ACT", 1)], "one command a clock", 1),
        (DDR3, [(0, "RD", 0)], "row is open", 0),
        (DDR3, [(0, "ACT", 0), (40, "ACT", 0)], "bank is closed", 0),
        (DDR3, [(0, "ACT", 0), (40, "REF", 0)], "all banks are closed", 0),
        (DDR3, [(0, "NOP", 0)], "known command", 0),
    ],
)
def test_a_broken_rule_is_found(
    memory: dram.DramMemory, log: list[tuple[int, str, int]], rule: str, clocks: int
) -> None:
    commands = [Command(clock, name, bank, 0, 0) for clock, name, bank in log]

    found = dram.check_commands(memory, commands)

    assert (len(log) - 1, rule, clocks) in [(v.index, v.rule, v.clocks) for v in found]


def test_chrome_trace() -> None:
    mapping = MAPPING[DDR3]
    places = [address(mapping, bank, row, 0) for bank, row in ((0, 0), (1, 5), (0, 1))]
    trace = dram.DramTrace([0, 0, 0], [False, True, False], places)

    result = dram.simulate(trace, DDR3, mapping, {"PagePolicy": "Open"}, 800, record_commands=True)
    drawn = dram.chrome_trace(result)["traceEvents"]

    lanes = {e["tid"]: e["args"]["name"] for e in drawn if e["ph"] == "M"}
    assert len(lanes) == 2 + DDR3.banks
    spans = [(lanes[e["tid"]], e["name"], e["ts"], e["dur"]) for e in drawn if e["ph"] == "X"]
    bursts = [(name, start, dur) for lane, name, start, dur in spans if lane == "data bus"]
    assert [name for name, *_ in bursts] == ["read bank 0", "write bank 1", "read bank 0"]
    assert bursts[0][1:] == pytest.approx((20 * 0.00125, 4 * 0.00125))
    assert result.commands is not None
    assert sum(lane == "command bus" for lane, *_ in spans) == len(result.commands)
    assert [name for lane, name, *_ in spans if lane == "bank 0"] == ["row 0", "row 1"]
    with pytest.raises(SpecificationError, match="record_commands=True"):
        dram.chrome_trace(dram.simulate(trace, DDR3, mapping, {}, 800))
