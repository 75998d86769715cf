"""Each searcher against random search and the exact optimum on seven problems that enumerate.

Every study has 300 unique evaluations; the figure is the median over seeds of the best loss
found, as *regret*: 0 is the exact optimum, 1 the median of random search. One problem is a table
of DRAM controllers fitted to simulator runs, three are measurements of two NAS benchmarks, one is
the exact fleet of every design of a chat service, two are synthetic with conditional parameters.
Tables that are absent are left out and named.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from archwright.errors import ArchwrightError
from archwright.registry import entries
from archwright.search import (
    Budget,
    Choice,
    Goal,
    Integer,
    Ordinal,
    ParameterSpace,
    Study,
    order,
)
from archwright.search.searcher import make_searcher
from archwright.search.table import TableEnvironment, table_environment
from archwright.serving import fleet_environment
from archwright.solve import hypervolume, nondominated

DATA = Path(os.environ.get("ARCHWRIGHT_DATA", "../shared/data"))
EVALUATIONS = 300
SEEDS = 20
BATCH = 10
SLOW = {"gp": 5, "ppo": 5}
SINGLE = (
    "random", "local", "annealing", "genetic", "genetic_gray", "ant_colony",
    "regularized_evolution", "nsga2", "cmaes", "tpe", "gp", "ppo", "portfolio",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An environment that enumerates, and a goal."""

    name: str
    environment: TableEnvironment
    goal: Goal

    def exact(self) -> float:
        """Return the best loss of all designs."""
        _, scores = self.scored()
        return float(scores.losses[order(scores)[0], 0])

    def scored(self) -> tuple[Any, Any]:
        """Return all designs and their scores."""
        space = self.environment.space
        designs = space.concatenate(list(space.enumerate()))
        seeds = np.zeros(len(designs), dtype=np.uint64)
        return designs, self.goal.score(self.environment.evaluate(designs, seeds=seeds))


