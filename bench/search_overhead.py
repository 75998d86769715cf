"""What the loop costs a trial, store included, against Optuna's in-memory random study.

Ten integer parameters, an objective that costs nothing. Ours asks and tells in batches of 64 and
flushes each batch to the store; once more with the window and chunk that follow by themselves.
NSGA-II likewise. Every figure is the median of several runs, all in this process.

``busy_share``: 64 evaluations of 0.25 s by random search on 8 worker processes by default: time in
the workers over wall time of the whole run and workers. ``scale_ratio``: time a trial at 10⁶ over
that at 10⁴ trials, the greater of random search and regularized evolution (with ``--scale``, for
it takes minutes), and the greatest memory meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
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
    Processes,
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


class Sleeping(Free):
    """An environment that takes 0.25 s a design."""

    def evaluate(self, designs: Any, **_: Any) -> Measurements:
        time.sleep(0.25 * len(designs))
        return Measurements(metrics={"a": designs.codes[:, 0], "b": designs.codes[:, 1]})


def ours(searcher: Any, goal: Goal, trials: int, batch: int | None = BATCH) -> float:
    """Return seconds a trial."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            Free(),
            goal,
            searcher,
            budget=Budget(evaluations=trials),
            window=batch,
            chunk=batch,
            folder=Path(folder) / "run",
        )
        started = time.perf_counter()
        result = study.run()
        seconds = time.perf_counter() - started
    return seconds / len(result.table)


def busy_share(workers: int = 8, evaluations: int = 64) -> float:
    """Return the share of their time that workers measure, starting them included."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            Sleeping(),
            Goal(minimize=["a"]),
            RandomSearch(),
            budget=Budget(evaluations=evaluations),
            folder=Path(folder) / "run",
        )
        started = time.perf_counter()
        result = study.run(executor=Processes(workers))
        wall = time.perf_counter() - started
    return float(sum(result.table["seconds"].to_pylist())) / (wall * workers)


def scale() -> dict[str, float]:
    """Return how the time a trial grows from 10⁴ to 10⁶ trials, and the memory at the end."""
    found = {}
    for name in ("random", "regularized_evolution"):
        code = (
            f"import sys, resource, json; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from search_overhead import ours, Goal\n"
            "from archwright.registry import resolve\n"
            f"make = resolve('searchers', {name!r})\n"
            "goal = Goal(minimize=['a'])\n"
            "small = sorted(ours(make(), goal, 10_000, None) for _ in range(3))[1]\n"
            "large = ours(make(), goal, 1_000_000, None)\n"
            "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
            "print(json.dumps([small, large, peak]))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        small, large, peak = json.loads(done.stdout)
        found[f"{name}_scale"] = large / small
        found[f"{name}_peak_mb"] = peak
    found["scale_ratio"] = max(found["random_scale"], found["regularized_evolution_scale"])
    return found


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
    parser.add_argument("--scale", action="store_true", help="also a million trials")
    options = parser.parse_args()

    def nsga2() -> float:
        return ours(NSGA2(population=BATCH), Goal(minimize=["a", "b"]), 64 * 300)

    def median(run: Callable[[], float]) -> float:
        return statistics.median(run() for _ in range(options.runs))

    ours(RandomSearch(), Goal(minimize=["a"]), 64 * 10)  # imports and caches
    random_s = median(lambda: ours(RandomSearch(), Goal(minimize=["a"]), 64 * 300))
    default_s = median(lambda: ours(RandomSearch(), Goal(minimize=["a"]), 64 * 300, None))
    nsga2_s = median(nsga2)
    optuna_s = median(lambda: optuna_random(1500))
    figures = {
        "optuna_us": optuna_s * 1e6,
        "random_us": random_s * 1e6,
        "random_ratio": random_s / optuna_s,
        "random_default_us": default_s * 1e6,
        "random_ratio_default": default_s / optuna_s,
        "nsga2_us": nsga2_s * 1e6,
        "nsga2_ratio": nsga2_s / optuna_s,
        "busy_share": busy_share(),
    }
    if options.scale:
        figures |= scale()
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    print(f"Optuna random, in memory     {figures['optuna_us']:8.1f} us a trial")
    figures["random_default_ratio"] = figures["random_ratio_default"]
    for name in ("random", "random_default", "nsga2"):
        ratio = figures[f"{name}_ratio"]
        print(
            f"ours {name:<15} to the store   {figures[f'{name}_us']:8.1f} us a trial, "
            f"{ratio:.4f} = 1/{1 / ratio:.1f} of Optuna's (goal 1/20)"
        )
    for name in list(figures)[8:]:
        print(f"{name:<28} {figures[name]:8.3f}")


if __name__ == "__main__":
    main()
