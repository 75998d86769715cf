"""A slow DRAM controller, clock by clock: the rules of ``archwright.memory.dram`` once more.

Every clock is visited; every earliest time is found by looking through the whole command log.
Trace and memory share one clock. Nothing is taken from the native engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from archwright.memory.dram import DramController, DramMemory

NEVER = 10**15


@dataclass
class Request:
    number: int
    offered: int
    write: bool
    bank: int
    row: int
    address: int
    arrived: int = -1
    answered: int = -1


@dataclass
class Oracle:
    memory: DramMemory
    controller: DramController
    requests: list[Request]
    log: list[tuple[int, str, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        banks = range(self.memory.banks)
        self.queue: dict[int, list[Request]] = {b: [] for b in banks}
        self.open_row: dict[int, int] = {}
        self.last_bank, self.last_write, self.bus_free = 0, False, 0
        # The way of a request: offered, waiting in the arbiter, at the controller's door.
        self.next_offer, self.arrival, self.held = 0, self.requests[0].offered, None
        self.waiting: list[Request] = []
        self.door: tuple[Request, int] | None = None
        self.active, self.last_taken = 0, -1
        # The way of a response: data on the bus, sent by the controller, received by the trace.
        self.data: list[tuple[Request, int, int]] = []
        self.sent: list[Request] = []
        self.sent_count = self.received_count = 0
        self.last_sent = -1
        self.arbiter_active: list[int] = [-1]
        # Refresh.
        refreshes = self.controller.refresh_policy == "AllBank"
        self.due = self.memory.timing.refi if refreshes else NEVER
        self.debt, self.pulling, self.blocked = 0, False, False
        self.refresh_wanted = False
        self.wake = (self.due, -1)  # the clock of the next wake-up, and when it was set

    # --- timing -----------------------------------------------------------------------------

    def earliest(self, command: str, bank: int) -> int:
        t, burst = self.memory.timing, self.memory.burst_clocks
        size = self.memory.banks // self.memory.bank_groups
        to_pre = t.wl + burst + t.wr
        ddr4 = self.memory.kind == "DDR4"
        turn = t.rl + burst - t.wl + (1 + t.write_preamble if ddr4 else 2)
        other_rank = t.wl + burst + t.rtrs - t.rl + t.read_preamble
        activates = [c for c, name, *_ in self.log if name == "ACT"]
        times = [self.bus_free]
        if command == "ACT" and len(activates) >= 4:
            times.append(activates[-4] + t.faw)
        for clock, name, other, _, _ in self.log:
            same, group = other == bank, other // size == bank // size
            least = None
            if command == "ACT":
                if name == "ACT":
                    least = t.rc if same else t.rrd_l if group else t.rrd_s
                elif name == "RDA" and same:
                    least = t.al + t.rtp + t.rp
                elif name == "WRA" and same:
                    least = to_pre + t.rp
                elif name == "PREA" or (name == "PRE" and same):
                    least = t.rp
                elif name == "REF":
                    least = t.rfc
            elif command == "PRE" and same:
                least = {"ACT": t.ras, "RD": t.al + t.rtp, "WR": to_pre}.get(name)
            elif command == "PREA":
                kinds = {"ACT": t.ras, "RD": t.al + t.rtp, "WR": to_pre}
                least = kinds.get(name.removesuffix("A") if name[0] in "RW" else name)
            elif command == "REF":
                least = {
                    "ACT": t.rc, "RDA": t.al + t.rtp + t.rp, "WRA": to_pre + t.rp,
                    "PRE": t.rp, "PREA": t.rp, "REF": t.rfc,
                }.get(name)  # fmt: skip
            elif command[:2] in ("RD", "WR"):
                if name == "ACT" and same:
                    least = t.rcd - t.al
                elif name[:2] == command[:2]:
                    least = t.ccd_l if group else t.ccd_s
                elif name[:2] == "RD":
                    least = turn
                elif name[:2] == "WR":
                    wtr = t.wtr_l if group else t.wtr_s
                    least = max(t.wl + burst + wtr - t.al, other_rank)
                    if command == "RDA" and name == "WR" and same:
                        least = max(least, to_pre - t.al - t.rtp)
            if least is not None:
                times.append(clock + least)
        return max(times)

    # --- scheduling -------------------------------------------------------------------------

    def chosen(self, bank: int) -> Request:
        queue, row = self.queue[bank], self.open_row.get(bank)
        hits = [request for request in queue if request.row == row]
        if self.controller.scheduler == "Fifo" or not hits:
            return queue[0]
        if self.controller.scheduler == "FrFcfsGrp":
            for i, request in enumerate(hits):
                older = {hit.address for hit in hits[:i]}
                if request.write == self.last_write and request.address not in older:
                    return request
        return hits[0]

    def next_command(self, bank: int) -> tuple[str, Request]:
        request, row = self.chosen(bank), self.open_row.get(bank)
        policy, queue = self.controller.page_policy, self.queue[bank]
        if row is None:
            return "ACT", request
        if policy != "Closed" and request.row != row:
            return "PRE", request
        if self.controller.scheduler == "Fifo":
            further = len(queue) >= 2 and queue[1].row == row
        else:
            further = sum(other.row == row for other in queue) >= 2
        closes = {
            "Open": False,
            "Closed": True,
            "OpenAdaptive": len(queue) >= 2 and not further,
            "ClosedAdaptive": not further,
        }[policy]
        return ("WR" if request.write else "RD") + ("A" if closes else ""), request

    def has_space(self) -> bool:
        size = self.controller.request_buffer_size
        held = [request for queue in self.queue.values() for request in queue]
        writes = sum(request.write for request in held)
        return {
            "Bankwise": len(self.queue[self.last_bank]) < size,
            "ReadWrite": writes < size and len(held) - writes < size,
            "Shared": len(held) < size,
        }[self.controller.scheduler_buffer]

    def admit(self, t: int) -> None:
        if self.door is None or self.door[1] > t or not self.has_space():
            return
        request, self.door = self.door[0], None
        self.queue[request.bank].append(request)
        self.last_bank, self.last_taken = request.bank, t
        self.arbiter_active.append(t)
        if self.controller.arbiter == "Simple":
            self.offer_next(t)
        elif self.waiting:
            self.door = (self.waiting.pop(0), t + 1)

    def decide_refresh(self, t: int) -> None:
        if t < self.due:
            return
        interval = self.memory.timing.refi
        idle = not any(self.queue.values())
        self.refresh_wanted = False
        if t >= self.due + interval:
            self.due += interval
            self.pulling = False
        if self.pulling and not idle:
            self.pulling = False
            self.due += interval
        elif not self.pulling and self.debt == self.controller.refresh_max_postponed:
            self.blocked = self.refresh_wanted = True
        elif idle:
            self.refresh_wanted = True
        else:
            self.debt += 1
            self.due += interval

    def candidates(self, servable: bool) -> list[tuple[int, int, str, int]]:
        """Earliest clock, age, command and bank of all that could go out."""
        found = []
        if self.refresh_wanted:
            command = "PREA" if self.open_row else "REF"
            found.append((self.earliest(command, 0), -1, command, 0))
        for bank, queue in self.queue.items():
            if queue and servable:
                command, request = self.next_command(bank)
                found.append((self.earliest(command, bank), request.number, command, bank))
        return found

    def one_pass(self, t: int) -> None:
        self.admit(t)
        servable = not self.blocked
        self.decide_refresh(t)
        ready = [(max(c, t), age, *rest) for c, age, *rest in self.candidates(servable)]
        if not ready or min(ready)[0] > t or self.bus_free > t:
            return
        _, age, command, bank = min(ready)
        self.bus_free = t + 1
        if age < 0:
            self.log.append((t, command, 0, 0, -1))
            self.open_row.clear()
            if command == "REF":
                self.blocked = self.refresh_wanted = False
                self.debt -= self.pulling
                self.pulling = True
                if self.debt == -self.controller.refresh_max_pulledin:
                    self.pulling = False
                    self.due += self.memory.timing.refi
        else:
            request = self.requests[age]
            self.log.append((t, command, bank, request.row, age))
            if command == "ACT":
                self.open_row[bank] = request.row
            elif command == "PRE":
                del self.open_row[bank]
            else:
                self.queue[bank].remove(request)
                self.last_write = request.write
                if command.endswith("A"):
                    del self.open_row[bank]
                timing = self.memory.timing
                latency = timing.wl if request.write else timing.rl
                self.data.append((request, t + latency + self.memory.burst_clocks, t))
                self.admit(t)
        self.decide_refresh(t)

    # --- the trace, the arbiter and the responses ---------------------------------------------

    def offer_next(self, t: int) -> None:
        if self.next_offer < len(self.requests):
            self.arrival = max(t + 1, self.requests[self.next_offer].offered)

    def pass_on(self, request: Request, t: int) -> None:
        if self.door is not None or self.waiting:
            self.waiting.append(request)
        else:
            self.door = (request, t + 1 if self.last_taken == t else t)

    def arrive(self, t: int) -> None:
        request = self.requests[self.next_offer]
        self.next_offer += 1
        self.arrival = NEVER
        request.arrived = t
        self.arbiter_active.append(t)
        if self.controller.arbiter == "Simple":
            self.door = (request, t)
        elif self.active >= self.controller.max_active_transactions:
            self.held = request
        else:
            self.active += 1
            self.offer_next(t)
            self.pass_on(request, t)

    def respond(self, t: int) -> tuple[bool, tuple[int, bool] | None]:
        """Move responses by one clock.

        Returns whether the trace receives one; and, where one leaves the controller as its data
        end, when that wake-up was set and whether the response before it set it.
        """
        reorder = self.controller.resp_queue == "Reorder"
        woken = None
        for i, (request, end, known) in enumerate(self.data):
            wanted = request.number == self.sent_count if reorder else i == 0
            if wanted and end <= t:
                del self.data[i]
                self.sent.append(request)
                self.sent_count += 1
                self.arbiter_active.append(t)
                if end == t and end > self.last_sent:
                    woken = max(known, self.last_sent), self.last_sent > known
                self.last_sent = t
                break
        reorder = self.controller.arbiter == "Reorder"
        for i, request in enumerate(self.sent):
            if (request.number == self.received_count) if reorder else i == 0:
                del self.sent[i]
                request.answered = t
                self.received_count += 1
                self.arbiter_active.append(t)
                return True, woken
        return False, woken

    def arrives_first(self, last_active: int, woken: tuple[int, bool] | None) -> bool:
        """Whether an arrival of this clock comes before the controller's own events of it."""
        if last_active >= self.wake[1] or woken is None:
            return last_active < self.wake[1]
        by_response = woken[1] and self.controller.arbiter == "Simple"
        return last_active < woken[0] or (last_active == woken[0] and by_response)

    def run(self) -> int:
        """Return the clock of the last response."""
        for t in count():
            last_active = max(self.arbiter_active)
            received, woken = self.respond(t)
            arrives = self.arrival == t
            command_now = self.wake[0] == t
            if arrives and command_now and self.arrives_first(last_active, woken):
                self.arrive(t)
                self.one_pass(t)
            else:
                self.one_pass(t)
                if arrives:
                    self.arrive(t)
                    self.one_pass(t)
            if received and self.held is not None:
                request, self.held = self.held, None
                self.arbiter_active.append(t)
                self.offer_next(t)
                self.pass_on(request, t)
                self.one_pass(t)
            elif received and self.controller.arbiter != "Simple":
                self.active -= 1
            if self.received_count == len(self.requests):
                return t
            times = [c for c, *_ in self.candidates(not self.blocked)]
            if not self.refresh_wanted:
                times.append(self.due)
            due = max(min(times, default=NEVER), t + 1)
            if self.wake[0] <= t or due < self.wake[0]:
                self.wake = (due, t)
        raise AssertionError("unreachable")
