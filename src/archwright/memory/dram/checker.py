"""An independent look at a command log: timing, bank states and energy.

Nothing here is shared with the engine. The rules are written as the data sheet does, a table of
distances between two commands, and the log is held against every one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from archwright.memory.dram.energy import DramEnergy, energy
from archwright.memory.dram.memory import DramMemory
from archwright.memory.dram.simulation import DramCommand

__all__ = ["Violation", "check_commands", "recount_energy"]

_READS, _WRITES = ("RD", "RDA"), ("WR", "WRA")
_ALL_BANKS = ("PREA", "REF")


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A command that breaks a rule.

    Attributes:
        index: its place in the log.
        rule: the rule, such as ``tRCD (bank)`` or ``bank is closed``.
        clocks: clocks by which it is too early; 0 where the rule is not about time.
    """

    index: int
    rule: str
    clocks: int = 0


def _distances(memory: DramMemory) -> list[tuple[str, tuple[str, ...], tuple[str, ...], str, int]]:
    """Return (name, earlier commands, later commands, scope, least distance)."""
    t, burst = memory.timing, memory.burst_clocks
    columns = _READS + _WRITES
    ddr4 = memory.kind == "DDR4"
    turn = t.rl + burst - t.wl + (1 + t.write_preamble if ddr4 else 2)
    read_to_pre, write_to_pre = t.al + t.rtp, t.wl + burst + t.wr
    return [
        ("tRCD", ("ACT",), columns, "bank", t.rcd - t.al),
        ("tRC", ("ACT",), ("ACT",), "bank", t.rc),
        ("tRC", ("ACT",), ("REF",), "rank", t.rc),
        ("tRRD_S", ("ACT",), ("ACT",), "rank", t.rrd_s),
        ("tRRD_L", ("ACT",), ("ACT",), "group", t.rrd_l),
        ("tRAS", ("ACT",), ("PRE",), "bank", t.ras),
        ("tRAS", ("ACT",), ("PREA",), "rank", t.ras),
        ("tRTP", ("RD",), ("PRE",), "bank", read_to_pre),
        ("tRTP", _READS, ("PREA",), "rank", read_to_pre),
        ("tWR", ("WR",), ("PRE",), "bank", write_to_pre),
        ("tWR", _WRITES, ("PREA",), "rank", write_to_pre),
        ("tWR before auto-precharge", ("WR",), ("RDA",), "bank", write_to_pre - t.rtp - t.al),
        ("tRP", ("PRE",), ("ACT",), "bank", t.rp),
        ("tRP", ("PREA",), ("ACT", "REF"), "rank", t.rp),
        ("tRP", ("PRE",), ("REF",), "rank", t.rp),
        ("tRTP + tRP", ("RDA",), ("ACT",), "bank", read_to_pre + t.rp),
        ("tRTP + tRP", ("RDA",), ("REF",), "rank", read_to_pre + t.rp),
        ("tWR + tRP", ("WRA",), ("ACT",), "bank", write_to_pre + t.rp),
        ("tWR + tRP", ("WRA",), ("REF",), "rank", write_to_pre + t.rp),
        ("tRFC", ("REF",), ("ACT", "REF"), "rank", t.rfc),
        ("tCCD_S", _READS, _READS, "rank", t.ccd_s),
        ("tCCD_L", _READS, _READS, "group", t.ccd_l),
        ("tCCD_S", _WRITES, _WRITES, "rank", t.ccd_s),
        ("tCCD_L", _WRITES, _WRITES, "group", t.ccd_l),
        ("read to write", _READS, _WRITES, "rank", turn),
        ("tWTR_S", _WRITES, _READS, "rank", t.wl + burst + t.wtr_s - t.al),
        ("tWTR_L", _WRITES, _READS, "group", t.wl + burst + t.wtr_l - t.al),
    ]


