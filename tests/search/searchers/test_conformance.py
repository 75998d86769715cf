"""Every searcher keeps the contract, refuses what it cannot take, and beats random search."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.registry import entries
from archwright.search import (
    Budget,
    Choice,
    Environment,
    Goal,
    Integer,
    Objectives,
    ParameterSpace,
    Permutation,
    Searcher,
    Study,
)
from archwright.search.searcher import make_searcher
from archwright.search.table import TableEnvironment, table_environment
from archwright.testing import ToyEnvironment, check_searcher
from testing.subsets import GraphEnvironment, GraphSpace

LADDER = ("short", "middle", "full")
MANY = ToyEnvironment(fidelities={"short": 1.0, "middle": 3.0, "full": 9.0})
CHOICES = ToyEnvironment(
    space=ParameterSpace({f"c{i}": Choice(["p", "q", "r", "s"]) for i in range(5)})
)
ORDERS = ToyEnvironment(space=ParameterSpace({"o": Permutation(4), "n": Integer(1, 9)}))
LIMITED = ToyEnvironment(
    space=ParameterSpace(
        {"heads": Integer(1, 64), "kv": Integer(1, 8)}, require=["heads % kv == 0"]
    )
)

SINGLE: dict[str, dict[str, Any]] = {
    "annealing": {"chains": 6, "initial_temperature": 0.5, "final_temperature": 0.3},
    "ant_colony": {"ants": 12},
    "cmaes": {},
    "genetic": {"population": 16},
    "genetic_gray": {"population": 16},
    "local": {"starts": 6, "climbs": 2},
    "portfolio": {"searchers": ["regularized_evolution", "local", "random"]},
    "regularized_evolution": {"population": 16, "sample": 4},
}
ANY_SPACE = ("annealing", "local", "regularized_evolution")


def make(name: str, **options: Any) -> Searcher:
    return make_searcher(entries("searchers")[name].load(), options, name=name)


def factory(name: str, **changes: Any) -> Callable[[], Searcher]:
    return lambda: make(name, **({**SINGLE.get(name, {}), **changes}))


def check(name: str, environment: Environment | None = None, **options: Any) -> None:
    settings: dict[str, Any] = {"objectives": (1,), "processes": False}
    check_searcher(factory(name), environment=environment, **(settings | options))


@pytest.mark.parametrize("name", SINGLE)
def test_it_keeps_the_contract(name: str) -> None:
    """On the space of every kind of parameter, with infeasible and unknown designs."""
    check(name, processes=name == "regularized_evolution")


@pytest.mark.parametrize("name", SINGLE)
def test_it_keeps_the_contract_on_choices_only(name: str) -> None:
    """Where nothing has an order."""
    check(name, CHOICES)


@pytest.mark.parametrize("name", sorted(set(SINGLE) - {"ant_colony"}))
def test_it_keeps_the_contract_on_permutations(name: str) -> None:
    """Where a parameter is an order."""
    check(name, ORDERS)


@pytest.mark.parametrize("name", SINGLE)
def test_it_keeps_the_contract_under_require(name: str) -> None:
    """Where the space repairs what it is given."""
    check(name, LIMITED, trials=64)


@pytest.mark.parametrize("name", ANY_SPACE)
def test_it_needs_only_neighbors(name: str) -> None:
    """A space of graphs without a unit cube is enough."""
    check(name, GraphEnvironment())


@pytest.mark.parametrize("name", ["successive_halving", "hyperband"])
def test_rungs_keep_the_contract(name: str) -> None:
    """They ask each fidelity by its name."""
    check_searcher(
        factory(name, fidelities=LADDER), environment=MANY, objectives=(1,), processes=False
    )


def test_local_search_takes_the_best_neighbor_too() -> None:
    """Both rules keep the contract."""
    check_searcher(
        factory("local", improvement="best", starts=3), objectives=(1,), processes=False
    )


def test_nsga3_keeps_the_contract() -> None:
    """With two losses."""
    pytest.importorskip("pymoo", reason="needs pip install 'archwright[pymoo]'")
    check_searcher(factory("nsga3", population=16), objectives=(2,), processes=False)


def test_tpe_keeps_the_contract() -> None:
    """With one loss and with two, past its random beginning."""
    for environment in (None, CHOICES, ORDERS, LIMITED):
        check_searcher(
            factory("tpe", startup=6, candidates=8),
            environment=environment,
            objectives=(1, 2) if environment is None else (1,),
            trials=24,
            processes=False,
        )


def test_nsga2_keeps_the_contract() -> None:
    """With one loss, two, and on every kind of space."""
    for environment in (None, CHOICES, ORDERS, LIMITED):
        check_searcher(
            factory("nsga2", population=16),
            environment=environment,
            objectives=(1, 2) if environment is None else (1,),
            processes=False,
        )


def test_gp_keeps_the_contract() -> None:
    """With one loss and with two, past its random beginning."""
    check_searcher(factory("gp", startup=6), objectives=(1, 2), trials=9, processes=False)


def test_ppo_keeps_the_contract() -> None:
    """Over a space with a real, and over choices."""
    pytest.importorskip("stable_baselines3", reason="needs pip install 'archwright[rl]'")
    for environment in (None, CHOICES):
        check_searcher(
            factory("ppo", rollout=8, epochs=2),
            environment=environment,
            objectives=(1,),
            trials=24,
            processes=False,
        )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("annealing", {"chains": 0}, "chains: expected a whole number from 1, found 0"),
        ("annealing", {"cooling": 1.5}, "cooling: expected a number above 0 to 0.9999, found 1.5"),
        ("annealing", {"initial_temperature": 0.001}, "initial_temperature: expected a number"),
        ("ant_colony", {"greediness": 2}, "greediness: expected a number from 0 to 1, found 2"),
        ("ant_colony", {"deposit": "much"}, "deposit: expected a number or 'reciprocal'"),
        ("cmaes", {"population": 2}, "population: expected a whole number from 3"),
        ("genetic", {"population": 1}, "population: expected a whole number from 2, found 1"),
        ("genetic_gray", {"population": 5}, "population: expected an even number, found 5"),
        ("local", {"improvement": "frist"}, "unknown rule 'frist' (nearest: 'first')"),
        ("portfolio", {"searchers": ["random"]}, "expected two or more different names"),
        ("portfolio", {"searchers": ["random", "nsga"]}, "unknown searcher 'nsga' (nearest"),
        ("portfolio", {"options": {"lokal": {}}}, "unknown searcher 'lokal' (nearest: 'local')"),
        ("ppo", {"clip": 0}, "clip: expected a number above 0 to 1, found 0"),
        ("regularized_evolution", {"sample": 40}, "population: expected a whole number from 40"),
        ("successive_halving", {"fidelities": ["a"]}, "expected two or more names"),
        ("successive_halving", {"eta": 1}, "eta: expected a number above 1"),
        ("tpe", {"startup": True}, "startup: expected a whole number from 1, found True"),
        ("gp", {"startup": 1}, "startup: expected a whole number from 4, found 1"),
    ],
)
def test_an_illegal_option_is_one_clear_line(name: str, options: Any, message: str) -> None:
    """It names the option, the value and what was expected."""
    with pytest.raises(SpecificationError, match=re.escape(message)) as caught:
        make(name, **options)
    assert "\n" not in str(caught.value)


def begin(name: str, space: Any, losses: Sequence[str] = ("cost",), **options: Any) -> Searcher:
    searcher = make(name, **options)
    searcher.start(space, Objectives(tuple(losses), ("environment",)), seed=0, capabilities={})
    return searcher


@pytest.mark.parametrize("name", sorted(set(SINGLE) - {"portfolio"}))
def test_several_losses_are_refused_with_those_who_can(name: str) -> None:
    """The message names searchers that take them, all of them registered."""
    message = f"{name} takes one loss, the goal has 2 \\(cost, time\\).* use nsga2, nsga3, gp, tpe"
    with pytest.raises(SpecificationError, match=message):
        begin(name, CHOICES.space, ("cost", "time"))


@pytest.mark.parametrize("name", ["ant_colony", "cmaes", "genetic", "genetic_gray", "nsga2"])
def test_a_space_without_a_cube_is_refused_with_those_who_can(name: str) -> None:
    """The message names searchers that need none."""
    message = f"{name} needs a space with encode and decode, GraphSpace.* regularized_evolution"
    with pytest.raises(SpecificationError, match=message):
        begin(name, GraphSpace(3))


def test_what_a_space_or_goal_lacks_is_said_by_name() -> None:
    """The parameter, and the fidelities."""
    with pytest.raises(SpecificationError, match=r"cannot order 'o' .Permutation.; use local"):
        begin("ant_colony", ORDERS.space)
    with pytest.raises(SpecificationError, match="needs two fidelities or more, found none"):
        begin("hyperband", CHOICES.space)
    with pytest.raises(SpecificationError, match="nsga3 takes two losses or more"):
        begin("nsga3", CHOICES.space)


def test_fidelities_that_the_environment_offers_are_taken() -> None:
    """From the capabilities, in their order; a name it lacks is refused."""
    offered = {"fidelities": MANY.fidelities}
    band: Any = make("hyperband")
    band.start(MANY.space, Objectives(("cost",)), seed=0, capabilities=offered)
    assert [name for name, _ in band.plan(0)] == list(LADDER)

    with pytest.raises(SpecificationError, match=r"unknown fidelity 'ful' .nearest: 'full'."):
        make("hyperband", fidelities=["short", "ful"]).start(
            MANY.space, Objectives(("cost",)), seed=0, capabilities=offered
        )


def rugged() -> TableEnvironment:
    """4,096 designs of six choices; pairs interact, so that no parameter is best alone."""
    rng = np.random.default_rng(5)
    index = np.stack(np.meshgrid(*[np.arange(4)] * 6, indexing="ij"), -1).reshape(-1, 6)
    alone, pairs = rng.normal(size=(6, 4)), rng.normal(size=(5, 4, 4))
    cost = alone[np.arange(6), index].sum(axis=1)
    for i in range(5):
        cost = cost + 0.7 * pairs[i][index[:, i], index[:, i + 1]]
    columns = {f"c{i}": np.array(list("pqrs"))[index[:, i]].tolist() for i in range(6)}
    return table_environment(columns, metrics={"cost": cost + 10.0})


RUGGED = rugged()


def median_best(name: str, options: dict[str, Any], seeds: int, evaluations: int = 150) -> float:
    best = []
    for seed in range(seeds):
        study = Study(
            RUGGED,
            Goal(minimize=["cost"]),
            make(name, **options),
            budget=Budget(evaluations=evaluations),
            seed=seed,
            window=10,
            chunk=10,
        )
        result = study.run()
        assert len(result.trials) == evaluations, f"it ended early: {result.stopped}"
        best.append(result.losses.min())
    return float(np.median(best))


@pytest.mark.parametrize("name", [*SINGLE, "nsga2"])
def test_it_beats_random_search_on_choices(name: str) -> None:
    """The median over 9 seeds of the best of 150 among 4,096 designs."""
    assert median_best(name, {}, 9) < median_best("random", {}, 9)


def test_tpe_beats_random_search() -> None:
    """As above, over 3 seeds."""
    assert median_best("tpe", {}, 3) < median_best("random", {}, 9)


def test_gp_beats_random_search() -> None:
    """As above, over 3 seeds and with 60 evaluations."""
    assert median_best("gp", {}, 3, 60) < median_best("random", {}, 9, 60)
