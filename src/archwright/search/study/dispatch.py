"""Sends what a session asks to an executor, in pieces that follow the time measured.

What is asked together and what is measured together are two things. Cutting a batch changes no
measurement, so pieces are as large as keeps the loop cheap where trials are fast, and single
trials where they are slow: then every worker has one, little is lost by an interruption, and a
budget in seconds ends within a trial.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from archwright.errors import EnvironmentFault
from archwright.search.executors.measure import ATTEMPTS, Executor
from archwright.search.study.session import Asked, Session

__all__ = ["Dispatcher", "Pace"]

_AIM_SECONDS = 0.05
"""A piece is grown until it takes this long."""
_CHEAP_SECONDS = 0.002
"""What takes less is not worth cutting for the sake of other workers."""
_BATCHING = 0.7
"""Where a piece of twice the size takes less than this a trial, the environment batches."""
_PATIENCE_SECONDS = 0.25


class Pace:
    """How many trials a piece has, from the time that pieces took.

    >>> pace = Pace()
    >>> for n in (1, 2, 4):
    ...     pace.note(n, 0.001 * n)
    >>> pace.size
    8
    >>> pace.note(8, 4.0)
    >>> pace.size
    1
    """

    def __init__(self, *, probe: bool = True) -> None:
        self.size = 1
        self._probe = probe
        self._each: dict[int, float] = {}

    def note(self, n: int, seconds: float) -> None:
        """Take the time of a piece of n trials."""
        each = seconds / n
        half = self._each.get(n // 2) if n > 1 else None
        self._each[n] = each
        if n < self.size:
            return  # cut short by its block: it says nothing of whole pieces
        if seconds < _AIM_SECONDS or (half is not None and each < _BATCHING * half):
            self.size = 2 * n
        elif n == 1 and self._probe:  # once: does the environment measure two as fast as one?
            self._probe = False
            self.size = 2
        elif seconds > 2 * _AIM_SECONDS:
            self.size = max(1, int(n * _AIM_SECONDS / seconds))

    def piece(self, waiting: int, workers: int) -> int:
        """Return how many of the waiting trials one worker takes."""
        share = -(-waiting // workers)
        each = self._each.get(self.size // 2) or self._each.get(1, 0.0)
        cheap = int(_CHEAP_SECONDS / each) if each else 1
        return max(1, min(self.size, max(share, cheap)))


class Dispatcher:
    """Runs a session to its end with an executor.

    Args:
        session: the session.
        executor: an executor that has been opened.
        failures: ``stop`` raises what a trial raises; ``record`` notes it and goes on.
        retries: further attempts of a trial that failed.
        timeout_s: after so long a trial's worker is ended; None waits.
    """

    def __init__(
        self,
        session: Session,
        executor: Executor,
        *,
        failures: str = "stop",
        retries: int = 0,
        timeout_s: float | None = None,
    ) -> None:
        self._session = session
        self._executor = executor
        self._record = failures == "record"
        self._retries = retries
        self._timeout_s = timeout_s
        self._workers = max(1, int(getattr(executor, "workers", None) or 1))
        self._pace = Pace(probe=session.seconds_left is None)
        self._again: list[Asked] = []
        self._tries: dict[tuple[int, int], int] = {}
        self._running: list[tuple[Any, Asked]] = []

    def run(self) -> None:
        """Ask, measure and tell until the study has ended.

        Raises:
            EnvironmentFault: a trial failed, and failures stop the study.
            KeyboardInterrupt: Ctrl-C; what was measured is kept.
        """
        with _interruptible() as self._interrupts:
            while self._send():
                for place in self._wait():
                    handle, asked = self._running[place]
                    self._running[place] = (None, asked)
                    self._finish(handle, asked)
                self._running = [one for one in self._running if one[0] is not None]
                self._interrupts.check()

    def _send(self) -> bool:
        """Employ the idle workers; return whether anything is being measured."""
        session = self._session
        while len(self._running) < self._workers:
            asked: Any = None
            if self._again and not session.halted:
                asked = self._again.pop(0)
            else:
                self._again.clear()
                free = self._workers - len(self._running)
                asked = session.ask(self._pace.piece(session.waiting, free))
                if not len(asked):
                    break
            self._running.append((self._submit(asked), asked))
        return bool(self._running)

    def _submit(self, asked: Asked) -> Any:
        if self._timeout_s is None:
            return self._executor.submit(asked.work)
        limited: Any = self._executor
        return limited.submit(asked.work, timeout_s=self._timeout_s * len(asked))

    def _wait(self) -> list[int]:
        """Return the places of pieces that are done."""
        handles = [handle for handle, _ in self._running]
        wait = getattr(self._executor, "wait", None)
        with self._interrupts.allowed():
            done = [0] if wait is None else wait(handles, self._patience())
        self._session.halt_overdue()
        return sorted(done)

    def _patience(self) -> float:
        left = self._session.seconds_left
        return _PATIENCE_SECONDS if left is None else max(0.0, min(_PATIENCE_SECONDS, left))

    def _finish(self, handle: Any, asked: Asked) -> None:
        try:
            with self._interrupts.allowed():
                measured, seconds = self._executor.result(handle)
        except EnvironmentFault as fault:
            self._failed(asked, fault)
            return
        self._pace.note(len(asked), seconds)
        self._session.tell(asked, measured, seconds=seconds)

    def _failed(self, asked: Asked, fault: EnvironmentFault) -> None:
        if len(asked) > 1 and (self._record or self._retries or fault.kind == "WorkerDied"):
            self._again += self._session.split(asked)  # one of them failed: find which
            return
        key = int(asked.numbers[0]), asked.replicate
        self._tries[key] = tries = self._tries.get(key, 0) + 1
        died = fault.kind == "WorkerDied"
        if tries <= (max(self._retries, ATTEMPTS - 1) if died else self._retries):
            self._again.append(asked)
            return
        if not self._record:
            if died:
                how = fault.detail.partition("(")[2].rstrip(")")
                raise EnvironmentFault(
                    f"trial {asked.numbers[0]}: the worker process died {tries} times while it "
                    f"evaluated this design ({how}; out of memory, or a crash in native code?)",
                    kind=fault.kind,
                    detail=fault.detail,
                )
            raise fault
        self._session.fail(asked, fault.kind, fault.detail, fault.trace)


class _Interrupts:
    """Lets Ctrl-C and SIGTERM through only where nothing is being written down."""

    def __init__(self) -> None:
        self._allowed = False
        self._pending: tuple[int, FrameType | None] | None = None
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def hold(self) -> None:
        """Take the signals whose handlers may raise."""
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            ours = before is signal.default_int_handler or number == signal.SIGTERM
            if ours and callable(before):
                self._before[number] = before
                signal.signal(number, self.arrive)

    def release(self) -> None:
        """Give the signals back, but those whose handlers have changed meanwhile."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self.arrive:
                signal.signal(number, before)

    def arrive(self, number: int, frame: FrameType | None) -> None:
        """Take a signal: at once where it may interrupt, else at the next check."""
        if self._allowed or self._pending is not None:
            self._pending = None
            self._before[number](number, frame)
        else:
            self._pending = number, frame

    def check(self) -> None:
        """Hand on what has arrived meanwhile."""
        if self._pending is not None:
            number, frame = self._pending
            self._pending = None
            self._before[number](number, frame)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let a signal interrupt what runs inside."""
        self.check()
        self._allowed = True
        try:
            yield
        finally:
            self._allowed = False


@contextmanager
def _interruptible() -> Iterator[_Interrupts]:
    """Hold signals back while trials are told and stored; a second one gets through."""
    found = _Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield found  # only the main thread may set handlers
        return
    found.hold()
    try:
        yield found
    finally:
        found.release()
