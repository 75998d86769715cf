"""Environments of known sensitivity, and studies of them."""

from __future__ import annotations

import numpy as np

from archwright.search import (
    NSGA2,
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
    Study,
)


class Formula:
    """An environment of one formula: columns in, metrics out."""

    version = "1"
    deterministic = True
    fidelities = (Fidelity("full"),)

    def __init__(self, space, formula, metrics=("y",), infeasible=None):
        self.space = space
        self.metrics = tuple(Metric(name, "", name) for name in metrics)
        self._formula, self._infeasible = formula, infeasible

    def evaluate(self, designs, *, seeds, fidelity="full", parents=None, artifacts=None):
        found = self._formula(designs)
        values = found if isinstance(found, dict) else {"y": found}
        bad = np.zeros(len(designs), bool)
        if self._infeasible is not None:
            bad = np.asarray(self._infeasible(designs), bool)
        return Measurements(
            metrics={k: np.where(bad, np.nan, np.asarray(v, float)) for k, v in values.items()},
            feasible=~bad,
            reason=["refused" if b else None for b in bad],
        )


def ishigami():
    """Ishigami's function (a = 7, b = 0.1) with two idle parameters."""
    space = {f"x{i}": Real(-np.pi, np.pi) for i in (1, 2, 3)}
    space |= {"idle": Real(0.0, 1.0), "choice": Choice(["a", "b", "c"])}

    def formula(designs):
        a, b, c = (np.asarray(designs[f"x{i}"]) for i in (1, 2, 3))
        return np.sin(a) + 7 * np.sin(b) ** 2 + 0.1 * c**4 * np.sin(a)

    return Formula(ParameterSpace(space), formula)


def additive():
    """A sum whose parts have variances 16, 4, 1 and 0, a categorical one among them."""
    space = {"large": Real(0.0, 1.0), "middle": Choice(["p", "q", "r"]), "small": Real(0.0, 1.0)}
    space["idle"] = Integer(1, 64, log=True)

    def formula(designs):
        middle = np.select(
            [np.asarray(designs["middle"]) == level for level in ("p", "q", "r")],
            [-np.sqrt(6.0), 0.0, np.sqrt(6.0)],
        )
        unit = np.sqrt(12.0)
        return 4 * unit * designs["large"] + middle + unit * designs["small"]

    return Formula(ParameterSpace(space), formula)


def mixed(metrics=("cost", "quality"), limit=0.95):
    """Every kind of parameter, one of them conditional, infeasible designs, odd names."""
    space = {
        "<b>size": Real(0.0, 1.0),
        "count": Integer(1, 512, log=True),
        "kind": Choice(["<i>one", "two"]),
        "on": Choice([False, True]),
        "depth": Integer(1, 8, when="on"),
    }

    def formula(designs):
        size, count = np.asarray(designs["<b>size"]), np.log2(np.asarray(designs["count"], float))
        depth = np.ma.filled(np.ma.asarray(designs["depth"], float), 0.0)
        values = {"cost": 1 + count * (1 + size), "quality": -3 + count**0.5 - (size - 0.5) ** 2}
        values["depth_cost"] = depth + 0.1 * size
        return {name: values[name] for name in metrics}

    return Formula(
        ParameterSpace(space), formula, metrics, infeasible=lambda d: d["<b>size"] > limit
    )


def run(environment, searcher=None, *, trials=400, seed=0, **goal):
    """Return the result of a study; minimizes y where no goal is given."""
    return Study(
        environment,
        Goal(**(goal or {"minimize": ["y"]})),
        searcher or RandomSearch(),
        budget=Budget(evaluations=trials),
        seed=seed,
    ).run()


def narrowed(environment, trials=2000, seed=0):
    """Return the result of a search that converges, so that its trials are far from uniform."""
    return run(environment, NSGA2(population=40), trials=trials, seed=seed)
