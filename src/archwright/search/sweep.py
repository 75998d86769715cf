"""The lottery: many searchers, settings and seeds at one budget, and what may be said of them.

A searcher's result depends on its hyper-parameters and on luck. A comparison of single runs says
little; so a sweep runs every setting of a grid under every seed, counts unique evaluations alike
for all, and reports the best, the median and the worst setting of each searcher, with intervals
over seeds. Random search is always among them.

Every run is an ordinary study in a folder of its own, so a sweep that was killed continues, and
its trials can be read by all that reads studies.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, StoreError, unknown
from archwright.hardware.tables import catalogue_toml
from archwright.registry import resolve
from archwright.search.environment import Environment
from archwright.search.goal import Goal
from archwright.search.record import Result, elapsed_s
from archwright.search.searcher import make_searcher
from archwright.search.study import Budget, Study, _offered
from archwright.search.study_file import StudyFile
from archwright.solve.pareto import hypervolume

__all__ = ["Contest", "Run", "Sweep", "SweepResult", "default_grid", "settings", "sweep_of"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Grid = Mapping[str, Sequence[Any]]

MARKS = 40
"""Points of a run's curve of the best so far."""
RESAMPLES = 2000
"""Bootstrap samples behind an interval."""


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
class Run:
    """One study of a sweep.

    Attributes:
        searcher: its name.
        setting: number of the setting, from 0.
        options: the setting.
        seed: the study's seed.
        best: loss of the best feasible design, or the hypervolume that the front leaves out
            (less is better in both); infinite without a feasible design.
        curve: the same after growing numbers of unique evaluations.
        evaluations: unique evaluations.
        trials: trials, repeats included.
        seconds: running time.
        stopped: why it ended.
    """

    searcher: str
    setting: int
    options: Mapping[str, Any]
    seed: int
    best: float
    curve: tuple[float, ...]
    evaluations: int
    trials: int
    seconds: float
    stopped: str


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What a sweep says of one searcher.

    Attributes:
        searcher: its name.
        settings: how many were tried.
        best, median, worst: median over seeds of the best, the middle and the worst setting,
            each with the ends of its 90 % bootstrap interval.
        options: the best setting.
        p_best: probability of a difference to random search as large as that of the best setting
            by chance (Mann-Whitney, two-sided), corrected for the settings and searchers tried
            (Holm); NaN for random search itself.
        p_median: the same of the median setting, corrected for the searchers.
        evaluations: mean of unique evaluations a run.
        seconds: mean of seconds a run.
    """

    searcher: str
    settings: int
    best: tuple[float, float, float]
    median: tuple[float, float, float]
    worst: tuple[float, float, float]
    options: Mapping[str, Any]
    p_best: float
    p_median: float
    evaluations: float
    seconds: float


@dataclass(frozen=True)
class SweepResult:
    """The runs of a sweep, and what may be said of them.

    Attributes:
        runs: one a searcher, setting and seed.
        loss: what the runs are compared by.
        folder: where the studies are; None in memory.
    """

    runs: tuple[Run, ...]
    loss: str
    folder: Path | None = None

    @property
    def searchers(self) -> list[str]:
        """Names of the searchers, in order."""
        return list(dict.fromkeys(run.searcher for run in self.runs))

    def values(self, searcher: str) -> Floats:
        """Return the result of each run of a searcher, shape (settings, seeds)."""
        own = [run for run in self.runs if run.searcher == searcher]
        if not own:
            raise SpecificationError(unknown("searcher", searcher, self.searchers))
        count = max(run.setting for run in own) + 1
        return np.array([[r.best for r in own if r.setting == s] for s in range(count)])

    def medians(self, searcher: str) -> Floats:
        """Return the median over seeds of each setting of a searcher."""
        return np.asarray(np.median(self.values(searcher), axis=1))

    def contests(self) -> list[Contest]:
        """Return what the sweep says of each searcher, the best first."""
        from scipy.stats import mannwhitneyu

        random = self.values("random")[0]

        def chance(values: Floats) -> float:
            if np.array_equal(np.sort(values), np.sort(random)):
                return 1.0
            return float(mannwhitneyu(values, random).pvalue)

        found: dict[str, dict[str, Any]] = {}
        for name in self.searchers:
            values, medians = self.values(name), self.medians(name)
            ranked = np.argsort(medians, kind="stable")
            picks = {"best": ranked[0], "median": ranked[(len(ranked) - 1) // 2]}
            picks["worst"] = ranked[-1]
            own = [run for run in self.runs if run.searcher == name]
            found[name] = {
                **{which: _interval(values[row]) for which, row in picks.items()},
                "options": next(r.options for r in own if r.setting == picks["best"]),
                "p_best": chance(values[picks["best"]]) * len(medians),
                "p_median": chance(values[picks["median"]]),
                "settings": len(medians),
                "evaluations": float(np.mean([run.evaluations for run in own])),
                "seconds": float(np.mean([run.seconds for run in own])),
            }
        others = [name for name in found if name != "random"]
        for key in ("p_best", "p_median"):
            corrected = _holm([found[name][key] for name in others])
            for name, value in zip(others, corrected, strict=True):
                found[name][key] = value
            found["random"][key] = float("nan")
        contests = [Contest(searcher=name, **found[name]) for name in found]
        return sorted(contests, key=lambda contest: contest.best[0])

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return columns and rows of the contests, for people."""
        columns = [
            "searcher", "settings", "best", "90 %", "median", "worst", "p best", "p median",
            "evaluations", "seconds", "best setting",
        ]  # fmt: skip
        rows = [
            [
                c.searcher, c.settings, c.best[0], list(c.best[1:]), c.median[0], c.worst[0],
                c.p_best, c.p_median, c.evaluations, c.seconds,
                ", ".join(f"{k}={v}" for k, v in c.options.items()) or "-",
            ]
            for c in self.contests()
        ]  # fmt: skip
        return columns, rows

    def to_csv(self) -> str:
        """Return one row a run."""
        sink = io.StringIO()
        writer = csv.writer(sink, lineterminator="\n")
        names = ("searcher", "setting", "options", "seed", "best", "evaluations", "trials",
                 "seconds", "stopped")  # fmt: skip
        writer.writerow(names)
        for run in self.runs:
            row = vars(run) | {"options": json.dumps(run.options)}
            writer.writerow([row[name] for name in names])
        return sink.getvalue()


