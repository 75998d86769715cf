"""Running every study of a sweep, each in a folder of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from archwright.errors import SpecificationError, StoreError, unknown
from archwright.hardware.tables import catalogue_toml
from archwright.registry import resolve
from archwright.search.environments import Environment
from archwright.search.executors.measure import pack
from archwright.search.executors.nursery import end_with_parent
from archwright.search.goal import Goal
from archwright.search.searcher import make_searcher
from archwright.search.study import Budget, Study
from archwright.search.study.layout import layout
from archwright.search.study.session import offered
from archwright.search.study_file import StudyFile
from archwright.search.sweep.curves import (
    MARKS,
    Places,
    compare,
    curve_of,
    evaluations_of,
    places_of,
    seconds_of,
)
from archwright.search.sweep.statistics import Floats, Run, SweepResult

__all__ = ["Sweep", "default_grid", "settings", "sweep_of"]

Grid = Mapping[str, Sequence[Any]]
Task = tuple[str, int, dict[str, Any], int]


@cache
def _grids() -> Mapping[str, Grid]:
    grids: Mapping[str, Grid] = catalogue_toml("archwright.search", "grids.toml")["grids"]
    return grids


def default_grid(searcher: str) -> Grid:
    """Return the grid of hyper-parameters that a sweep takes for a searcher that names none.

    >>> default_grid("genetic_gray")["population"]
    [8, 16, 32]
    """
    return _grids().get(searcher, {})


def settings(grid: Grid) -> list[dict[str, Any]]:
    """Return every combination of a grid, in order.

    >>> settings({"population": [8, 16], "mutation": [0.1]})
    [{'population': 8, 'mutation': 0.1}, {'population': 16, 'mutation': 0.1}]

    Raises:
        SpecificationError: no table, or a parameter without values.
    """
    if not isinstance(grid, Mapping):
        raise SpecificationError(f"expected a table of lists, found {grid!r}")
    for name, values in grid.items():
        if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence) or not values:
            raise SpecificationError(f"{name}: expected a list of values, found {values!r}")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Searchers, grids and seeds on one environment and goal.

    >>> from archwright.search import Goal
    >>> from archwright.testing import toy_environment
    >>> sweep = Sweep(environment=toy_environment(), goal=Goal(minimize=["cost"]), evaluations=60,
    ...               searchers={"genetic_gray": {"population": [8, 16]}}, seeds=3)
    >>> result = sweep.run()
    >>> result.searchers, len(result.runs)
    (['random', 'genetic_gray'], 9)

    Args:
        environment: what measures designs.
        goal: what matters.
        searchers: name to grid, None for the default grid; or names alone. Random search is
            added.
        evaluations: unique evaluations of every run.
        seeds: runs of each setting.
        seed: seed of the first of them; the others follow.
        window, chunk: as of a study.
        folder: where the studies are kept and continued; None keeps nothing.

    Raises:
        SpecificationError: an unknown searcher, option or value, or a grid of size zero.
    """

    environment: Environment
    goal: Goal
    searchers: Mapping[str, Grid | None] | Sequence[str]
    evaluations: int
    seeds: int = 5
    seed: int = 0
    window: int | None = None
    chunk: int | None = None
    folder: Path | None = None
    plan: tuple[tuple[str, int, dict[str, Any], int], ...] = field(init=False)

    def __post_init__(self) -> None:
        if isinstance(self.seeds, bool) or not isinstance(self.seeds, int) or self.seeds < 1:
            raise SpecificationError(f"[sweep].seeds: expected at least 1, found {self.seeds!r}")
        given = self.searchers
        if isinstance(given, str):
            given = [given]
        chosen = given if isinstance(given, Mapping) else dict.fromkeys(given)
        plan = []
        for name, grid in {"random": None, **chosen}.items():
            target = resolve("searchers", name)
            try:
                combined = settings(default_grid(name) if grid is None else grid)
            except SpecificationError as error:
                raise SpecificationError(f"[sweep.searchers.{name}].{error}") from error
            for number, options in enumerate(combined):
                try:
                    make_searcher(target, options, name=name)
                except SpecificationError as error:
                    raise SpecificationError(f"[sweep.searchers.{name}]: {error}") from error
                plan += [(name, number, options, self.seed + i) for i in range(self.seeds)]
        object.__setattr__(self, "plan", tuple(plan))

    def check(self) -> None:
        """Start every searcher once, so that an unsuitable one is refused before any study runs.

        Raises:
            SpecificationError: a searcher cannot take the space, the goal or the fidelities; the
                message names it and why.
            MissingExtraError: a searcher needs a package that is not installed.
        """
        for name, _, options, seed in self.plan:
            if seed != self.seed:  # the seeds of a setting suit alike
                continue
            searcher = make_searcher(resolve("searchers", name), options, name=name)
            try:
                searcher.start(
                    self.environment.space,
                    self.goal.objectives,
                    seed=seed,
                    capabilities=offered(self.environment),
                )
            except SpecificationError as error:
                raise SpecificationError(f"[sweep.searchers.{name}]: {error}") from error

    def run(
        self,
        *,
        workers: int | None = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> SweepResult:
        """Run every study, or continue.

        Args:
            workers: processes that run whole studies; None for the number of usable cores.
            progress: called with studies done and studies in all.

        Raises:
            SpecificationError: a searcher does not suit, as :meth:`check` says.
            StoreError: the folder cannot be used, or holds a different sweep.
        """
        self.check()
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"{self.folder}: cannot be made: {error.strerror}") from error
        losses = self.goal.objectives.losses
        done: list[tuple[Run, Floats, Places]] = []
        with contextlib.closing(self._results(workers)) as studies:
            for number, found in enumerate(studies, start=1):
                done.append(found)
                if progress is not None:
                    progress(number, len(self.plan))
        runs = compare(done) if len(losses) > 1 else [run for run, _, _ in done]
        loss = losses[0] if len(losses) == 1 else f"hypervolume left out of {', '.join(losses)}"
        result = SweepResult(tuple(runs), loss, self.folder)
        if self.folder is not None:
            (self.folder / "sweep.csv").write_text(result.to_csv())
        return result

    def _results(self, workers: int | None) -> Any:
        if workers == 1:
            yield from map(self._one, self.plan)
            return
        from loky import ProcessPoolExecutor

        # the sweep, and with it the environment, travels once a worker and not once a study
        pool = ProcessPoolExecutor(
            workers,
            initializer=_begin_worker,
            initargs=(pack(self), list(sys.path), os.getpid()),
        )
        try:
            # one by one, for studies of one searcher take alike and those of others do not; not by
            # ``map``, which cancels what its pool then trips over when it is shut down
            for study in [pool.submit(_one_in_worker, task) for task in self.plan]:
                yield study.result()
        finally:
            pool.shutdown(wait=True, kill_workers=True)

    def _one(self, task: tuple[str, int, dict[str, Any], int]) -> tuple[Run, Floats, Places]:
        """Run one study; return it with the losses of its designs and their evaluations."""
        name, number, options, seed = task
        folder = None
        if self.folder is not None:
            folder = self.folder / name / f"setting-{number:03d}" / f"seed-{seed}"
        searcher = make_searcher(resolve("searchers", name), options, name=name)
        budget = Budget(evaluations=self.evaluations)
        window, chunk = layout(searcher, budget, window=self.window, chunk=self.chunk)
        study = Study(
            self.environment,
            self.goal,
            searcher,
            budget=budget,
            seed=seed,
            window=window,
            chunk=chunk,
            folder=folder,
            identity={"searcher": {"name": name, **options}, "seed": seed,
                      "evaluations": self.evaluations, "window": window,
                      "chunk": chunk, "goal": repr(self.goal)},
        )  # fmt: skip
        started = time.monotonic()
        result = study.run()
        losses, places = result.losses, places_of(result)
        evaluations = evaluations_of(result)
        curve = np.full(MARKS, np.nan)
        if losses.shape[1] == 1:
            curve = curve_of(losses[:, 0], places, evaluations)
        run = Run(
            searcher=name,
            setting=number,
            options=options,
            seed=seed,
            best=float(curve[-1]),
            curve=tuple(curve.tolist()),
            evaluations=evaluations,
            trials=len(result.table),
            seconds=seconds_of(result, time.monotonic() - started),
            stopped=result.stopped,
        )
        return run, losses, places


