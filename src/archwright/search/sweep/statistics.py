"""What may be said of the runs of a sweep."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown

__all__ = ["Contest", "Run", "SweepResult"]

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap samples behind an interval."""


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
