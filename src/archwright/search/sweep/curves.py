"""How good a run is after growing numbers of evaluations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from archwright.search.study import Result, elapsed_s
from archwright.search.sweep.statistics import Floats, Run
from archwright.solve.pareto import hypervolume

__all__ = ["MARKS", "compare", "curve_of", "evaluations_of", "marks", "places_of", "seconds_of"]

Places = npt.NDArray[np.intp]

MARKS = 40
"""Points of a run's curve of the best so far."""


def seconds_of(result: Result, measured: float) -> float:
    """Return the running time of a study, over all its runs where it was continued."""
    if result.folder is None:
        return measured
    kept = elapsed_s(result.folder)
    return measured if kept is None else max(kept, 0.0)


def evaluations_of(result: Result) -> int:
    """Return the measured designs, all fidelities; repeats are not measured again."""
    states = result.table.column("state").to_pylist()
    return sum(state not in ("repeat", "known") for state in states)


def places_of(result: Result) -> Places:
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


def curve_of(losses: Floats, places: Places, evaluations: int) -> Floats:
    """Return the best so far at the marks; infinite where nothing was measured."""
    best = np.minimum.accumulate(np.where(np.isnan(losses), np.inf, losses))
    seen = np.searchsorted(places, marks(evaluations), side="right")
    return np.concatenate([[np.inf], best])[seen]


def compare(done: Sequence[tuple[Run, Floats, Places]]) -> list[Run]:
    """Give runs with several losses the hypervolume that they leave out of the best reached.

    All runs share one reference: the worst and the best of each loss.
    """
    every = np.concatenate([losses for _, losses, _ in done])
    every = every[np.isfinite(every).all(axis=1)]  # an infinite loss is beyond any reference
    if not len(every):
        nothing = {"best": float("inf"), "curve": (float("inf"),) * MARKS}
        return [Run(**(vars(run) | nothing)) for run, _, _ in done]
    low, high = every.min(axis=0), every.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    runs = []
    for run, losses, places in done:
        scaled = np.maximum((losses - low) / span, 0.0)  # -inf is as good as the best
        reference = np.full(len(low), 1.0)
        seen = np.searchsorted(places, marks(run.evaluations), side="right")
        curve = tuple(1.0 - hypervolume(scaled[:count], reference) for count in seen)
        runs.append(Run(**(vars(run) | {"best": curve[-1], "curve": curve})))
    return runs