def check_commands(memory: DramMemory, commands: Iterable[DramCommand]) -> list[Violation]:
    """Hold a command log against every timing rule and the state of every bank.

    Args:
        memory: the memory whose rules hold.
        commands: the log, in the order issued.

    Returns:
        What breaks a rule, in order; empty for a log that a real memory accepts.
    """
    found: list[Violation] = []
    distances = _distances(memory)
    banks_per_group = memory.banks // memory.bank_groups
    last: dict[tuple[str, str, int], int] = {}
    activates: list[int] = []
    rows: dict[int, int] = {}
    bus, data_until = -1, -1
    for index, (clock, command, bank, row, _) in enumerate(commands):
        places = {"bank": bank, "group": bank // banks_per_group, "rank": 0}
        if clock <= bus:
            found.append(
                Violation(index=index, rule="one command a clock", clocks=bus + 1 - clock)
            )
        bus = clock
        for name, earlier, later, scope, least in distances:
            if command not in later:
                continue
            for kind in earlier:
                before = last.get((kind, scope, places[scope]))
                if before is not None and clock - before < least:
                    rule = f"{name} ({scope})"
                    found.append(
                        Violation(index=index, rule=rule, clocks=least - (clock - before))
                    )
        if command == "ACT":
            if len(activates) >= 4 and clock - activates[-4] < memory.timing.faw:
                early = memory.timing.faw - (clock - activates[-4])
                found.append(Violation(index=index, rule="tFAW (rank)", clocks=early))
            activates.append(clock)
        if command in _READS + _WRITES:
            latency = memory.timing.rl if command in _READS else memory.timing.wl
            start = clock + latency
            if start < data_until:
                found.append(
                    Violation(index=index, rule="data bus is free", clocks=data_until - start)
                )
            data_until = start + memory.burst_clocks
        found += [Violation(index=index, rule=rule) for rule in _states(command, bank, row, rows)]
        for scope, place in places.items():
            last[command, scope, place] = clock
    return found


def _states(command: str, bank: int, row: int, rows: dict[int, int]) -> Iterator[str]:
    """Yield the state rules that a command breaks, and follow the open rows."""
    if command == "ACT":
        if bank in rows:
            yield "bank is closed"
        rows[bank] = row
    elif command in _READS + _WRITES:
        if rows.get(bank) != row:
            yield "row is open"
        if command in ("RDA", "WRA"):
            rows.pop(bank, None)
    elif command == "PRE":
        rows.pop(bank, None)
    elif command == "PREA":
        rows.clear()
    elif command == "REF":
        if rows:
            yield "all banks are closed"
    else:
        yield "known command"


def recount_energy(memory: DramMemory, commands: Iterable[DramCommand]) -> DramEnergy:
    """Count the energy again from a command log.

    The window ends with the completion of the last command, where an auto-precharge counts as a
    command at the clock at which the bank begins to close. A refresh keeps the memory active until
    tRP before its end.
    """
    t, burst = memory.timing, memory.burst_clocks
    write_to_pre = t.wl + burst + t.wr
    done = {"ACT": t.rcd, "PRE": t.rp, "PREA": t.rp, "REF": 0}
    done |= dict.fromkeys(_READS, t.rl + t.dqsck + 1 + burst)
    done |= dict.fromkeys(_WRITES, write_to_pre)
    counts = dict.fromkeys(done, 0)
    precharges, opened = 0, dict[int, int]()
    spans: list[tuple[int, int]] = []  # when a bank was open
    refreshes: list[int] = []
    end = key = -1
    for clock, command, bank, _, _ in commands:
        counts[command] += 1
        if clock >= key:
            key, end = clock, clock + done[command] - 1
        closing: list[tuple[int, int]] = []
        if command == "ACT":
            opened[bank] = clock
        elif command in ("RDA", "WRA"):
            offset = t.al + t.rtp if command == "RDA" else write_to_pre
            at = max(clock + offset, opened[bank] + t.ras)
            closing = [(bank, at)]
            if at > key:
                key, end = at, at + t.rp - 1
        elif command == "PRE":
            closing = [(bank, clock)]
        elif command == "PREA":
            closing = [(other, clock) for other in opened]
        elif command == "REF":
            refreshes.append(clock)
        for other, at in closing:
            spans.append((opened.pop(other), at))
            precharges += 1
    spans += [(start, end) for start in opened.values()]
    spans += [(clock, clock + t.rfc - t.rp) for clock in refreshes]
    active, until, gaps = 0, 0, 0
    for start, stop in sorted(spans):
        gaps += max(0, start - until)
        active += max(0, stop - max(start, until))
        until = max(until, stop)
    return energy(
        memory,
        counts,
        precharges=precharges,
        active_clocks=active,
        precharged_clocks=gaps + max(0, end - until),
    )
