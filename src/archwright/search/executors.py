"""Executors: where blocks of designs are measured. None changes what is asked."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from archwright.errors import ArchwrightError, EnvironmentFault, SpecificationError, unknown
from archwright.search.environment import Environment, Measurements, check_measurements
from archwright.search.store.artifacts import Artifacts

__all__ = ["Block", "Executor", "Processes", "Serial", "make_executor", "measure"]

ATTEMPTS = 3
EXECUTORS = ("serial", "processes", "ray")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Designs to measure together: one fidelity, one seed a design.

    Attributes:
        first: number of the first trial, for messages.
        designs: a batch of the environment's space.
        seeds: shape (n,).
        fidelity: name of the fidelity.
        parents: trial numbers, -1 for none; None where nothing is inherited.
        artifacts: what the designs inherit and leave; None where the environment keeps none.
    """

    first: int
    designs: Any
    seeds: npt.NDArray[np.uint64]
    fidelity: str
    parents: npt.NDArray[np.int64] | None = None
    artifacts: Artifacts | None = None


def measure(environment: Environment, block: Block) -> tuple[Measurements, float]:
    """Evaluate a block; return what was measured, checked, and the seconds it took.

    Raises:
        EnvironmentFault: the environment crashed or broke its contract.
    """
    started = time.perf_counter()
    n = len(block.designs)
    try:
        result = environment.evaluate(
            block.designs,
            seeds=block.seeds,
            fidelity=block.fidelity,
            parents=block.parents,
            artifacts=block.artifacts,
        )
    except ArchwrightError:
        raise
    except Exception as error:
        raise EnvironmentFault(
            f"the environment crashed in trials {block.first} to {block.first + n - 1}: "
            f"{type(error).__name__}: {error}"
        ) from error
    seconds = time.perf_counter() - started
    measured = check_measurements(result, n, environment.metrics)
    if block.artifacts is not None:
        measured = replace(measured, artifacts=block.artifacts.written)
    return measured, seconds


def check_workers(workers: int | None) -> None:
    """Refuse a number of workers that is none."""
    whole = isinstance(workers, int) and not isinstance(workers, bool)
    if workers is not None and not (whole and workers >= 1):
        raise SpecificationError(f"workers: expected at least 1, found {workers!r}")


def pack(environment: Environment) -> bytes:
    """Return an environment as bytes that another process can load.

    Raises:
        SpecificationError: the environment cannot be sent.
    """
    import cloudpickle

    try:
        packed: bytes = cloudpickle.dumps(environment)
    except Exception as error:
        raise SpecificationError(
            f"the environment cannot be sent to worker processes ({error}); use the serial "
            "executor"
        ) from error
    return packed


def lost(block: Block) -> EnvironmentFault:
    """Return the fault of a block whose worker died at every attempt."""
    return EnvironmentFault(
        f"trial {block.first}: the worker process died {ATTEMPTS} times while it evaluated "
        "this block (out of memory, or a crash in native code?)"
    )


class Executor(Protocol):
    """Measures blocks; ``submit`` returns at once or when done, ``result`` waits."""

    def open(self, environment: Environment) -> None: ...
    def submit(self, block: Block) -> Any: ...
    def result(self, handle: Any) -> tuple[Measurements, float]: ...
    def close(self) -> None: ...


class Serial:
    """Measure in this process, one block after another."""

    def open(self, environment: Environment) -> None:
        """Keep the environment."""
        self._environment = environment

    def submit(self, block: Block) -> Block:
        """Wait for :meth:`result`: a block is measured when its result is needed."""
        return block

    def result(self, handle: Block) -> tuple[Measurements, float]:
        """Measure now."""
        return measure(self._environment, handle)

    def close(self) -> None:
        """Nothing to close."""


class Processes:
    """Measure in worker processes; they end with their parent and hold no lock.

    A worker that dies is replaced and its blocks run again with their seeds, three times.

    Args:
        workers: number of processes; None for the number of usable cores.
    """

    def __init__(self, workers: int | None = None) -> None:
        check_workers(workers)
        self.workers = workers or len(os.sched_getaffinity(0))

    def open(self, environment: Environment) -> None:
        """Start the workers, each with a copy of the environment.

        Raises:
            SpecificationError: the environment cannot be sent to another process.
        """
        self._payload = pack(environment)
        self._start()

    def submit(self, block: Block) -> tuple[list[Future[Any]], Block]:
        """Hand a block to a worker."""
        return [self._submit(block)], block

    def result(self, handle: tuple[list[Future[Any]], Block]) -> tuple[Measurements, float]:
        """Wait for a block; run it again where its worker died."""
        futures, block = handle
        for left in reversed(range(ATTEMPTS)):
            try:
                measured: tuple[Measurements, float] = futures[0].result()
                return measured
            except BrokenProcessPool:
                self._restart()
                if left:
                    futures[0] = self._submit(block)
        raise lost(block)

    def _submit(self, block: Block) -> Future[Any]:
        try:
            future: Future[Any] = self._pool.submit(_measure_in_worker, block)
        except BrokenProcessPool:  # a block before this one has just ended its worker
            self._restart()
            future = self._pool.submit(_measure_in_worker, block)
        return future

    def close(self) -> None:
        """End the workers without waiting for blocks in flight."""
        self._pool.shutdown(wait=True, kill_workers=True)

    def _start(self) -> None:
        # loky, unlike the standard pool, does not run the caller's script again in each worker
        from loky import ProcessPoolExecutor

        self._pool = ProcessPoolExecutor(
            self.workers,
            initializer=_begin_worker,
            initargs=(self._payload, sys.path, os.getpid()),
        )

    def _restart(self) -> None:
        if self._pool._flags.broken is not None:  # else another block has restarted it
            self._pool.shutdown(wait=False, kill_workers=True)
            self._start()


_worker_environment: Environment | None = None


def _begin_worker(payload: bytes, path: Sequence[str], parent: int) -> None:
    import signal

    import cloudpickle

    global _worker_environment
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides how to stop
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    sys.path[:] = path
    _worker_environment = cloudpickle.loads(payload)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _measure_in_worker(block: Block) -> tuple[Measurements, float]:
    assert _worker_environment is not None
    return measure(_worker_environment, block)


def make_executor(name: str, workers: int | None = None, address: str | None = None) -> Executor:
    """Return the executor of a study file's ``[run]`` table.

    Raises:
        SpecificationError: an unknown name, or an option that the executor does not take.
    """
    if name == "ray":
        from archwright.search.ray import Ray

        return Ray(workers, address=address)
    if name not in EXECUTORS:
        raise SpecificationError(f"[run].executor: {unknown('executor', name, EXECUTORS)}")
    if address is not None:
        raise SpecificationError(
            f"[run].address: only the executor 'ray' has one, found {address!r} with {name!r}"
        )
    return Serial() if name == "serial" else Processes(workers)
