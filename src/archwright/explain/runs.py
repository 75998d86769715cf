"""Several studies of one goal side by side: progress, hypervolume, best values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, StudyError
from archwright.explain.columns import (
    Column,
    known,
    objective,
    objectives,
    points,
    shown_sign,
)
from archwright.explain.front import hypervolume_history
from archwright.search.panels import Table
from archwright.search.study import Result
from archwright.solve.pareto import hypervolume, nondominated

__all__ = ["Curve", "Scale", "check_goals", "comparison", "goal_columns", "progress", "scale"]

Floats = npt.NDArray[np.float64]

CORNER = 1.1  # reference of the hypervolume, where the front lies between 0 and 1
_MARKS = 100  # hypervolumes of one curve with three losses or more


@dataclass(frozen=True, kw_only=True)
class Curve:
    """How far a study was after each number of designs.

    Attributes:
        name: of the study.
        designs: shape (k,): designs evaluated, repeats left out.
        values: shape (k,): best value so far, or hypervolume; NaN before the first.
    """

    name: str
    designs: npt.NDArray[np.intp]
    values: Floats

    def at(self, share: float) -> float:
        """Return the value after a share of the designs; NaN where there is none yet."""
        if not len(self.designs):
            return float("nan")
        place = int(np.searchsorted(self.designs, share * self.designs[-1], side="right")) - 1
        return float(self.values[place]) if place >= 0 else float("nan")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How the losses of several studies are put between 0 and 1: by their common front.

    Attributes:
        ideal: shape (k,): least loss of each kind.
        span: shape (k,): from there to the worst on the common front.
    """

    ideal: Floats
    span: Floats

    def apply(self, losses: Floats) -> Floats:
        """Return scaled losses; the reference of the hypervolume is 1.1 in each."""
        return (losses - self.ideal) / self.span


def check_goals(runs: Mapping[str, Result]) -> None:
    """Refuse studies that do not share a goal.

    Raises:
        StudyError: names the study and both goals.
        SpecificationError: no studies.
    """
    if not runs:
        raise SpecificationError("nothing to compare: name at least one study")
    first, *others = runs
    wanted = goal_columns(runs)
    for name in others:
        found = runs[name]
        same = list(found.schema.losses) == [column.name for column in wanted]
        if not same or any(shown_sign(found, c.name) not in (None, c.sign) for c in wanted):
            goal = ", ".join(_goal(objectives(found)))
            raise StudyError(
                f"{name}: has the goal {goal}, {first} has {', '.join(_goal(wanted))}; only equal "
                "goals compare"
            )


def scale(runs: Mapping[str, Result]) -> Scale:
    """Return the scale of the losses over several studies.

    The range is that of the common front, so that one very bad design does not hide all
    differences; where the front has a single value, the range of all feasible designs; where
    these have one too, 1.
    """
    every = np.concatenate([_complete(result) for result in runs.values()])
    if not len(every):
        width = len(next(iter(runs.values())).schema.losses)
        return Scale(ideal=np.zeros(width), span=np.ones(width))
    front = every[np.asarray(nondominated(every))]
    ideal = front.min(axis=0)
    span = np.where(front.max(axis=0) > ideal, front.max(axis=0), every.max(axis=0)) - ideal
    return Scale(ideal=ideal, span=np.where(span > 0, span, 1.0))


def progress(runs: Mapping[str, Result]) -> list[Curve]:
    """Return a curve a study: best value so far for one loss, hypervolume for several.

    The hypervolume is that of the losses on a common scale, with the reference 1.1.

    Raises:
        StudyError: the studies do not share a goal.
    """
    check_goals(runs)
    common = scale(runs)
    curves = []
    for name, result in runs.items():
        if len(result.schema.losses) == 1:
            column = objectives(result)[0]
            losses = np.where(known(result, column), column.losses, np.inf)
            best = np.minimum.accumulate(losses)
            values = np.where(np.isfinite(best), column.sign * best, np.nan)
            numbers = np.arange(1, len(values) + 1)
        else:
            numbers, values = _volumes(common.apply(result.losses))
        curves.append(Curve(name=name, designs=numbers, values=values))
    return curves


def comparison(runs: Mapping[str, Result]) -> Table:
    """Return one row a study: designs, front, hypervolume on the way and at the end, best values.

    Designs of equal losses are one point of the front.

    Raises:
        StudyError: the studies do not share a goal.
    """
    check_goals(runs)
    common = scale(runs)
    names = list(next(iter(runs.values())).schema.losses)
    several = len(names) > 1
    way = "hypervolume" if several else "best"
    rows: list[list[str | float | int | None]] = []
    for (name, result), curve in zip(runs.items(), progress(runs), strict=True):
        good = _complete(result)
        row: list[Any] = [name, len(result.trials), len(good), len(points(result))]
        if several:
            corner = np.full(len(names), CORNER)
            row.append(float(hypervolume(common.apply(good), corner)) if len(good) else 0.0)
        row += [curve.at(0.25), curve.at(0.5)]
        row += [_best(result, column) for column in objectives(result)]
        rows.append([None if value != value else value for value in row])
    columns = ["run", "designs", "feasible", "front"]
    if several:
        columns.append("hypervolume")
    columns += [f"{way} at 25 %", f"{way} at 50 %", *(_heading(c) for c in goal_columns(runs))]
    note = (
        "Hypervolume: losses scaled by the common front of the runs, reference 1.1; at a share "
        "of the run's own designs."
        if several
        else "At a share of the run's own designs."
    )
    return Table(title="The runs", columns=columns, rows=rows, note=note)


def goal_columns(runs: Mapping[str, Result]) -> list[Column]:
    """The goal's columns, each from the first run whose trials show its direction."""
    first, *others = runs.values()
    columns = objectives(first)
    for place, column in enumerate(columns):
        showing = (run for run in (first, *others) if shown_sign(run, column.name) is not None)
        run = next(showing, first)
        if column.name in run.schema.losses:
            columns[place] = objective(run, column.name)
    return columns


def _heading(column: Column) -> str:
    return f"{'least' if column.sign > 0 else 'greatest'} {column.name}"


def _best(result: Result, column: Column) -> float:
    losses = column.losses[known(result, column)]
    return float(column.sign * losses.min()) if len(losses) else float("nan")


def _goal(columns: Sequence[Column]) -> list[str]:
    words = {1.0: "minimize", -1.0: "maximize"}
    return [f"{words[column.sign]} {column.name}" for column in columns]


def _complete(result: Result) -> Floats:
    losses = result.losses
    complete = np.asarray(np.isfinite(losses).all(axis=1))
    return losses[complete]


def _volumes(losses: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Hypervolume over the designs: after each for two losses, at some marks for more."""
    n, width = losses.shape
    corner = np.full(width, CORNER)
    good = np.asarray(np.isfinite(losses).all(axis=1))
    if width == 2 or not n:
        return np.arange(1, n + 1), hypervolume_history(losses, good, corner)
    marks = np.unique(np.linspace(1, n, min(n, _MARKS)).round().astype(np.intp))
    values, front, start = np.zeros(len(marks)), np.empty((0, width)), 0
    for i, mark in enumerate(marks.tolist()):
        block = losses[start:mark][good[start:mark]]
        front = np.concatenate((front, block))
        front = front[np.asarray(nondominated(front))]
        values[i] = hypervolume(front, corner) if len(front) else 0.0
        start = mark
    return marks, values
