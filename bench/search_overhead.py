"""What the loop costs a trial, store included, against Optuna's in-memory random study.

Ten integer parameters, an objective that costs nothing. Ours asks and tells in batches of 64 and
flushes each batch to the store; NSGA-II likewise, without the time spent inside pymoo, which is
printed beside it (snapping offspring to designs is ours and counted). Every figure is the median
of several runs, all in this process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archwright.search import (
    NSGA2,
    Budget,
    Fidelity,
    Goal,
    Integer,
    Measurements,
    Metric,
    ParameterSpace,
    RandomSearch,
    Study,
)

BATCH = 64


class Free:
    """An environment whose evaluation costs next to nothing."""

    space = ParameterSpace({f"x{i}": Integer(0, 100) for i in range(10)})
    metrics = (Metric("a"), Metric("b"))
    version = "1"
    deterministic = True
    fidelities = (Fidelity("full"),)

    def evaluate(self, designs: Any, **_: Any) -> Measurements:
        return Measurements(metrics={"a": designs.codes[:, 0], "b": designs.codes[:, 1]})


def ours(searcher: Any, goal: Goal, trials: int) -> float:
    """Return seconds a trial, the searcher's library left out."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            Free(),
            goal,
            searcher,
            budget=Budget(evaluations=trials),
            window=BATCH,
            chunk=BATCH,
            folder=Path(folder) / "run",
        )
        started = time.perf_counter()
        result = study.run()
        seconds = time.perf_counter() - started
    return (seconds - getattr(searcher, "pymoo_seconds", 0.0)) / len(result.table)


def optuna_random(trials: int) -> float:
    """Return seconds a trial of Optuna's random study in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: Any) -> float:
        values = [trial.suggest_int(f"x{i}", 0, 100) for i in range(10)]
        return float(values[0])

    started = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    return (time.perf_counter() - started) / trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()

    inside: list[float] = []

    def nsga2() -> float:
        searcher = NSGA2(population=BATCH)
        seconds = ours(searcher, Goal(minimize=["a", "b"]), 64 * 300)
        inside.append(searcher.pymoo_seconds / (64 * 300))
        return seconds

    def median(run: Callable[[], float]) -> float:
        return statistics.median(run() for _ in range(options.runs))

    ours(RandomSearch(), Goal(minimize=["a"]), 64 * 10)  # imports and caches
    random_s = median(lambda: ours(RandomSearch(), Goal(minimize=["a"]), 64 * 300))
    nsga2_s = median(nsga2)
    optuna_s = median(lambda: optuna_random(1500))
    figures = {
        "optuna_us": optuna_s * 1e6,
        "random_us": random_s * 1e6,
        "random_ratio": random_s / optuna_s,
        "nsga2_us": nsga2_s * 1e6,
        "nsga2_ratio": nsga2_s / optuna_s,
        "pymoo_us": statistics.median(inside) * 1e6,
    }
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    print(f"Optuna random, in memory     {figures['optuna_us']:8.1f} us a trial")
    for name in ("random", "nsga2"):
        ratio = figures[f"{name}_ratio"]
        print(
            f"ours {name:<8} to the store   {figures[f'{name}_us']:8.1f} us a trial, "
            f"{ratio:.4f} = 1/{1 / ratio:.1f} of Optuna's (goal 1/20)"
        )
    print(f"inside pymoo, not counted    {figures['pymoo_us']:8.1f} us a trial")


if __name__ == "__main__":
    main()
