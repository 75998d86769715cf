"""Search methods of other libraries on the problems of `peer_problems.py`, for `peers.py`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from peer_problems import Problem

from archwright.search import Choice, Integer, Real
from archwright.search.space import Expression

Floats = npt.NDArray[np.float64]
Run = Callable[[Problem, int], Floats]
"""Runs a problem under a seed and returns all losses, shape (evaluations, losses)."""


def optuna_sampler(make: Callable[[Any, int], Any]) -> Run:
    """Return a run of a sampler of Optuna; a parameter is asked only where its condition holds."""

    def run(problem: Problem, seed: int) -> Floats:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        rows: list[list[float]] = []

        def objective(trial: Any) -> Any:
            found = problem.losses(_suggested(trial, problem))
            rows.append(found)
            return tuple(found) if len(found) > 1 else found[0]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(
                directions=["minimize"] * problem.count, sampler=make(optuna.samplers, seed)
            )
            study.optimize(objective, n_trials=problem.evaluations)
        return np.array(rows)

    return run


def _suggested(trial: Any, problem: Problem) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, item in problem.space.parameters.items():
        if item.when is not None:
            rule = Expression(item.when)
            columns = {key: np.array([values[key]]) for key in rule.names}
            if not bool(np.asarray(rule(columns))[0]):
                values[name] = None
                continue
        if isinstance(item, Choice):
            at = trial.suggest_categorical(name, range(len(item.options)))
            values[name] = item.options[at]
        elif isinstance(item, Integer):
            values[name] = trial.suggest_int(name, item.low, item.high, log=item.log)
        else:
            assert isinstance(item, Real)
            values[name] = trial.suggest_float(name, item.low, item.high, log=item.log)
    return values


def nevergrad(name: str) -> Run:
    """Return a run of one of nevergrad's optimizers, for spaces of reals."""

    def run(problem: Problem, seed: int) -> Floats:
        import nevergrad as ng

        items = list(problem.space.parameters.values())
        array = ng.p.Array(shape=(len(items),)).set_bounds(items[0].low, items[0].high)
        array.random_state.seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search = ng.optimizers.registry[name](array, budget=problem.evaluations, num_workers=1)
            rows = []
            for _ in range(problem.evaluations):
                asked = search.ask()
                design = dict(zip(problem.space.names, asked.value.tolist(), strict=True))
                found = problem.losses(design)
                search.tell(asked, found[0])
                rows.append(found)
        return np.array(rows)

    return run


def pymoo_nsga2(population: int) -> Run:
    """Return a run of pymoo's NSGA-II; its own default population is 100."""

    def run(problem: Problem, seed: int) -> Floats:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import ElementwiseProblem
        from pymoo.optimize import minimize

        rows: list[list[float]] = []
        names = problem.space.names

        class Wrapped(ElementwiseProblem):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__(n_var=len(names), n_obj=problem.count, xl=0.0, xu=1.0)

            def _evaluate(self, x: Any, out: Any, *_: Any, **__: Any) -> None:
                out["F"] = problem.losses(dict(zip(names, x.tolist(), strict=True)))
                rows.append(out["F"])

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ends = ("n_eval", problem.evaluations)
            minimize(Wrapped(), NSGA2(pop_size=population), ends, seed=seed)
        return np.array(rows[: problem.evaluations])

    return run


PEERS: dict[str, dict[str, Run]] = {
    "tpe": {
        "optuna": optuna_sampler(lambda s, seed: s.TPESampler(seed=seed)),
        "optuna, grouped": optuna_sampler(
            lambda s, seed: s.TPESampler(seed=seed, multivariate=True, group=True)
        ),
    },
    "gp": {"optuna": optuna_sampler(lambda s, seed: s.GPSampler(seed=seed))},
    "cmaes": {
        "optuna": optuna_sampler(lambda s, seed: s.CmaEsSampler(seed=seed)),
        "nevergrad": nevergrad("CMA"),
    },
    "nsga2": {
        "pymoo": pymoo_nsga2(100),
        "pymoo, population 40": pymoo_nsga2(40),
        "optuna": optuna_sampler(lambda s, seed: s.NSGAIISampler(seed=seed)),
    },
}
"""The methods of each kind, with their own defaults unless their name says what differs."""
