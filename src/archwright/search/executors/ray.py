"""The Ray executor: blocks of designs measured as tasks of a Ray cluster (extra ``ray``)."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archwright.errors import (
    ArchwrightError,
    EnvironmentFault,
    MissingExtraError,
    SpecificationError,
)
from archwright.search.environments import Environment, Measurements
from archwright.search.executors.measure import ATTEMPTS, Block, check_workers, lost, measure, pack

__all__ = ["Ray"]


@dataclass
class _Task:
    """A block on its way, and the reference to its latest attempt."""

    block: Block
    reference: Any


class Ray:
    """Measure in tasks of a Ray cluster, one block a task, one CPU each.

    A process that is already connected to Ray keeps its connection. Otherwise the cluster at
    ``address`` is joined, or that of the environment variable ``RAY_ADDRESS``; without either a
    cluster is started on this machine and ended with the study. The environment is sent once. A
    block whose worker dies runs again with its seeds, three times in all; Ray replaces the worker.

    >>> Ray(2).workers
    2

    Args:
        workers: tasks at a time; None for as many as there are CPUs.
        address: ``auto`` (a cluster on this machine), ``host:port``, or ``ray://host:port``.

    Raises:
        SpecificationError: a number of workers or an address that is none.
    """

    def __init__(self, workers: int | None = None, *, address: str | None = None) -> None:
        check_workers(workers)
        if address is not None and not (isinstance(address, str) and address):
            raise SpecificationError(
                f"address: expected 'auto', 'host:port' or 'ray://host:port', found {address!r}"
            )
        self.workers = workers
        self.address = address
        self._group: Any = None
        self._tasks: dict[int, _Task] = {}

    def open(self, environment: Environment) -> None:
        """Join or start the cluster, and send the environment.

        Raises:
            MissingExtraError: Ray is not installed.
            SpecificationError: the environment cannot be sent, no cluster is at the address, or
                it has fewer CPUs than ``workers``.
        """
        if importlib.util.find_spec("ray") is None:
            raise MissingExtraError("the executor 'ray'", "ray")
        import ray

        packed = pack(environment)
        self._owned = not ray.is_initialized()
        started = self._connect()
        try:
            options: dict[str, Any] = {"num_cpus": 1, "max_retries": 0}
            if self.workers is not None and not started:
                options["scheduling_strategy"] = self._reserve(self.workers)
            if self.workers is None:
                self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
            self._remote = ray.remote(**options)(_measure_in_task)
            self._environment = ray.put(packed)
        except BaseException:
            self.close()
            raise

    def submit(self, block: Block) -> _Task:
        """Hand a block to the cluster."""
        task = _Task(block, self._send(block))
        self._tasks[id(task)] = task
        return task

    def wait(self, handles: list[_Task], seconds: float | None = None) -> list[int]:
        """Return which of some blocks are done, waiting at most so long for the first."""
        import ray

        references = [task.reference for task in handles]
        done, _ = ray.wait(references, num_returns=1, timeout=seconds)
        return [i for i, reference in enumerate(references) if reference in done]

    def result(self, handle: _Task) -> tuple[Measurements, float]:
        """Wait for a block; run it again where its worker or its machine died."""
        import cloudpickle
        import ray
        from ray import exceptions

        died = (
            exceptions.WorkerCrashedError,
            exceptions.NodeDiedError,
            exceptions.OutOfMemoryError,
            exceptions.ObjectLostError,
        )
        for attempt in range(1, ATTEMPTS + 1):
            try:
                data = ray.get(handle.reference)
            except exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, ArchwrightError):
                    raise cause from None
                raise EnvironmentFault(
                    f"trial {handle.block.first}: the Ray worker cannot evaluate this block: "
                    f"{type(cause).__name__}: {cause}"
                ) from error
            except died:
                if attempt < ATTEMPTS:
                    handle.reference = self._send(handle.block)
            else:
                del self._tasks[id(handle)]
                measured: tuple[Measurements, float] = cloudpickle.loads(data)
                return measured
        raise lost(handle.block)

    def close(self) -> None:
        """End the tasks in flight; leave the cluster, which ends where it was started here."""
        import ray

        if not self._owned:
            for task in self._tasks.values():
                ray.cancel(task.reference, force=True)
        self._tasks.clear()
        if self._group is not None:
            ray.util.remove_placement_group(self._group)
            self._group = None
        if self._owned:
            ray.shutdown()

    def _connect(self) -> bool:
        """Connect this process to Ray; return whether that started a cluster."""
        import ray

        if not self._owned:
            if self.address is not None:
                raise SpecificationError(
                    f"address: this process is already connected to Ray; leave {self.address!r} "
                    "out"
                )
            return False
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        if address == "local":
            workers = self.workers or len(os.sched_getaffinity(0))
            ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
            return True
        try:
            ray.init(address=address, **quiet)
        except (OSError, RuntimeError, ValueError, ImportError, ray.exceptions.RayError) as error:
            why = textwrap.shorten(str(error), 200, placeholder=" …") or type(error).__name__
            raise SpecificationError(
                f"address: no Ray cluster can be joined at {address!r} ({why}); "
                "'ray start --head' starts one"
            ) from error
        return False

    def _reserve(self, workers: int) -> Any:
        """Keep as many CPUs of a cluster as there are workers, so that no more tasks run."""
        import ray
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        cpus = int(ray.cluster_resources().get("CPU", 0))
        if workers > cpus:
            raise SpecificationError(
                f"workers: the Ray cluster has {cpus} CPUs, found {workers}; leave workers out to "
                "use what there is"
            )
        self._group = placement_group([{"CPU": 1}] * workers, strategy="PACK")
        return PlacementGroupSchedulingStrategy(self._group)

    def _send(self, block: Block) -> Any:
        import cloudpickle

        # as bytes: Ray would give arrays that are read-only and pinned in its object store
        data = cloudpickle.dumps(block)
        # in a list, so that the environment is fetched once a worker and not once a task
        return self._remote.remote([self._environment], str(Path.cwd()), sys.path, data)


_loaded: tuple[str, Environment] | None = None


def _measure_in_task(
    environment: list[Any], folder: str, path: Sequence[str], block: bytes
) -> bytes:
    """Measure a block in a Ray worker, which keeps the environment between tasks."""
    import cloudpickle

    global _loaded
    name = environment[0].hex()
    if _loaded is None or _loaded[0] != name:
        import ray

        with contextlib.suppress(FileNotFoundError):  # another machine need not have the folder
            os.chdir(folder)
        sys.path.extend(entry for entry in path if entry not in sys.path)
        _loaded = name, cloudpickle.loads(ray.get(environment[0]))
    result: bytes = cloudpickle.dumps(measure(_loaded[1], cloudpickle.loads(block)))
    return result
