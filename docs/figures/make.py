"""Draw the figures of the documentation from real runs: ``make figures``, a few minutes.

Needs kaleido and a Chrome or Chromium. The files stand beside this one and are committed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from archwright.explain import figures, importance
from archwright.explain.lottery import strips_of
from archwright.memory.dram import dram_controller
from archwright.search import Budget, Goal, RandomSearch, Result, Study
from archwright.search.searchers import NSGA2
from archwright.search.sweep import Sweep

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "bench"))
TRACES = ("stream", "random", "cloud-1", "cloud-2")
GRIDS: dict[str, dict[str, list[Any]]] = {
    "regularized_evolution": {"population": [8, 32, 64], "sample": [2, 8]},
    "local": {"climbs": [1, 4, 16]},
    "annealing": {"chains": [1, 4, 16], "initial_temperature": [0.05, 1.0]},
    "genetic_gray": {"population": [8, 16, 32], "mutation": [0.001, 0.05]},
    "ant_colony": {"ants": [4, 16], "evaporation": [0.1, 0.5, 1.0]},
}


def save(figure: Any, name: str) -> None:
    figure.write_image(HERE / f"{name}.svg", width=760)
    print(f"{name}.svg")


def sweeps() -> None:
    """Searchers against the budget, and every setting of theirs, on two problems."""
    from searchers import caches

    problem = caches()
    dram = dram_controller(workload="cloud-1", requests=1000, grid="rl")
    cool = Goal(minimize=["latency_s"], subject_to=["power_w <= 1.7"])
    for name, environment, goal in (
        ("caches", problem.environment, problem.goal),
        ("dram", dram, cool),
    ):
        result = Sweep(
            environment=environment, goal=goal, searchers=GRIDS, evaluations=300, seeds=5
        ).run()
        save(figures.against_budget(result), f"{name}-budget")
        save(figures.strips(strips_of(result)), f"{name}-lottery")


def controllers() -> None:
    """The front of latency and power on each trace, and what latency depends on."""

    def run(trace: str, searcher: Any, **goal: list[str]) -> Result:
        environment = dram_controller(workload=trace, requests=10_000, grid="rl")
        return Study(environment, Goal(**goal), searcher, budget=Budget(evaluations=1500)).run()

    both = ["latency_s", "power_w"]
    fronts = {trace: run(trace, NSGA2(population=64), minimize=both) for trace in TRACES}
    save(figures.compare_fronts(fronts), "dram-fronts")
    for trace in ("stream", "random"):
        trials = run(trace, RandomSearch(), minimize=["latency_s"])
        view = figures.importance_bars(importance(trials, "latency_s"))
        save(view, f"dram-importance-{trace}")


if __name__ == "__main__":
    sweeps()
    controllers()