def _interval(values: Floats) -> tuple[float, float, float]:
    """Return the median over seeds and the ends of its 90 % bootstrap interval."""
    rng = np.random.default_rng(0)
    drawn = values[rng.integers(0, len(values), (RESAMPLES, len(values)))]
    medians = np.median(drawn, axis=1)
    low, high = np.quantile(medians, [0.05, 0.95], method="nearest")
    return float(np.median(values)), float(low), float(high)


def _holm(chances: Sequence[float]) -> list[float]:
    """Correct probabilities for their number (Holm 1979)."""
    order = np.argsort(chances, kind="stable")
    corrected = np.empty(len(chances))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[index]))
        corrected[index] = largest
    return [float(value) for value in corrected]


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
    window: int = 64
    chunk: int = 16
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
        for task in self.plan:
            if task[3] != self.seed:  # the seeds of a setting suit alike
                continue
            study = self._study(task)
            try:
                study.searcher.start(
                    self.environment.space,
                    self.goal.objectives,
                    seed=study.seed,
                    capabilities=_offered(study),
                )
            except SpecificationError as error:
                raise SpecificationError(f"[sweep.searchers.{task[0]}]: {error}") from error

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
        for number, found in enumerate(self._results(workers), start=1):
            done.append(found)
            if progress is not None:
                progress(number, len(self.plan))
        runs = _compare(done) if len(losses) > 1 else [run for run, _, _ in done]
        loss = losses[0] if len(losses) == 1 else f"hypervolume left out of {', '.join(losses)}"
        result = SweepResult(tuple(runs), loss, self.folder)
        if self.folder is not None:
            (self.folder / "sweep.csv").write_text(result.to_csv())
        return result

    def _results(self, workers: int | None) -> Any:
        if workers == 1:
            yield from map(self._one, self.plan)
            return
        from loky import get_reusable_executor

        pool = get_reusable_executor(max_workers=workers)
        try:
            studies = [pool.submit(self._one, task) for task in self.plan]
            for study in studies:
                yield study.result()
        except BaseException:  # Ctrl-C, SIGTERM or a broken study: the others end, too
            pool.shutdown(wait=True, kill_workers=True)
            raise

    def _study(self, task: tuple[str, int, dict[str, Any], int]) -> Study:
        name, number, options, seed = task
        folder = None
        if self.folder is not None:
            folder = self.folder / name / f"setting-{number:03d}" / f"seed-{seed}"
        return Study(
            self.environment,
            self.goal,
            make_searcher(resolve("searchers", name), options, name=name),
            budget=Budget(evaluations=self.evaluations),
            seed=seed,
            window=self.window,
            chunk=self.chunk,
            folder=folder,
            identity={"searcher": {"name": name, **options}, "seed": seed,
                      "evaluations": self.evaluations, "window": self.window,
                      "chunk": self.chunk, "goal": repr(self.goal)},
        )  # fmt: skip

    def _one(self, task: tuple[str, int, dict[str, Any], int]) -> tuple[Run, Floats, Places]:
        """Run one study; return it with the losses of its designs and their evaluations."""
        name, number, options, seed = task
        study = self._study(task)
        started = time.monotonic()
        result = study.run()
        losses, places = result.losses, _places(result)
        evaluations = _evaluations(result)
        curve = np.full(MARKS, np.nan)
        if losses.shape[1] == 1:
            curve = _curve(losses[:, 0], places, evaluations)
        run = Run(
            searcher=name,
            setting=number,
            options=options,
            seed=seed,
            best=float(curve[-1]),
            curve=tuple(curve.tolist()),
            evaluations=evaluations,
            trials=len(result.table),
            seconds=_seconds(result, time.monotonic() - started),
            stopped=result.stopped,
        )
        return run, losses, places


