"""Measuring one block of designs, wherever that happens."""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from archwright.errors import ArchwrightError, EnvironmentFault, SpecificationError
from archwright.search.environments import Environment, Measurements, check_measurements
from archwright.search.store.artifacts import Artifacts

__all__ = ["ATTEMPTS", "Block", "Executor", "check_workers", "lost", "measure", "pack"]

ATTEMPTS = 3


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
    n, process = len(block.designs), os.getpid()
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
    except (Exception, SystemExit) as error:
        if os.getpid() != process:  # a child that the environment forked must not go on as us
            os._exit(1)
        said = f"exit code {error.code}" if isinstance(error, SystemExit) else str(error)
        last = f"s {block.first} to {block.first + n - 1}" if n > 1 else f" {block.first}"
        kind = type(error).__name__
        raise EnvironmentFault(
            f"the environment crashed in trial{last}: {kind}: {said}".replace("\n", " "),
            kind=kind,
            detail=said,
            trace="".join(traceback.format_exception(error)),
        ) from error
    if os.getpid() != process:
        os._exit(0)
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


def pack(environment: object) -> bytes:
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
    """Measures blocks; ``submit`` returns at once or when done, ``result`` waits.

    An executor may also have ``workers`` (how many blocks it measures at a time; 1 without), and
    then ``wait(handles, seconds) -> list[int]``, which of some blocks are done after at most so
    many seconds. One that can end a block that takes too long takes ``timeout_s`` in ``submit``.
    """

    def open(self, environment: Environment) -> None: ...
    def submit(self, block: Block) -> Any: ...
    def result(self, handle: Any) -> tuple[Measurements, float]: ...
    def close(self) -> None: ...
