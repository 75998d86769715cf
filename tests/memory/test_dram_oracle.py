"""The native engine against a slow controller that visits every clock, bit for bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from archwright.memory import dram
from memory.cases import controllers, memories, traces
from oracles.dram import Oracle, Request


@settings(max_examples=150)
@given(st.data(), controllers)
def test_native_equals_the_oracle(data: st.DataObject, controller: dram.DramController) -> None:
    memory = data.draw(memories())
    mapping = dram.AddressMapping.ordered(memory)
    trace = data.draw(traces(memory))

    result = dram.simulate(
        trace, memory, mapping, controller, memory.clock_mhz, record_commands=True
    )

    places = mapping.decode(trace.address)
    columns = zip(trace.cycle, trace.write, places.bank, places.row, trace.address, strict=True)
    requests = [
        Request(i, int(offered), bool(write), int(bank), int(row), int(address))
        for i, (offered, write, bank, row, address) in enumerate(columns)
    ]
    oracle = Oracle(memory, controller, requests)
    assert result.cycles == oracle.run()
    assert result.commands is not None
    assert [tuple(command) for command in result.commands] == oracle.log
    latency = np.array([r.answered - r.arrived for r in requests]) * memory.period_ps / 1000
    np.testing.assert_allclose(result.latency_ns, latency)