def _seconds(result: Result, measured: float) -> float:
    """Return the running time of a study, over all its runs where it was continued."""
    if result.folder is None:
        return measured
    kept = elapsed_s(result.folder)
    return measured if kept is None else max(kept, 0.0)


def _evaluations(result: Result) -> int:
    """Return the measured designs, all fidelities; repeats are not measured again."""
    return sum(state != "repeat" for state in result.table.column("state").to_pylist())


def _places(result: Result) -> Places:
    """Return the number, over all fidelities, of the evaluation of each design at the truest."""
    measured = np.array(result.table["state"].to_pylist()) != "repeat"
    truest = np.ones(len(measured), dtype=bool)
    if result.schema.fidelities:
        fidelity = np.array(result.table["fidelity"].to_pylist())
        truest = fidelity == result.schema.fidelities[-1]
    return np.asarray(np.cumsum(measured)[measured & truest])


def marks(evaluations: int) -> Floats:
    """Return the numbers of evaluations at which a run's curve is read, shape (MARKS,)."""
    return np.linspace(1, max(evaluations, 1), MARKS).round()


def _curve(losses: Floats, places: Places, evaluations: int) -> Floats:
    """Return the best so far at the marks; infinite where nothing was measured."""
    best = np.minimum.accumulate(np.where(np.isnan(losses), np.inf, losses))
    seen = np.searchsorted(places, marks(evaluations), side="right")
    return np.concatenate([[np.inf], best])[seen]


def _compare(done: Sequence[tuple[Run, Floats, Places]]) -> list[Run]:
    """Give runs with several losses the hypervolume that they leave out of the best reached.

    All runs share one reference: the worst and the best of each loss.
    """
    every = np.concatenate([losses for _, losses, _ in done])
    every = every[~np.isnan(every).any(axis=1)]
    if not len(every):
        nothing = {"best": float("inf"), "curve": (float("inf"),) * MARKS}
        return [Run(**(vars(run) | nothing)) for run, _, _ in done]
    low, high = every.min(axis=0), every.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    runs = []
    for run, losses, places in done:
        scaled, reference = (losses - low) / span, np.full(len(low), 1.0)
        seen = np.searchsorted(places, marks(run.evaluations), side="right")
        curve = tuple(1.0 - hypervolume(scaled[:count], reference) for count in seen)
        runs.append(Run(**(vars(run) | {"best": curve[-1], "curve": curve})))
    return runs


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
        window=study.window,
        chunk=study.chunk,
        folder=folder,
    )
