"""Problems that nobody here wrote, for `peers.py`: BBOB, ZDT, DTLZ, and tuning of real models."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search import Choice, Fidelity, Integer, Measurements, Metric, ParameterSpace, Real

Floats = npt.NDArray[np.float64]
BBOB = (1, 2, 3, 5, 6, 8, 10, 12, 13, 15, 17, 20, 21, 24)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A space, and the losses of one design of it.

    Attributes:
        name: of the problem.
        space: what may vary.
        losses: losses of a design, given as name to value.
        count: number of losses.
        evaluations: budget of a run.
        reference: reference point of the hypervolume, for several losses.
    """

    name: str
    space: ParameterSpace
    losses: Callable[[dict[str, Any]], list[float]]
    count: int
    evaluations: int
    reference: tuple[float, ...] = ()

    def score(self, found: Floats) -> float:
        """Return the best loss of a run, or the negative hypervolume of its losses."""
        if self.count == 1:
            return float(found.min())
        import moocore

        return -float(moocore.hypervolume(found, ref=np.array(self.reference)))


class Measured:
    """A problem as an environment of ours."""

    version = "1"
    deterministic = True
    fidelities = (Fidelity("full"),)

    def __init__(self, problem: Problem) -> None:
        self.problem, self.space = problem, problem.space
        self.metrics = tuple(Metric(f"loss{i}") for i in range(problem.count))

    def evaluate(self, designs: Any, **_: Any) -> Measurements:
        found = np.array([self.problem.losses(dict(design)) for design in designs])
        return Measurements(metrics={f"loss{i}": column for i, column in enumerate(found.T)})


def bbob(function: int, seed: int, *, dimension: int = 5, evaluations: int = 150) -> Problem:
    """One function of the noiseless BBOB suite; each seed has an instance of its own."""
    import ioh

    made = ioh.get_problem(function, seed + 1, dimension, ioh.ProblemClass.BBOB)
    names = [f"x{i}" for i in range(dimension)]
    lowest = float(made.optimum.y)

    def losses(design: dict[str, Any]) -> list[float]:
        return [float(made([design[name] for name in names])) - lowest]

    space = ParameterSpace({name: Real(-5.0, 5.0) for name in names})
    return Problem(
        name=f"bbob{function}", space=space, losses=losses, count=1, evaluations=evaluations
    )


def fronts(name: str, dimension: int, losses: int, evaluations: int) -> Problem:
    """A problem of the suites ZDT and DTLZ, as pymoo has them."""
    from pymoo.problems import get_problem

    options = {"n_var": dimension} | ({"n_obj": losses} if name.startswith("dtlz") else {})
    made = get_problem(name, **options)
    low, high = made.xl, made.xu
    names = [f"x{i}" for i in range(dimension)]

    def evaluate(design: dict[str, Any]) -> list[float]:
        point = np.array([[design[key] for key in names]])
        found = made.evaluate(low + point * (high - low), return_values_of=["F"])
        return [float(value) for value in np.asarray(found)[0]]

    far = {"zdt4": 200.0, "dtlz1": 800.0, "dtlz3": 1500.0, "dtlz7": 33.0}.get(name, 11.0)
    return Problem(
        name=f"{name}-{dimension}",
        space=ParameterSpace({key: Real(0.0, 1.0) for key in names}),
        losses=evaluate,
        count=losses,
        evaluations=evaluations,
        reference=(far,) * losses,
    )


@functools.cache
def _table(name: str) -> tuple[Any, Any]:
    from sklearn import datasets
    from sklearn.preprocessing import StandardScaler

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    kept = np.random.default_rng(0).permutation(len(x))[:400]
    return StandardScaler().fit_transform(x[kept]), y[kept]


def tuning(name: str, evaluations: int = 60) -> Problem:
    """Choose and tune a classifier: each family has parameters of its own."""
    space = ParameterSpace(
        {
            "family": Choice(["svc", "forest", "neighbors", "linear"]),
            "c": Real(1e-3, 1e3, log=True, when="family == 'svc'"),
            "gamma": Real(1e-5, 1e1, log=True, when="family == 'svc'"),
            "trees": Integer(4, 32, log=True, when="family == 'forest'"),
            "depth": Integer(1, 16, when="family == 'forest'"),
            "features": Real(0.05, 1.0, when="family == 'forest'"),
            "near": Integer(1, 40, log=True, when="family == 'neighbors'"),
            "power": Choice([1, 2, 3], when="family == 'neighbors'"),
            "weights": Choice(["uniform", "distance"], when="family == 'neighbors'"),
            "alpha": Real(1e-4, 1e3, log=True, when="family == 'linear'"),
        }
    )

    def losses(design: dict[str, Any]) -> list[float]:
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        x, y = _table(name)
        folds = StratifiedKFold(3, shuffle=True, random_state=0)
        guessed = cross_val_predict(_model(design), x, y, cv=folds)
        return [float((guessed != y).mean())]

    return Problem(
        name=f"tune-{name}", space=space, losses=losses, count=1, evaluations=evaluations
    )


def _model(design: dict[str, Any]) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import RidgeClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    if design["family"] == "svc":
        return SVC(C=design["c"], gamma=design["gamma"])
    if design["family"] == "forest":
        return RandomForestClassifier(
            int(design["trees"]),
            max_depth=int(design["depth"]),
            max_features=design["features"],
            random_state=0,
        )
    if design["family"] == "neighbors":
        return KNeighborsClassifier(
            int(design["near"]), p=int(design["power"]), weights=design["weights"]
        )
    return RidgeClassifier(design["alpha"])


def problems(kind: str, seed: int) -> list[Problem]:
    """Return the problems on which searchers of a kind are compared."""
    if kind == "nsga2":
        small = [fronts(f"zdt{i}", 5, 2, 150) for i in (1, 2, 3, 4, 6)]
        small += [fronts(f"dtlz{i}", 5, 2, 150) for i in (1, 2, 3, 4, 7)]
        large = [fronts(f"zdt{i}", 10 if i > 3 else 30, 2, 1000) for i in (1, 2, 3, 4, 6)]
        return [*small, *large, *(fronts(f"dtlz{i}", 10, 3, 1000) for i in (1, 2, 3, 4, 7))]
    evaluations = 100 if kind == "gp" else 150
    chosen = BBOB[::2] if kind == "gp" else BBOB
    found = [bbob(function, seed, evaluations=evaluations) for function in chosen]
    if kind == "cmaes":
        return [*found, *(bbob(f, seed, dimension=20, evaluations=600) for f in (1, 3, 8, 10, 15))]
    tables = ("digits",) if kind == "gp" else ("digits", "breast_cancer")
    return [*found, *(tuning(name) for name in tables)]
