"""Small parts that tests of searchers share: spaces, starts and trials."""

from __future__ import annotations

from typing import Any

import numpy as np

from archwright.search import Objectives, Scores, Trials


def begun(searcher: Any, space: Any, *, losses: int = 1, seed: int = 0) -> Any:
    """Return a searcher, started."""
    names = tuple(f"loss{i}" for i in range(losses))
    searcher.start(space, Objectives(names, ("environment",)), seed=seed, capabilities={})
    return searcher


def trials(
    designs: Any, losses: Any, *, violations: Any = None, first: int = 0, fidelity: str = "full"
) -> Trials:
    """Return trials of designs; feasible where nothing is violated."""
    n = len(designs)
    table = np.asarray(losses, dtype=np.float64).reshape(n, -1)
    broken = np.zeros(n) if violations is None else np.asarray(violations, dtype=np.float64)
    return Trials(
        numbers=np.arange(first, first + n),
        designs=designs,
        scores=Scores(losses=table, violations=broken[:, None], feasible=broken == 0),
        fidelity=(fidelity,) * n,
        parents=np.full(n, -1),
        repeats=np.zeros(n, dtype=bool),
    )


def asked(searcher: Any, n: int) -> Any:
    """Return what a searcher asks, after steps of its own where it waits."""
    found = searcher.ask(n)
    while not len(getattr(found, "designs", found)) and searcher.step():
        found = searcher.ask(n)
    return getattr(found, "designs", found)
