"""A searcher given by its name, in Python."""

from __future__ import annotations

import pytest

from archwright.errors import SpecificationError
from archwright.search import NSGA2, Budget, Goal, Study
from archwright.search.sweep import Sweep
from archwright.testing import same_trials, toy_environment

GOAL = Goal(minimize=["cost"])


def study(searcher: object) -> Study:
    return Study(
        toy_environment(), GOAL, searcher, budget=Budget(evaluations=64)  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_name_is_the_method_with_its_default_options() -> None:
    """The same searcher, the same identity, the same trials."""
    named, made = study("nsga2"), study(NSGA2())
    assert isinstance(named.searcher, NSGA2)
    assert named.identity() == made.identity()
    same_trials(named.run().table, made.run().table)


def test_a_wrong_name_has_the_nearest() -> None:
    with pytest.raises(SpecificationError, match=r"unknown searcher 'nsg2' \(nearest: 'nsga2'\)"):
        study("nsg2")


def test_a_sweep_takes_names_alone() -> None:
    """With their default grids, as a mapping to None does."""

    def plan(searchers: object) -> object:
        return Sweep(
            environment=toy_environment(), goal=GOAL, evaluations=20, seeds=2,
            searchers=searchers,  # type: ignore[arg-type]
        ).plan  # fmt: skip

    assert plan(["local", "cmaes"]) == plan({"local": None, "cmaes": None})
    assert plan("local") == plan({"local": None})
    with pytest.raises(SpecificationError, match="unknown searcher 'lokal'"):
        plan(["lokal"])


def test_an_unsuitable_searcher_stops_a_sweep_before_its_first_study() -> None:
    """Random search comes first in the plan; it must not have run."""
    told: list[int] = []
    sweep = Sweep(
        environment=toy_environment(), goal=GOAL, evaluations=20, searchers=["local", "nsga3"]
    )
    with pytest.raises(SpecificationError, match=r"\[sweep.searchers.nsga3\]: nsga3 takes two"):
        sweep.run(progress=lambda done, of: told.append(done))
    assert told == []