_worker_sweep: Sweep | None = None


def _begin_worker(payload: bytes, path: Sequence[str], parent: int) -> None:
    import signal

    import cloudpickle

    global _worker_sweep
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides how to stop
    # a sweep that is killed continues at once: none of its workers may hold a folder's lock
    threading.Thread(target=end_with_parent, args=(parent,), daemon=True).start()
    sys.path[:] = path
    _worker_sweep = cloudpickle.loads(payload)


def _one_in_worker(task: Task) -> tuple[Run, Floats, Places]:
    assert _worker_sweep is not None
    return _worker_sweep._one(task)


def sweep_of(
    file: StudyFile,
    folder: Path,
    *,
    searchers: Sequence[str] | None = None,
    seeds: int | None = None,
) -> Sweep:
    """Return the sweep that a study file states in its ``[sweep]`` table.

    Args:
        file: the study file; its searcher plays no part, its budget is that of every run.
        folder: where the studies go.
        searchers: names with their default grids, in place of the table's.
        seeds: runs of each setting, in place of the table's.

    Raises:
        SpecificationError: no evaluations in the budget, or an unknown key, searcher or value.
    """
    table = file.document.get("sweep", {})
    for key in table:
        if key not in ("seeds", "searchers"):
            raise SpecificationError(f"[sweep]: {unknown('key', key, ['seeds', 'searchers'])}")
    study = file.study
    if study.budget.evaluations is None:
        raise SpecificationError("[budget].evaluations: a sweep needs it, for all runs alike")
    chosen: Mapping[str, Grid | None] = table.get("searchers", {})
    if not isinstance(chosen, Mapping):
        raise SpecificationError(f"[sweep].searchers: expected tables, found {chosen!r}")
    if searchers is not None:
        chosen = dict.fromkeys(searchers)
    if not chosen:
        raise SpecificationError(
            "[sweep].searchers: name some, here or with --searchers; 'archwright searchers' lists "
            "them"
        )
    if study.replicates > 1 or study.start is not None:
        raise SpecificationError(
            "[run].replicates and [start] do not reach the runs of a sweep; leave them out"
        )
    grids = {name: None if grid == {} else grid for name, grid in chosen.items()}
    return Sweep(
        environment=study.environment,
        goal=study.goal,
        searchers=grids,
        evaluations=study.budget.evaluations,
        seeds=seeds if seeds is not None else table.get("seeds", 5),
        seed=study.seed,
        window=file.document.get("run", {}).get("window"),
        chunk=file.document.get("run", {}).get("chunk"),
        folder=folder,
    )