def dram() -> Problem:
    """Five settings of a DRAM controller: log time by main effects and pairs, least squares."""
    names = ("PagePolicy", "Scheduler", "RequestBufferSize", "Arbiter", "MaxActiveTransactions")
    with (DATA / "archgym" / "dramsys_sweep.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["trace"] == "random.stl"]
    text = {name: [row[name] for row in rows] for name in names}
    values: dict[str, list[Any]] = {
        name: sorted({int(v) for v in column}) if column[0].isdigit() else sorted(set(column))
        for name, column in text.items()
    }
    place = {name: {str(v): i for i, v in enumerate(values[name])} for name in names}
    seen = {name: np.array([place[name][v] for v in text[name]]) for name in names}
    grid = np.array(list(itertools.product(*(range(len(values[n])) for n in names))))
    every = {name: grid[:, i] for i, name in enumerate(names)}
    counts = {name: len(values[name]) for name in names}
    fitted = np.log([float(row["time_ns"]) for row in rows])
    terms = _terms(seen, counts)
    ridge = 1e-3 * np.eye(terms.shape[1])
    weights = np.linalg.solve(terms.T @ terms + ridge, terms.T @ fitted)
    times = np.exp(_terms(every, counts) @ weights)
    columns = {n: [values[n][i] for i in every[n]] for n in names}
    table = table_environment(columns, metrics={"time_ns": times}, provenance="fitted")
    return Problem(name="dram", environment=table, goal=Goal(minimize=["time_ns"]))


def _terms(index: dict[str, Any], counts: dict[str, int]) -> Any:
    parts = [np.eye(counts[name])[index[name]] for name in index]
    for a, b in itertools.combinations(index, 2):
        pair = index[a] * counts[b] + index[b]
        parts.append(np.eye(counts[a] * counts[b])[pair])
    return np.hstack(parts)


def _nb201() -> TableEnvironment:
    """NAS-Bench-201 with the latencies of HW-NAS-Bench: six operators of five kinds."""
    folder = DATA / "nas-tables"
    with gzip.open(folder / "nb201_accuracy.csv.gz", "rt") as file:
        accuracy = {row["index"]: row for row in csv.DictReader(file)}
    with gzip.open(folder / "nb201_hw_cifar10.csv.gz", "rt") as file:
        hardware = {row["index"]: row for row in csv.DictReader(file)}
    columns: dict[str, list[Any]] = {f"edge{i}": [] for i in range(6)}
    metrics: dict[str, list[float]] = {"accuracy": [], "latency_ms": []}
    for index, row in accuracy.items():
        operators = [
            part.split("~")[0] for part in row["arch"].replace("+", "").split("|") if part
        ]
        for i, operator in enumerate(operators):
            columns[f"edge{i}"].append(operator)
        metrics["accuracy"].append(float(row["cifar10_val_200ep"]))
        metrics["latency_ms"].append(float(hardware[index]["raspi4_latency"]))
    return table_environment(columns, metrics=metrics, provenance="measured")


def _macro() -> TableEnvironment:
    """NAS-Bench-Macro: eight layers of three kinds."""
    rows = json.loads((DATA / "nas-tables" / "nas-bench-macro_cifar10.json").read_text())
    columns = {f"layer{i}": [key[i] for key in rows] for i in range(8)}
    metrics = {
        "accuracy": [row["mean_acc"] for row in rows.values()],
        "flops": [row["flops"] for row in rows.values()],
    }
    return table_environment(columns, metrics=metrics, provenance="measured")


def nb201() -> Problem:
    return Problem(name="nb201", environment=_nb201(), goal=Goal(maximize=["accuracy"]))


def nb201_limited() -> Problem:
    """Accuracy of cells that are among the fastest fifth."""
    table = _nb201()
    _, scores = Problem(name="", environment=table, goal=Goal(minimize=["latency_ms"])).scored()
    limit = float(np.quantile(scores.losses[:, 0], 0.2))
    goal = Goal(maximize=["accuracy"], subject_to=[f"latency_ms <= {limit:.6g}"])
    return Problem(name="nb201_limited", environment=table, goal=goal)


def macro_limited() -> Problem:
    """Accuracy of networks that are among the cheapest three tenths."""
    table = _macro()
    _, scores = Problem(name="", environment=table, goal=Goal(minimize=["flops"])).scored()
    limit = float(np.quantile(scores.losses[:, 0], 0.3))
    goal = Goal(maximize=["accuracy"], subject_to=[f"flops <= {limit:.6g}"])
    return Problem(name="macro_limited", environment=table, goal=goal)


def fleet() -> Problem:
    """The most frugal fleet for a chat service: model, formats, batch limit and devices.

    Every design with one device, two, or all; planned exactly, about a minute in all. Energy and
    not cost, whose optimum is reached by every set of devices that holds one of them.
    """
    limits = {"ttft_p99_s": 1.0, "tpot_mean_s": 0.05}
    names = fleet_environment(rate_per_s=20.0, limits=limits).specification.devices
    sets = ["all", *names, *("+".join(pair) for pair in itertools.combinations(names, 2))]
    made = fleet_environment(rate_per_s=20.0, limits=limits, vary={"devices": Choice(sets)})
    designs = made.space.concatenate(list(made.space.enumerate()))
    found = made.evaluate(designs, seeds=np.zeros(len(designs), dtype=np.uint64))
    planned = np.flatnonzero(found.feasible)  # the table has no row of the others
    metrics = ("joules_per_token", "quality")
    table = table_environment(
        {n: np.asarray(c)[planned].tolist() for n, c in made.space.columns(designs).items()},
        metrics={name: found.metrics[name][planned] for name in metrics},
        space=made.space,
        provenance="fitted",
    )
    goal = Goal(minimize=["joules_per_token"], subject_to=["quality >= 70"])
    return Problem(name="fleet", environment=table, goal=goal)


def _synthetic(name: str, space: ParameterSpace, cost: Callable[[Any], Any]) -> Problem:
    designs = space.concatenate(list(space.enumerate()))
    columns = {n: np.ma.asarray(c).tolist() for n, c in space.columns(designs).items()}
    table = table_environment(
        columns, metrics={"cost": cost(designs)}, space=space, provenance="analytic"
    )
    return Problem(name=name, environment=table, goal=Goal(minimize=["cost"]))


def experts() -> Problem:
    """A mixture of experts or a dense model: each family has parameters of its own."""
    space = ParameterSpace(
        {
            "family": Choice(["dense", "moe"]),
            "width": Integer(4, 64, step=4, when="family == 'dense'"),
            "experts": Ordinal([2, 4, 8, 16, 32, 64], when="family == 'moe'"),
            "active": Integer(1, 4, when="family == 'moe'"),
            "layers": Integer(1, 48),
            "batch": Ordinal([1, 2, 4, 8, 16, 32, 64]),
        }
    )

    def cost(designs: Any) -> Any:
        moe = np.asarray(designs["family"]) == "moe"
        width = np.ma.filled(designs["width"].astype(float), 32.0)
        count = np.ma.filled(designs["experts"].astype(float), 1.0)
        active = np.ma.filled(designs["active"].astype(float), 1.0)
        size = np.where(moe, 10.0 * active**0.5 * count**0.25, width)
        error = 8.0 / size**0.6 + 4.0 / designs["layers"] ** 0.5
        spent = (size * active * designs["layers"]) ** 0.7 / designs["batch"] ** 0.5 / 40
        queue = 0.004 * designs["batch"] ** 1.2 + np.where(moe, 0.01 * count**0.8, 0.0)
        return error + spent + queue

    return _synthetic("experts", space, cost)


def caches() -> Problem:
    """One to three cache levels; a level has parameters only where it exists. Rugged."""
    sizes = [8, 16, 32, 64, 128, 256]
    space = ParameterSpace(
        {
            "levels": Integer(1, 3),
            "size1": Ordinal(sizes),
            "size2": Ordinal(sizes, when="levels >= 2"),
            "size3": Ordinal(sizes, when="levels >= 3"),
            "policy": Choice(["lru", "fifo", "random", "plru"]),
            "prefetch": Choice(["none", "next", "stride", "stream"]),
            "ways": Ordinal([1, 2, 4, 8, 16]),
        }
    )
    rng = np.random.default_rng(7)
    bias = rng.normal(size=(4, 4, 5))
    ripple = rng.normal(size=(6, 6))

    def cost(designs: Any) -> Any:
        policy = np.array([["lru", "fifo", "random", "plru"].index(v) for v in designs["policy"]])
        prefetch = np.array(
            [["none", "next", "stride", "stream"].index(v) for v in designs["prefetch"]]
        )
        ways = np.log2(designs["ways"]).astype(int)
        size1 = np.log2(designs["size1"] / 8).astype(int)
        size2 = np.ma.filled(np.ma.log2(designs["size2"] / 8), 0).astype(int)
        size3 = np.ma.filled(np.ma.log2(designs["size3"] / 8), 0).astype(int)
        levels = designs["levels"]
        reach = size1 + 1.2 * size2 * (levels >= 2) + 1.3 * size3 * (levels >= 3)
        hit = 0.7 * size1 + 0.3 * size2 + 0.2 * size3 + 0.8 * levels
        return (
            9.0 * np.exp(-0.25 * reach)
            + 0.55 * hit
            + 0.5 * bias[policy, prefetch, ways]
            + 0.3 * ripple[size1, np.where(levels >= 2, size2, 0)]
        )

    return _synthetic("caches", space, cost)


PROBLEMS: tuple[Callable[[], Problem], ...] = (
    dram, nb201, nb201_limited, macro_limited, fleet, experts, caches
)  # fmt: skip


def make(name: str, options: dict[str, Any]) -> Any:
    return make_searcher(entries("searchers")[name].load(), options, name=name)


def best(problem: Problem, name: str, seed: int) -> float:
    """Return the best loss of one study; infinite where nothing feasible was found."""
    study = Study(
        problem.environment,
        problem.goal,
        make(name, {}),
        budget=Budget(evaluations=EVALUATIONS),
        seed=seed,
        window=BATCH,
        chunk=BATCH,
    )
    result = study.run()
    row = result.best()
    if row is None or not result.trials["feasible"][row].as_py():
        return float("inf")
    return float(result.losses[row, 0])


def median(problem: Problem, name: str, seeds: int) -> tuple[float, float]:
    """Return the median of the best loss, and seconds a study."""
    count = min(seeds, SLOW.get(name, seeds))
    started = time.perf_counter()
    found = [best(problem, name, seed) for seed in range(count)]
    return float(np.median(found)), (time.perf_counter() - started) / count


def fronts(seeds: int) -> None:
    """Print the hypervolume of two-objective searches after 15 % of each NAS table."""
    print(f"\nhypervolume, share of the exact, after 15 % of the space, median of {seeds} seeds")
    for label, table, goal in (
        ("nb201", _nb201(), Goal(minimize=["latency_ms"], maximize=["accuracy"])),
        ("macro", _macro(), Goal(minimize=["flops"], maximize=["accuracy"])),
    ):
        _, scores = Problem(name=label, environment=table, goal=goal).scored()
        reference = scores.losses.max(axis=0)
        exact = hypervolume(scores.losses[nondominated(scores.losses)], reference)
        for name in ("random", "nsga2", "nsga3"):
            shares = []
            for seed in range(seeds):
                budget = Budget(evaluations=int(0.15 * len(table)))
                study = Study(
                    table, goal, make(name, {}), budget=budget, seed=seed, window=64, chunk=64
                )
                losses = study.run().losses
                shares.append(hypervolume(losses, reference) / exact)
            print(f"{label:8} {name:8} {np.median(shares):.4f}")


def overhead(runs: int = 5) -> None:
    """Print what each own searcher's loop costs a trial, store included, in batches of 64."""
    from search_overhead import optuna_random, ours

    options: dict[str, dict[str, Any]] = {
        "random": {},
        "local": {"climbs": 6},
        "annealing": {"chains": 64},
        "genetic_gray": {"population": 64},
        "ant_colony": {"ants": 64},
        "regularized_evolution": {"population": 64},
    }
    goal = Goal(minimize=["a"])
    ours(make("random", {}), goal, 640)  # imports and caches
    peer = min(optuna_random(800) for _ in range(runs))
    print(f"\nOptuna random, in memory {peer * 1e6:8.1f} us a trial, best of {runs}")
    for name, chosen in options.items():
        spent = min(ours(make(name, chosen), goal, 64 * 100) for _ in range(runs))
        print(f"  {name:22} {spent * 1e6:8.1f} us a trial, 1/{peer / spent:.1f} (goal 1/13)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searchers", nargs="*", default=list(SINGLE))
    parser.add_argument("--problems", nargs="*", default=[p.__name__ for p in PROBLEMS])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--no-fronts", action="store_true")
    parser.add_argument("--no-overhead", action="store_true")
    options = parser.parse_args()
    names = ["random", *(n for n in options.searchers if n != "random")]
    wins: dict[str, tuple[int, int]] = {}
    for build in PROBLEMS:
        if build.__name__ not in options.problems:
            continue
        try:
            problem = build()
        except FileNotFoundError as error:
            print(f"{build.__name__}: not run, {error.filename} is missing")
            continue
        exact, base = problem.exact(), float("nan")
        print(f"\n{problem.name}: {len(problem.environment)} designs, exact {exact:.6g}")
        for name in names:
            try:
                found, seconds = median(problem, name, options.seeds)
            except ArchwrightError as error:
                print(f"  {name:22} not run: {error}")
                continue
            base = found if name == "random" else base
            regret = (found - exact) / (base - exact) if base > exact else float("nan")
            won, ran = wins.get(name, (0, 0))
            wins[name] = won + (found < base), ran + 1
            print(f"  {name:22} {found:12.6g}  regret {regret:7.3f}  {seconds:7.2f} s a study")
    print("\nproblems on which the median beats random's, of those run")
    for name, (won, ran) in wins.items():
        print(f"  {name:22} {won} of {ran}")
    if not options.no_fronts:
        fronts(max(3, options.seeds // 4))
    if not options.no_overhead:
        overhead()


if __name__ == "__main__":
    main()
