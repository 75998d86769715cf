"""Seconds that each figure and the whole report take at 10,000 trials.

Run with ``python bench/explain.py [TRIALS]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.explain import figures
from archwright.explain.interactions import interactions
from archwright.explain.sensitivity import importance
from archwright.search import (
    Budget,
    Choice,
    Fidelity,
    Goal,
    Integer,
    Measurements,
    Metric,
    ParameterSpace,
    RandomSearch,
    Real,
    Result,
    Study,
)


class Synthetic:
    """Twelve parameters of every kind, two metrics, a few infeasible designs."""

    metrics: Sequence[Metric] = (
        Metric("cost_usd", "$", "cost"),
        Metric("quality", "", "quality", better="higher"),
    )
    version = "1"
    deterministic = True
    fidelities: Sequence[Fidelity] = (Fidelity("full"),)

    def __init__(self) -> None:
        self.space = ParameterSpace(
            {f"real_{i}": Real(0.0, 1.0) for i in range(5)}
            | {f"count_{i}": Integer(1, 512, log=True) for i in range(4)}
            | {"format": Choice(["bf16", "fp8", "int4"]), "on": Choice([False, True])}
            | {"depth": Integer(1, 8, when="on")}
        )

    def evaluate(
        self, designs: Any, *, seeds: npt.NDArray[np.uint64], fidelity: str = "full",
        parents: Any = None, artifacts: Any = None,
    ) -> Measurements:  # fmt: skip
        """Measure designs."""
        del seeds, fidelity, parents, artifacts
        a, b = designs["real_0"], designs["real_1"]
        count = np.log2(np.asarray(designs["count_0"], dtype=float))
        feasible = np.asarray(designs["real_4"] < 0.95)
        cost = 1 + count * (1 + a) + (np.asarray(designs["format"]) == "bf16")
        quality = count**0.5 - (b - 0.5) ** 2 + 0.1 * np.asarray(designs["on"])
        reason = [None if fine else "real_4 is too large" for fine in feasible.tolist()]
        metrics = {
            "cost_usd": np.where(feasible, cost, np.nan),
            "quality": np.where(feasible, quality, np.nan),
        }
        return Measurements(metrics=metrics, feasible=feasible, reason=reason)


GOAL = Goal(minimize=["cost_usd"], maximize=["quality"])


def synthetic(trials: int) -> Result:
    """Return a study of so many trials."""
    return Study(Synthetic(), GOAL, RandomSearch(), budget=Budget(evaluations=trials)).run()


def main(trials: int = 10_000) -> None:
    """Print the seconds of each figure."""
    from archwright.explain.compose import compose
    from archwright.explain.report import render

    result = synthetic(trials)
    index = importance(synthetic(100), "cost_usd")  # so that imports are not timed

    def timed(name: str, make: Callable[[], Any]) -> float:
        started = time.perf_counter()
        made = make()
        middle = time.perf_counter()
        size = len(made.to_json()) if hasattr(made, "to_json") else 0
        encoded = time.perf_counter() - middle
        print(
            f"{name:<24} {middle - started:6.3f} s, as JSON {encoded:6.3f} s, {size / 1e3:7.0f} kB"
        )
        return middle - started + encoded

    plots: dict[str, Callable[[], Any]] = {
        "importance (forest)": lambda: importance(result, "cost_usd"),
        "importance (pawn)": lambda: importance(result, "cost_usd", method="pawn"),
        "importance (delta)": lambda: importance(result, "cost_usd", method="delta"),
        "interactions": lambda: interactions(result, "cost_usd"),
        "importance_bars": lambda: figures.importance_bars(index),
        "parallel_coordinates": lambda: figures.parallel_coordinates(result),
        "slice_plot": lambda: figures.slice_plot(result, "cost_usd"),
        "contour": lambda: figures.contour(result, "real_0", "count_0", "cost_usd"),
        "convergence": lambda: figures.convergence({"a": result, "b": result}),
        "compare_fronts": lambda: figures.compare_fronts({"a": result, "b": result}),
        "timeline": lambda: figures.timeline(result),
    }
    total = sum(timed(name, make) for name, make in plots.items())
    print(f"{'all of these':<24} {total:6.3f} s at {trials:,} trials")
    started = time.perf_counter()
    page = render(compose(result, Synthetic(), GOAL, command="again", title="bench"))
    print(f"{'whole report':<24} {time.perf_counter() - started:6.3f} s, {len(page) / 1e6:.2f} MB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
