"""Bad input: one clear SpecificationError each, and never anything else."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.memory import dram
from memory.cases import DDR3, MAPPING

MEMORY: dict[str, Any] = {
    "memspec": {
        "memoryId": "small",
        "memoryType": "DDR3",
        "memarchitecturespec": {
            "burstLength": 8, "dataRate": 2, "nbrOfBanks": 8, "nbrOfColumns": 1024,
            "nbrOfRanks": 1, "nbrOfRows": 16384, "width": 8, "nbrOfDevicesOnDIMM": 8,
            "nbrOfChannels": 1,
        },
        "memtimingspec": {
            "AL": 0, "CCD": 4, "DQSCK": 0, "FAW": 24, "RAS": 28, "RC": 38, "RCD": 10,
            "REFI": 6240, "RFC": 88, "RL": 10, "RP": 10, "RRD": 5, "RTP": 6, "WL": 8, "WR": 12,
            "WTR": 6, "RTRS": 1, "clkMhz": 800,
        },
        "mempowerspec": {
            "idd0": 70.0, "idd2n": 45.0, "idd3n": 45.0, "idd4r": 140.0, "idd4w": 145.0,
            "idd5": 170.0, "vdd": 1.5,
        },
    }
}  # fmt: skip
CONGEN: dict[str, Any] = {
    "CONGEN": {
        "BYTE_BIT": [0, 1, 2],
        "COLUMN_BIT": list(range(3, 13)),
        "BANK_BIT": [13, 14, 15],
        "ROW_BIT": list(range(16, 30)),
    }
}


def write(path: Path, table: Any) -> Path:
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return path


def changed(table: dict[str, Any], *keys: str, value: Any) -> dict[str, Any]:
    table = copy.deepcopy(table)
    inner = table
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return table


def test_files_equal_the_catalogue(tmp_path: Path) -> None:
    memory = dram.load_memory(write(tmp_path / "memory.json", MEMORY))
    mapping = dram.load_mapping(write(tmp_path / "mapping.json", CONGEN))
    trace = write(tmp_path / "a.stl", "# a comment\n0:\tread\t0x0\n\n3: write 40\n")

    assert (memory.timing, memory.power) == (DDR3.timing, DDR3.power)
    assert mapping == MAPPING[DDR3] == dram.AddressMapping.ordered(memory)
    loaded = dram.load_trace(trace)
    assert loaded.cycle.tolist() == [0, 3]
    assert loaded.write.tolist() == [False, True]
    assert loaded.address.tolist() == [0, 64]
    paths = (trace, tmp_path / "memory.json", tmp_path / "mapping.json")
    assert dram.simulate(*paths, {}, 800).counts["WR"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the trace is empty"),
        ("# nothing\n", "the trace is empty"),
        ("0: read 0x0\n1: read\n", r"line 2: expected 'clock: read\|write address'"),
        ("0: red 0x0\n", r"line 1: unknown operation 'red' \(nearest: 'read'\)"),
        ("x: read 0x0\n", "line 1: expected a clock, found 'x:'"),
        ("0: read 0xg\n", "line 1: expected a hexadecimal address of at most 64 bits"),
        ("0: read 0x10000000000000000\n", "line 1: expected a hexadecimal address"),
        ("5: read 0\n\n4: read 0\n", "line 3: clock 4 after 5; expected clocks that never fall"),
        ("-1: read 0\n", "line 1: expected a clock"),
        ("0: (64) read 0\n", "line 1: expected 'clock"),
        ("0: read 0 ff\n", "line 1: expected 'clock"),
        ("0: write 0 0xg\n", "line 1: expected hexadecimal data, found '0xg'"),
    ],
)
def test_bad_traces(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        dram.load_trace(write(tmp_path / "bad.stl", text))


def test_written_data_costs_nothing(tmp_path: Path) -> None:
    plain = dram.load_trace(write(tmp_path / "a.stl", "0: write 0x40\n9: read 0x80\n"))
    data = dram.load_trace(write(tmp_path / "b.stl", "0: write 0x40 0xFF00\n9: read 0x80\n"))
    assert plain.address.tolist() == data.address.tolist()
    assert plain.write.tolist() == data.write.tolist()


def test_relative_clocks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match="expected absolute ones"):
        dram.load_trace(write(tmp_path / "a.rstl", "0: read 0\n"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([], [], []), "the trace is empty"),
        (([0, 1], [False], [0, 0]), "have 2, 1 and 2 entries"),
        (([1, 0], [False, False], [0, 0]), "request 2: clock 0 after 1"),
        (([-1], [False], [0]), "clock -1; expected 0 or more"),
        (([0.5], [False], [0]), "cycle: expected one row of whole numbers"),
        (([0], [False], [-64]), "address: expected one row of whole numbers: a negative number"),
        (([[0]], [False], [0]), "cycle: expected one row"),
        (([10**15], [False], [0]), "cycle: expected one row of whole numbers: a number above"),
    ],
)
def test_bad_columns(columns: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        dram.DramTrace(*columns)


def test_addresses_beyond_the_memory(tmp_path: Path) -> None:
    beyond = dram.DramTrace([0, 1], [False, False], [0, DDR3.capacity_bytes])
    with pytest.raises(
        SpecificationError, match=r"request 2: address 0x40000000 is beyond .*last is 0x3fffffff"
    ):
        dram.simulate(beyond, DDR3, MAPPING[DDR3], {}, 800)

    # A recorded trace wraps within its address space, and only there.
    wraps = dram.load_trace(write(tmp_path / "a.stl", "0: read 0x40000000\n1: read 0x0\n"))
    result = dram.simulate(wraps, DDR3, MAPPING[DDR3], {}, 800)
    assert (result.row_hits, result.wrapped) == (1, 1)
    refused = dram.load_trace(write(tmp_path / "b.stl", "0: read 0x100000000\n"))
    with pytest.raises(SpecificationError, match="0x100000000 is beyond"):
        dram.simulate(refused, DDR3, MAPPING[DDR3], {}, 800)
    strict = dram.load_trace(tmp_path / "a.stl", address_bits=30)
    with pytest.raises(SpecificationError, match="0x40000000 is beyond"):
        dram.simulate(strict, DDR3, MAPPING[DDR3], {}, 800)


def test_too_long_a_trace() -> None:
    late = dram.DramTrace([10**12], [False], [0])
    with pytest.raises(SpecificationError, match=r"spans .* clocks of the memory"):
        dram.simulate(late, DDR3, MAPPING[DDR3], {}, 100)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("memspec",), None, "memspec: expected a table"),
        (("memspec", "memoryType"), "DDR5", r"unknown memoryType 'DDR5' \(nearest: 'DDR[34]'\)"),
        (("memspec", "memtimingspec", "RC"), 37, r"RC \(37\) is at least RAS \+ RP \(38\)"),
        (("memspec", "memtimingspec", "RC"), "38", "RC: expected a whole number"),
        (("memspec", "memtimingspec", "RL"), 0, "RL: expected a whole number from 1"),
        (("memspec", "memtimingspec", "REFI"), 100, r"REFI \(100\) is above"),
        (("memspec", "memtimingspec", "clkMhz"), 0, "clkMhz: expected 1 to 100000"),
        (("memspec", "memarchitecturespec", "nbrOfRanks"), 2, "nbrOfRanks: expected 1"),
        (("memspec", "memarchitecturespec", "nbrOfBanks"), 128, "from 1 to 64"),
        (("memspec", "mempowerspec", "idd0"), True, "idd0: expected a number"),
        (("memspec", "mempowerspec"), {}, "the key 'vdd' is missing"),
    ],
)
def test_bad_memories(tmp_path: Path, keys: tuple[str, ...], value: Any, message: str) -> None:
    path = write(tmp_path / "bad.json", changed(MEMORY, *keys, value=value))
    with pytest.raises(SpecificationError, match=message):
        dram.load_memory(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("BANK_BIT", [13, 14], "address bit 15 is covered by no part"),
        ("BANK_BIT", [13, 14, 12], "BANK_BIT: address bit 12 is covered twice.*COLUMN_BIT"),
        ("ROW_BITS", [1], r"unknown key 'ROW_BITS' \(nearest: 'ROW_BIT'\)"),
        ("ROW_BIT", [99], "ROW_BIT: expected a list of bits from 0 to 63"),
        ("CHANNEL_BIT", [30], "CHANNEL_BIT: one rank and one channel"),
        ("XOR", [{"FIRST": 13, "SECOND": 40}], "XOR: bit 40 is not an address bit"),
        ("XOR", [13], "XOR: expected a list of FIRST and SECOND bits"),
    ],
)
def test_bad_mappings(tmp_path: Path, key: str, value: Any, message: str) -> None:
    path = write(tmp_path / "bad.json", changed(CONGEN, "CONGEN", key, value=value))
    with pytest.raises(SpecificationError, match=message):
        dram.load_mapping(path)


def test_a_mapping_must_fit_the_memory() -> None:
    small = dram.AddressMapping(
        byte_bits=(0, 1, 2), column_bits=tuple(range(3, 13)), bank_bits=(13, 14),
        row_bits=tuple(range(15, 30)),
    )  # fmt: skip
    with pytest.raises(SpecificationError, match=r"BANK_BIT: the mapping has 2 bits.*expected 8"):
        dram.simulate(dram.stream(requests=1), DDR3, small, {}, 800)
    with pytest.raises(SpecificationError, match="unknown mapping 'row-bank'"):
        dram.AddressMapping.ordered(DDR3, "row-bank")


def test_xor_replaces_the_first_bit() -> None:
    plain = MAPPING[DDR3]
    mapping = dram.AddressMapping(
        byte_bits=plain.byte_bits, column_bits=plain.column_bits, bank_bits=plain.bank_bits,
        row_bits=plain.row_bits, xor=((13, 16),),
    )  # fmt: skip
    decoded = mapping.decode(np.array([1 << 16, 1 << 13, 1 << 13 | 1 << 16], dtype=np.uint64))
    assert decoded.bank.tolist() == [1, 1, 0]
    assert decoded.row.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"PagePolicy": "Opn"}, r"page_policy: unknown value 'Opn' \(nearest: 'Open'\)"),
        ({"PagePolcy": "Open"}, r"unknown key 'PagePolcy' \(nearest: 'PagePolicy'\)"),
        ({"CmdMux": "Strict"}, "CmdMux: 'Strict' is not supported; expected 'Oldest'"),
        ({"PowerDownPolicy": "Staggered"}, "PowerDownPolicy: 'Staggered' is not supported"),
        ({"RequestBufferSize": 0}, "request_buffer_size: 0 is below the least, 1"),
        ({"RequestBufferSize": 2.5}, "request_buffer_size: expected a whole number"),
        ({"Arbiter": None}, "arbiter: expected a text"),
    ],
)
def test_bad_controllers(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        dram.DramController.from_dramsys(table)


def test_controller_fields_are_checked() -> None:
    with pytest.raises(SpecificationError, match=r"scheduler: unknown value 'Grp'"):
        dram.DramController(scheduler="Grp")
    with pytest.raises(SpecificationError, match="refresh_max_postponed: expected a whole number"):
        dram.DramController(refresh_max_postponed=True)
    with pytest.raises(SpecificationError, match="request_buffer_size: expected 1 to"):
        dram.DramController(request_buffer_size=0)
    table = {
        "CmdMux": "Oldest",
        "PowerDownPolicy": "NoPowerDown",
        "RequestBufferSize": np.int64(3),
    }
    assert dram.DramController.from_dramsys(table).request_buffer_size == 3


@pytest.mark.parametrize("clock", [0, -1, float("nan"), float("inf"), True])
def test_bad_clocks(clock: float) -> None:
    with pytest.raises(SpecificationError, match="clock_mhz: expected 1 to 100000"):
        dram.simulate(dram.stream(requests=1), DDR3, MAPPING[DDR3], {}, clock)


@pytest.mark.parametrize("field", ["bank_groups", "data_rate", "burst_length", "clock_mhz"])
def test_counts_of_zero_are_named_before_they_divide(field: str) -> None:
    """Also where a memory was built in Python."""
    broken = replace(DDR3, **{field: 0})
    with pytest.raises(SpecificationError, match="expected"):
        dram.AddressMapping.ordered(broken)
    with pytest.raises(SpecificationError, match="expected"):
        dram.simulate(dram.stream(requests=1), broken, MAPPING[DDR3], {}, 800.0)


def test_traces_name_what_they_cannot_hold() -> None:
    with pytest.raises(SpecificationError, match="address_bits: expected 1 to 64, found 70"):
        dram.DramTrace([0], [False], [0], address_bits=70)
    with pytest.raises(SpecificationError, match="capacity_bytes: expected at least one request"):
        dram.random(np.random.default_rng(0), capacity_bytes=32)
    with pytest.raises(SpecificationError, match="capacity_bytes: expected at least one request"):
        dram.cloud_1(np.random.default_rng(0), requests=40, capacity_bytes=0)
    with pytest.raises(SpecificationError, match="requests: expected at least 1, found 0"):
        dram.cloud_1(np.random.default_rng(0), requests=0)
    for bits in (True, 32.5, "32"):
        with pytest.raises(SpecificationError, match="address_bits: expected 1 to 64"):
            dram.DramTrace([0], [False], [0], address_bits=bits)  # type: ignore[arg-type]
    result = dram.simulate(dram.stream(requests=9), DDR3, MAPPING[DDR3], {}, 800.0)
    for percent in (-1, 101, float("nan")):
        with pytest.raises(SpecificationError, match="percent: expected 0 to 100"):
            result.latency_percentile_ns(percent)


def test_unknown_memory_names_the_nearest() -> None:
    with pytest.raises(SpecificationError, match="nearest: 'MICRON_1Gb_DDR3-1600_8bit_G'"):
        dram.memory("MICRON_1Gb_DDR3-1600_8bit")


def test_missing_files(tmp_path: Path) -> None:
    for load in (dram.load_trace, dram.load_memory, dram.load_mapping):
        with pytest.raises(SpecificationError, match="cannot be read"):
            load(tmp_path / "none")
        with pytest.raises(SpecificationError, match="cannot be read"):
            load(tmp_path)


# --- fuzz: whatever a file holds, a parser returns or raises SpecificationError -----------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def parse(load: Any, path: Path, content: bytes) -> Any:
    path.write_bytes(content)
    try:
        return load(path)
    except SpecificationError as error:
        assert str(error)
        return None


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file"


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_fuzz_bytes(scratch: Path, content: bytes) -> None:
    for load in (dram.load_trace, dram.load_memory, dram.load_mapping):
        parse(load, scratch, content)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["0:", "1:", "7", "x", "", "9999999999999:", "٣:"]),
            st.sampled_from(["read", "write", "rd", ""]),
            st.sampled_from(["0x0", "40", "0x", "fffffffffffffffff", "-1", "0x3fffffc0", "1_0"]),
        )
    )
)
def test_fuzz_trace_lines(scratch: Path, lines: list[tuple[str, str, str]]) -> None:
    text = "\n".join(" ".join(line) for line in lines)
    trace = parse(dram.load_trace, scratch, text.encode())
    if trace is not None:
        assert len(trace) == len([line for line in lines if any(line)])


@given(st.data())
def test_fuzz_memory(scratch: Path, data: st.DataObject) -> None:
    section = data.draw(
        st.sampled_from(["memarchitecturespec", "memtimingspec", "mempowerspec", ""])
    )
    keys = ("memspec", section) if section else ("memspec",)
    table: Any = MEMORY
    for key in keys:
        table = table[key]
    key = data.draw(st.sampled_from(sorted(table)))
    numbers = st.integers(-2, 200) | st.floats()
    value = data.draw(json_values | numbers)
    content = json.dumps(changed(MEMORY, *keys, key, value=value)).encode()
    memory = parse(dram.load_memory, scratch, content)
    if memory is not None:
        # What is accepted also runs.
        try:
            mapping = dram.AddressMapping.ordered(memory)
        except SpecificationError:
            return
        result = dram.simulate(dram.stream(requests=30), memory, mapping, {}, 800)
        assert result.counts["RD"] + result.counts["RDA"] == 30


@given(st.data())
def test_fuzz_mapping(scratch: Path, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from([*CONGEN["CONGEN"], "XOR", "RANK_BIT", "BANKGROUP_BIT"]))
    value = data.draw(json_values | st.lists(st.integers(-1, 70), max_size=4))
    content = json.dumps(changed(CONGEN, "CONGEN", key, value=value)).encode()
    mapping = parse(dram.load_mapping, scratch, content)
    if mapping is not None:
        assert mapping.bits >= 1
