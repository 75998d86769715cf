"""A run as a Chrome trace: a lane a bank, and the command and data buses."""

from __future__ import annotations

from typing import Any

from archwright.errors import SpecificationError
from archwright.memory.dram.simulation import DramResult

__all__ = ["chrome_trace"]


def chrome_trace(result: DramResult) -> dict[str, Any]:
    """Return a run in the trace-event format, which ``chrome://tracing`` and Perfetto open.

    Rows are spans of their bank's lane, bursts spans of the data bus, and each command a clock of
    the command bus. Times are microseconds, as the format demands.

    Raises:
        SpecificationError: the run kept no commands.
    """
    if result.commands is None:
        raise SpecificationError("chrome_trace: run simulate with record_commands=True")
    memory = result.memory
    us = memory.period_ps / 1e6
    t, burst = memory.timing, memory.burst_clocks
    lanes = ["command bus", "data bus", *(f"bank {bank}" for bank in range(memory.banks))]
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 0, "tid": lane, "name": "thread_name", "args": {"name": name}}
        for lane, name in enumerate(lanes)
    ]

    def span(lane: int, name: str, start: int, stop: int, **more: int) -> None:
        events.append(
            {"ph": "X", "pid": 0, "tid": lane, "name": name, "ts": start * us,
             "dur": (stop - start) * us, "args": more}
        )  # fmt: skip

    opened: dict[int, tuple[int, int]] = {}
    for clock, command, bank, row, request in result.commands:
        more = {} if request < 0 else {"request": request}
        span(0, command, clock, clock + 1, **more)
        closing: list[tuple[int, int]] = []
        if command == "ACT":
            opened[bank] = (clock, row)
        elif command in ("RD", "RDA", "WR", "WRA"):
            read = command.startswith("RD")
            start = clock + (t.rl if read else t.wl)
            span(1, f"{'read' if read else 'write'} bank {bank}", start, start + burst, **more)
            if command.endswith("A"):
                offset = t.al + t.rtp if read else t.wl + burst + t.wr
                closing = [(bank, max(clock + offset, opened[bank][0] + t.ras))]
        elif command == "PRE":
            closing = [(bank, clock)]
        elif command == "PREA":
            closing = [(other, clock) for other in opened]
        else:
            for lane in range(2, len(lanes)):
                span(lane, "refresh", clock, clock + t.rfc)
        for other, stop in closing:
            start, open_row = opened.pop(other)
            span(2 + other, f"row {open_row}", start, stop)
    for other, (start, open_row) in opened.items():
        span(2 + other, f"row {open_row}", start, result.cycles)
    return {"traceEvents": events, "displayTimeUnit": "ns"}
