"""Our searchers by default against those of Optuna, nevergrad and pymoo, in the same run.

Problems that nobody here wrote (see `peer_problems.py`), equal budgets, one trial after another.
A pair is one problem under one seed; it is decided where the results differ. For each kind of
method the wins among decided pairs are given against every peer, and as ``<kind>_wins`` against
the strongest of them.

    python bench/peers.py --json
    python bench/peers.py --kinds cmaes nsga2 --seeds 3

Needs the extra ``peers``, and torch for Optuna's GP; a library that is absent is named and left
out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
from peer_libraries import PEERS
from peer_problems import Measured, Problem, problems
from threadpoolctl import threadpool_limits

from archwright.registry import resolve
from archwright.search import Budget, Goal, Study


def ours(kind: str, problem: Problem, seed: int) -> np.ndarray:
    """Return all losses of a study with the searcher's defaults."""
    study = Study(
        Measured(problem),
        Goal(minimize=[f"loss{i}" for i in range(problem.count)]),
        resolve("searchers", kind)(),
        budget=Budget(evaluations=problem.evaluations),
        seed=seed,
    )
    return np.asarray(study.run().losses)


class Tally:
    """Wins, losses and ties against one peer, and its time."""

    def __init__(self) -> None:
        self.wins = self.losses = self.ties = self.trials = 0
        self.seconds = 0.0
        self.by_problem: dict[str, list[int]] = {}

    def add(self, name: str, mine: float, theirs: float) -> None:
        """Compare two results; smaller is better."""
        row = self.by_problem.setdefault(name, [0, 0])
        if mine < theirs:
            self.wins, row[0] = self.wins + 1, row[0] + 1
        elif theirs < mine:
            self.losses, row[1] = self.losses + 1, row[1] + 1
        else:
            self.ties += 1

    @property
    def share(self) -> float:
        """Wins among decided pairs."""
        decided = self.wins + self.losses
        return self.wins / decided if decided else 0.5

    def plain(self) -> dict[str, Any]:
        """Return what is printed."""
        return {
            "share": round(self.share, 4),
            "wins": self.wins,
            "losses": self.losses,
            "ties": self.ties,
            "ms_per_trial": round(1e3 * self.seconds / max(1, self.trials), 3),
            "by_problem": self.by_problem,
        }


def compare(kind: str, seeds: int) -> tuple[dict[str, Tally], float]:
    """Return the tally against each peer of a kind, and our seconds a trial."""
    tallies = {name: Tally() for name in PEERS[kind]}
    spent, trials = 0.0, 0
    for seed in range(seeds):
        for problem in problems(kind, seed):
            started = time.perf_counter()
            mine = problem.score(ours(kind, problem, seed))
            spent += time.perf_counter() - started
            trials += problem.evaluations
            for name, run in PEERS[kind].items():
                started = time.perf_counter()
                try:
                    theirs = problem.score(run(problem, seed))
                except ImportError as error:
                    print(f"{kind}: {name} is left out: {error}", file=sys.stderr)
                    continue
                tallies[name].seconds += time.perf_counter() - started
                tallies[name].trials += problem.evaluations
                tallies[name].add(problem.name, mine, theirs)
        standing = {name: round(tally.share, 3) for name, tally in tallies.items()}
        print(f"{kind}: seed {seed + 1} of {seeds}: {standing}", file=sys.stderr, flush=True)
    return tallies, spent / max(1, trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("--kinds", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with threadpool_limits(limits=1):
        for kind in options.kinds:
            tallies, seconds = compare(kind, options.seeds)
            met = {name: tally for name, tally in tallies.items() if tally.trials}
            if met:
                found[f"{kind}_wins"] = round(min(tally.share for tally in met.values()), 4)
            found[kind] = {
                "ours_ms_per_trial": round(1e3 * seconds, 3),
                "peers": {name: tally.plain() for name, tally in met.items()},
            }
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for kind in options.kinds:
        print(f"{kind}: ours {found[kind]['ours_ms_per_trial']} ms a trial, evaluations included")
        for name, one in found[kind]["peers"].items():
            wins = f"{one['wins']}:{one['losses']}, {one['ties']} ties"
            print(f"  {name:22} {one['share']:.3f} ({wins}), {one['ms_per_trial']} ms a trial")


if __name__ == "__main__":
    main()
