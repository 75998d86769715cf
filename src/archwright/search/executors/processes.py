"""The executor of worker processes on this machine."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archwright.errors import EnvironmentFault, SpecificationError
from archwright.search.environments import Environment, Measurements
from archwright.search.executors.frames import receive, send
from archwright.search.executors.measure import Block, check_workers, pack

__all__ = ["Processes"]


@dataclass(eq=False)
class _Worker:
    """A worker process: its connection, its number, and a handle that says when it ends."""

    connection: socket.socket
    process: int
    alive: int


@dataclass(eq=False)
class _Task:
    """A block on its way."""

    block: Block
    timeout_s: float | None
    worker: _Worker | None = None
    deadline: float = float("inf")
    answer: tuple[Any, Any] | None = None


class Processes:
    """Measure in worker processes; they end with their parent and hold no lock.

    A worker that dies is replaced; what it measured is a fault of that block alone.

    Args:
        workers: number of processes; None for the number of usable cores.
    """

    def __init__(self, workers: int | None = None) -> None:
        check_workers(workers)
        self.workers = workers or len(os.sched_getaffinity(0))
        self._nursery: tuple[int, socket.socket] | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def open(self, environment: Environment) -> None:
        """Begin the process that workers are forked from, with a copy of the environment.

        Raises:
            SpecificationError: the environment cannot be sent to another process.
        """
        import cloudpickle

        payload = cloudpickle.dumps((list(sys.path), str(Path.cwd()), pack(environment)))
        self._idle: list[_Worker] = []
        self._count = 0
        self._queue: deque[_Task] = deque()
        self._busy: list[_Task] = []
        here, there = socket.socketpair()
        self._nursery = self._begin(here, there), here
        there.close()
        send(here, payload)
        answer = receive(here)
        if answer != b"":
            why = "the process ended" if answer is None else answer.decode()
            self.close()
            raise SpecificationError(
                f"the environment cannot be sent to worker processes ({why}); use the serial "
                "executor"
            )

    def submit(self, block: Block, *, timeout_s: float | None = None) -> _Task:
        """Hand a block to a worker, or keep it until one is idle."""
        task = _Task(block, timeout_s)
        self._queue.append(task)
        self._start_queued()
        return task

    def wait(self, handles: list[_Task], seconds: float | None = None) -> list[int]:
        """Return which of some blocks are done, waiting at most so long for the first."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            done = [i for i, task in enumerate(handles) if task.answer is not None]
            left = None if until is None else max(0.0, until - time.monotonic())
            if done:
                left = 0.0
            elif not self._busy:
                return []
            self._listen(left)
            done = [i for i, task in enumerate(handles) if task.answer is not None]
            if done or (until is not None and time.monotonic() >= until):
                return done

    def result(self, handle: _Task) -> tuple[Measurements, float]:
        """Wait for a block.

        Raises:
            EnvironmentFault: the environment failed, its worker died, or it took too long.
        """
        while handle.answer is None:
            self._listen(None)
        measured, fault = handle.answer
        if fault is not None:
            raise fault
        found: tuple[Measurements, float] = measured
        return found

    def close(self) -> None:
        """End the workers without waiting for blocks in flight."""
        if self._nursery is None:
            return
        process, control = self._nursery
        self._nursery = None
        for worker in [*self._idle, *(t.worker for t in self._busy if t.worker is not None)]:
            self._end(worker)
        self._idle, self._busy = [], []
        self._queue.clear()
        control.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)  # a fork of this process may hold its connection open
        if self._child is not None:
            self._child.wait()
            self._child = None
        else:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)

    def _begin(self, here: socket.socket, control: socket.socket) -> int:
        """Begin the nursery: a fork where that is safe, else a fresh interpreter."""
        if _may_fork():
            from archwright.search.executors.nursery import tend

            sys.stdout.flush()
            sys.stderr.flush()
            parent = os.getpid()
            child = os.fork()
            if not child:
                try:
                    here.close()  # or the child would never see that its parent has ended
                    tend(control, parent)
                finally:
                    os._exit(1)
            return child
        code = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            "from archwright.search.executors.nursery import main\n"
            f"main({control.fileno()}, {os.getpid()})"
        )
        self._child = subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[control.fileno()], stdin=subprocess.DEVNULL
        )
        return self._child.pid

    def _worker(self) -> _Worker | None:
        """Return an idle worker, begun now where there are fewer than there may be."""
        if self._idle:
            return self._idle.pop()
        if self._count >= self.workers:
            return None
        assert self._nursery is not None
        _, control = self._nursery
        here, there = socket.socketpair()
        with there:
            socket.send_fds(control, [b"fork"], [there.fileno()])
        process = int(_line(control))
        self._count += 1
        try:
            alive = os.pidfd_open(process)
        except OSError:  # it has ended already, or this kernel has none: its connection tells
            alive = -1
        return _Worker(here, process, alive)

    def _start_queued(self) -> None:
        while self._queue:
            worker = self._worker()
            if worker is None:
                return
            task = self._queue.popleft()
            task.worker = worker
            if task.timeout_s is not None:
                task.deadline = time.monotonic() + task.timeout_s
            self._busy.append(task)
            import cloudpickle

            with contextlib.suppress(ConnectionError):  # it is found dead when it is waited for
                send(worker.connection, cloudpickle.dumps(task.block))

    def _listen(self, seconds: float | None) -> None:
        """Take what workers answer, and notice those that died or take too long."""
        deadline = min((task.deadline for task in self._busy), default=float("inf"))
        if deadline != float("inf"):
            left = max(0.0, deadline - time.monotonic())
            seconds = left if seconds is None else min(seconds, left)
        with selectors.DefaultSelector() as selector:
            for task in self._busy:
                assert task.worker is not None
                selector.register(task.worker.connection, selectors.EVENT_READ, task)
                if task.worker.alive >= 0:
                    selector.register(task.worker.alive, selectors.EVENT_READ, task)
            tasks = dict.fromkeys(key.data for key, _ in selector.select(seconds))
        for task in tasks:
            self._answer(task)
        now = time.monotonic()
        for task in [task for task in self._busy if task.deadline <= now]:
            self._overdue(task)
        self._start_queued()

    def _answer(self, task: _Task) -> None:
        import cloudpickle

        worker = task.worker
        assert worker is not None
        self._busy.remove(task)
        with selectors.DefaultSelector() as selector:
            selector.register(worker.connection, selectors.EVENT_READ)
            data = receive(worker.connection) if selector.select(0) else None
        if data is None:
            task.answer = None, self._death(task, worker)
            return
        task.answer = cloudpickle.loads(data)
        self._idle.append(worker)

    def _death(self, task: _Task, worker: _Worker) -> EnvironmentFault:
        self._end(worker)
        assert self._nursery is not None
        _, control = self._nursery
        try:
            control.sendall(b"%d" % worker.process)
            code = int(_line(control))
        except (OSError, ValueError):
            code = 0
        how = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        n = len(task.block.designs)
        which = f"trial {task.block.first}"
        if n > 1:
            which = f"trials {task.block.first} to {task.block.first + n - 1}"
        return EnvironmentFault(
            f"{which}: the worker process died ({how}; out of memory, or a crash in native code?)",
            kind="WorkerDied",
            detail=f"the worker process died ({how})",
        )

    def _overdue(self, task: _Task) -> None:
        """End the worker of a block that takes too long."""
        assert task.worker is not None
        self._busy.remove(task)
        self._end(task.worker)
        task.answer = (
            None,
            EnvironmentFault(
                f"trial {task.block.first}: took longer than {task.timeout_s:g} s; its worker was "
                "ended",
                kind="TimeoutError",
                detail=f"took longer than {task.timeout_s:g} s; its worker was ended",
            ),
        )

    def _end(self, worker: _Worker) -> None:
        self._count -= 1
        with contextlib.suppress(ProcessLookupError):
            if worker.alive >= 0:
                signal.pidfd_send_signal(worker.alive, signal.SIGKILL)
            else:
                os.kill(worker.process, signal.SIGKILL)
        if worker.alive >= 0:
            with selectors.DefaultSelector() as selector:  # it may still write artifacts
                selector.register(worker.alive, selectors.EVENT_READ)
                selector.select(5.0)
            os.close(worker.alive)
        worker.connection.close()


def _line(control: socket.socket) -> bytes:
    data = b""
    while len(data) < 20:
        part = control.recv(20 - len(data))
        if not part:
            raise EnvironmentFault("the process that begins workers has died")
        data += part
    return data


def _may_fork() -> bool:
    """Say whether a fork of this process is safe.

    It is with one thread, besides those that only sync a study's folder, and without libraries
    that forbid it.
    """
    unsafe = ("torch", "ray", "jax", "tensorflow")
    others = [one for one in threading.enumerate() if one is not threading.current_thread()]
    return all(one.name == "archwright-heart" for one in others) and not any(
        name in sys.modules for name in unsafe
    )
