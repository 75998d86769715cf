"""Random memories, controllers and traces for the tests of the DRAM simulator."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from archwright.memory import dram

DDR3 = dram.memory("MICRON_1Gb_DDR3-1600_8bit_G")
DDR4 = dram.memory("MICRON_4Gb_DDR4-2400_8bit_A")
MAPPING = {memory: dram.AddressMapping.ordered(memory) for memory in (DDR3, DDR4)}


def address(mapping: dram.AddressMapping, bank: int, row: int, column: int) -> int:
    """Return the address of a place in the memory."""

    def spread(value: int, bits: Sequence[int]) -> int:
        return sum((value >> i & 1) << bit for i, bit in enumerate(bits))

    banks = mapping.bank_bits + mapping.bank_group_bits
    return (
        spread(bank, banks) | spread(row, mapping.row_bits) | spread(column, mapping.column_bits)
    )


controllers = st.builds(
    dram.DramController,
    page_policy=st.sampled_from(["Open", "OpenAdaptive", "Closed", "ClosedAdaptive"]),
    scheduler=st.sampled_from(["Fifo", "FrFcfs", "FrFcfsGrp"]),
    scheduler_buffer=st.sampled_from(["Bankwise", "ReadWrite", "Shared"]),
    request_buffer_size=st.integers(1, 6),
    resp_queue=st.sampled_from(["Fifo", "Reorder"]),
    refresh_policy=st.sampled_from(["NoRefresh", "AllBank"]),
    refresh_max_postponed=st.integers(0, 3),
    refresh_max_pulledin=st.integers(0, 3),
    arbiter=st.sampled_from(["Simple", "Fifo", "Reorder"]),
    max_active_transactions=st.integers(1, 6),
)


@st.composite
def memories(draw: st.DrawFn) -> dram.DramMemory:
    """A memory, often with refreshes far more frequent than real."""
    memory = draw(st.sampled_from([DDR3, DDR4]))
    often = draw(st.booleans())
    interval = 3 * memory.timing.rfc if often else memory.timing.refi
    timing = dataclasses.replace(memory.timing, refi=interval)
    return dataclasses.replace(memory, timing=timing)


@st.composite
def traces(draw: st.DrawFn, memory: dram.DramMemory) -> dram.DramTrace:
    """A trace over few banks and rows, so that requests meet."""
    mapping = dram.AddressMapping.ordered(memory)
    gap = draw(st.sampled_from([0, 1, 6, 30, 400]))
    banks = draw(st.sampled_from([1, 2, memory.banks]))
    requests = draw(
        st.lists(
            st.tuples(
                st.integers(0, gap), st.booleans(), st.integers(0, banks - 1), st.integers(0, 2),
                st.sampled_from([0, 8, 16]),
            ),
            min_size=1, max_size=40,
        )
    )  # fmt: skip
    return dram.DramTrace(
        np.cumsum([gap for gap, *_ in requests]),
        [write for _, write, *_ in requests],
        np.array([address(mapping, *place) for _, _, *place in requests], dtype=np.uint64),
    )
