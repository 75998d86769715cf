"""What single methods promise, against slow oracles and published tables."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.search import (
    Budget,
    Choice,
    Goal,
    Integer,
    Objectives,
    Ordinal,
    ParameterSpace,
    Permutation,
    Real,
    Scores,
    Study,
    Trials,
    order,
)
from archwright.search.goal import standing
from archwright.search.searchers.annealing import Annealing
from archwright.search.searchers.ant_colony import AntColony
from archwright.search.searchers.genetic_gray import GeneticGray, GrayCode
from archwright.search.searchers.hyperband import Hyperband
from archwright.search.searchers.memory import Memory
from archwright.search.searchers.portfolio import Portfolio
from archwright.search.searchers.regularized_evolution import RegularizedEvolution
from archwright.search.searchers.steps import Steps
from archwright.search.searchers.successive_halving import SuccessiveHalving
from archwright.testing import toy_environment
from strategies import spaces

ONE = Objectives(("cost",), ("environment",))
GRID = ParameterSpace({"a": Ordinal([1, 2, 4]), "b": Choice(["x", "y"]), "c": Integer(0, 4)})


def begun(searcher: Any, space: Any = GRID, seed: int = 0) -> Any:
    searcher.start(space, ONE, seed=seed, capabilities={})
    return searcher


def trials(designs: Any, losses: Any, first: int = 0) -> Trials:
    n = len(designs)
    column = np.asarray(losses, dtype=np.float64)[:, None]
    return Trials(
        numbers=np.arange(first, first + n),
        designs=designs,
        scores=Scores(losses=column, violations=np.zeros((n, 1)), feasible=np.ones(n, dtype=bool)),
        fidelity=("full",) * n,
        parents=np.full(n, -1),
        repeats=np.zeros(n, dtype=bool),
    )


# Steps and memory


@given(spaces(), st.integers(0, 2**31))
def test_a_step_stays_inside_and_moves(space: ParameterSpace, seed: int) -> None:
    """Whatever the space, a step is a design of it; most differ where another exists."""
    rng = np.random.default_rng(seed)
    designs = space.sample(rng, 16)

    stepped = Steps(space)(rng, designs)

    assert space.contains(stepped).all()
    if not space.require and any(
        item.size > 1 and item.when is None for item in space.parameters.values()
    ):
        moved = [a != b for a, b in zip(space.keys(designs), space.keys(stepped), strict=True)]
        assert any(moved)


def test_a_step_changes_one_parameter_and_reaches_every_value() -> None:
    """Each kind of parameter moves, by itself, and far enough to reach all of its values."""
    space = ParameterSpace(
        {
            "choice": Choice(list("abcd")),
            "ordinal": Ordinal([1, 2, 4, 8]),
            "integer": Integer(0, 30, step=3),
            "log": Integer(1, 40, log=True),
            "real": Real(0.0, 1.0),
            "order": Permutation(3),
            "fixed": Choice(["only"]),
        }
    )
    rng = np.random.default_rng(0)
    designs, steps = space.sample(rng, 400), Steps(space)
    reached: dict[str, set[Any]] = {name: set() for name in space.names}
    for _ in range(40):
        before, designs = designs, steps(rng, designs)
        changed = np.zeros((len(designs), len(space.names)), dtype=bool)
        for i, name in enumerate(space.names):
            changed[:, i] = [a != b for a, b in zip(before[name], designs[name], strict=True)]
            reached[name] |= set(np.asarray(designs[name], dtype=object).tolist())
        assert (changed.sum(axis=1) <= 1).all()
        assert changed.sum(axis=1).mean() > 0.97  # a real may reflect onto itself
    assert {n: len(reached[n]) for n in ("choice", "ordinal", "integer", "log", "order")} == {
        "choice": 4, "ordinal": 4, "integer": 11, "log": 40, "order": 6
    }  # fmt: skip


def test_a_step_that_activates_a_parameter_draws_its_value() -> None:
    """What was inactive has no value to step from."""
    space = ParameterSpace({"on": Choice([False, True]), "x": Integer(0, 99, when="on")})
    off = space.from_columns({"on": [False] * 300, "x": [None] * 300})

    stepped = Steps(space)(np.random.default_rng(0), off)

    assert np.asarray(stepped["on"]).all()
    assert len(set(np.asarray(stepped["x"]).tolist())) > 50


def test_renewing_finds_what_is_left() -> None:
    """29 of 30 designs known: the last is found; then repeats are all there is."""
    memory, rng = Memory(GRID), np.random.default_rng(0)
    every = GRID.concatenate(list(GRID.enumerate()))
    memory.add(every.take(np.arange(29)))
    change = lambda some: Steps(GRID)(rng, some)  # noqa: E731

    found = memory.renew(every.take([0]), change, rng, tries=500)
    assert GRID.keys(found) == GRID.keys(every.take([29]))
    assert not memory.new(memory.renew(every.take([0]), change, rng)).any()

    other = Memory(GRID)
    other.restore(memory.state())
    assert not other.new(every).any()
    assert len(other) == 30


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.5, np.nan]), st.sampled_from([0.0, 0.3, np.nan]),
                          st.booleans()), min_size=1, max_size=12))  # fmt: skip
def test_standing_orders_as_order_does(rows: list[tuple[float, float, bool]]) -> None:
    """Feasible by loss, infeasible by violation, unevaluable last."""
    losses, violations, feasible = (np.array(column) for column in zip(*rows, strict=True))
    scores = Scores(losses=losses[:, None], violations=violations[:, None], feasible=feasible)

    def slow(i: int) -> tuple[int, float]:
        if feasible[i]:
            return (2, 0.0) if np.isnan(losses[i]) else (0, losses[i])
        return (2, 0.0) if np.isnan(violations[i]) else (1, violations[i])

    assert [tuple(row) for row in standing(scores)] == [slow(i) for i in range(len(rows))]
    assert order(scores).tolist() == sorted(range(len(rows)), key=slow)


# Gray code


@given(st.lists(st.integers(1, 10), min_size=1, max_size=4), st.integers(0, 2**31))
def test_gray_code_round_trips(lengths: list[int], seed: int) -> None:
    """bits(points(bits)) == bits, and plain and Gray code agree with the textbook's loop."""
    code = GrayCode(lengths)
    bits = np.random.default_rng(seed).random((20, sum(lengths))) < 0.5

    points = code.points(bits)

    assert (code.bits(points) == bits).all()
    for row, point in zip(bits, points, strict=True):
        at = 0
        for length, value in zip(lengths, point, strict=True):
            plain, parity = 0, 0
            for bit in row[at : at + length]:
                parity ^= int(bit)
                plain = 2 * plain + parity
            assert value == (plain + 0.5) / 2**length
            at += length


def test_every_value_has_bits() -> None:
    """Parameters whose number of values is no power of two are decoded back to themselves."""
    space = ParameterSpace({f"n{n}": Integer(0, n - 1) for n in (2, 3, 5, 6, 7, 11, 100)})
    search = begun(GeneticGray(), space)
    rows = {f"n{n}": [i % n for i in range(100)] for n in (2, 3, 5, 6, 7, 11, 100)}
    designs = space.from_columns(rows)

    back = space.decode(search._code.points(search._code.bits(space.encode(designs))))

    assert space.keys(back) == space.keys(designs)


def test_the_best_is_not_put_back() -> None:
    """A generation replaces the one before it, the best design too."""
    search = begun(GeneticGray(population=8, mutation=0.5, renew=False))
    first = search.ask(8)
    search.tell(trials(first, np.arange(8.0)))
    second = search.ask(8)
    search.tell(trials(second, np.full(8, 99.0)))

    assert (search._standing[:, 1] == 99.0).all()


# Ant colony


@pytest.mark.parametrize("together", [1, 4])
def test_pheromone_follows_the_rules(together: int) -> None:
    """Local updates of each ant, then the global one, against one loop over single values."""
    search = begun(AntColony(ants=10, together=together, renew=False, greediness=0.5))
    tau = [[0.1] * 3, [0.1] * 2, [0.1] * 5]
    best: tuple[float, list[int]] = (np.inf, [])
    rng = np.random.default_rng(3)
    for _ in range(6):
        designs = search.ask(10)
        losses = rng.random(10)
        paths = [[[1, 2, 4].index(d["a"]), ["x", "y"].index(d["b"]), d["c"]] for d in designs]
        for path, loss in zip(paths, losses, strict=True):
            for row, at in enumerate(path):
                tau[row][at] = 0.9 * tau[row][at] + 0.1 * 0.1
            best = min(best, (float(loss), path))
        search.tell(trials(designs, losses))
        for row, at in enumerate(best[1]):
            tau[row][at] = 0.9 * tau[row][at] + 0.1 * 1.0
        for row, values in enumerate(tau):
            np.testing.assert_allclose(search.pheromone[row, : len(values)], values)


def test_greedy_ants_take_the_most_pheromone_and_others_in_proportion() -> None:
    """Greediness 1: the argmax, ties at random. Greediness 0: the roulette."""
    search = begun(AntColony(ants=3000, greediness=1.0, decay=0.0, renew=False))
    search.pheromone[0, :3] = [0.1, 0.4, 0.4]
    taken = np.bincount(search._walk()[:, 0], minlength=3) / 3000
    assert taken[0] == 0
    assert abs(taken[1] - 0.5) < 0.05

    search = begun(AntColony(ants=3000, greediness=0.0, decay=0.0, renew=False))
    search.pheromone[0, :3] = [0.1, 0.3, 0.6]
    taken = np.bincount(search._walk()[:, 0], minlength=3) / 3000
    np.testing.assert_allclose(taken, [0.1, 0.3, 0.6], atol=0.04)


def test_ants_finish_and_the_reciprocal_needs_positive_losses() -> None:
    """``iterations`` ends the search; a negative loss has no reciprocal to deposit."""
    search = begun(AntColony(ants=4, iterations=2, deposit="reciprocal"))
    for _ in range(2):
        designs = search.ask(4)
        search.tell(trials(designs, [2.0, 5.0, 5.0, 5.0]))
    assert len(search.ask(4)) == 0
    assert not search.step()
    path = search._best
    assert search.pheromone[0, path[0]] < 0.1  # towards 1 / (10 * 2)

    search = begun(AntColony(ants=2, deposit="reciprocal"))
    with pytest.raises(SpecificationError, match=r"needs positive losses, found -1.0"):
        search.tell(trials(search.ask(2), [-1.0, 0.5]))


# Rungs


def test_hyperband_follows_the_published_table() -> None:
    """R = 81 and eta = 3, table 1 of Li et al. (JMLR 2018)."""
    band = begun(Hyperband(fidelities=["1", "3", "9", "27", "81"]))
    assert [band.plan(i) for i in range(6)] == [
        [("1", 81), ("3", 27), ("9", 9), ("27", 3), ("81", 1)],
        [("3", 34), ("9", 11), ("27", 3), ("81", 1)],
        [("9", 15), ("27", 5), ("81", 1)],
        [("27", 8), ("81", 2)],
        [("81", 5)],
        [("1", 81), ("3", 27), ("9", 9), ("27", 3), ("81", 1)],
    ]


def test_the_best_of_a_rung_are_promoted() -> None:
    """The third with the smallest loss goes on, nothing else."""
    search = begun(SuccessiveHalving(fidelities=["low", "full"], designs=9))
    first = search.ask(99)
    assert first.fidelity == ("low",) * 9
    losses = np.array([5, 1, 8, 2, 7, 3, 9, 6, 4.0])
    search.tell(trials(first.designs, losses))
    second = search.ask(99)
    assert second.fidelity == ("full",) * 3
    assert GRID.keys(second.designs) == GRID.keys(first.designs.take([1, 3, 5]))


def test_a_cheap_rung_saves_cost() -> None:
    """At equal cost successive halving beats random search, where the cheap rung ranks well."""
    ladder = {"low": 1.0, "middle": 3.0, "full": 9.0}
    toy = toy_environment(fidelities=ladder)

    def best(searcher: Any, seed: int) -> float:
        study = Study(toy, Goal(minimize=["cost"]), searcher, budget=Budget(cost=540), seed=seed)
        table = study.run().table
        full = np.array(table["fidelity"].to_pylist()) == "full"
        return float(table["metric.cost"].to_numpy()[full].min())

    from archwright.search import RandomSearch

    halving = [best(SuccessiveHalving(fidelities=list(ladder)), seed) for seed in range(9)]
    plain = [best(RandomSearch(), seed) for seed in range(9)]
    assert np.median(halving) < np.median(plain)


# Others


def test_the_oldest_die() -> None:
    """After a population of newer trials nothing older is a parent, however good it was."""
    search = begun(RegularizedEvolution(population=4, sample=2))
    first = search.ask(4)
    search.tell(trials(first, [0.0] * 4))
    second = search.ask(4)
    search.tell(trials(second, [9.0] * 4, first=4))
    assert GRID.keys(search._living) == GRID.keys(second)


def test_a_portfolio_follows_improvements() -> None:
    """A searcher that improves gets more than one that does not, and none starves."""
    search = begun(
        Portfolio(searchers=["random", "regularized_evolution"], floor=0.3),
        toy_environment().space,
    )
    asked, best = 0, 100.0
    while asked < 400:
        designs = search.ask(8)
        owner = search._flight[-1][0]
        best -= owner  # only the second ever improves
        search.tell(trials(designs, np.full(len(designs), best), first=asked))
        asked += len(designs)
    lazy, keen = search.asked
    assert keen > 2 * lazy
    assert lazy >= 400 * 0.1


# Annealing


def accepted(rise: float, *, temperature: float = 0.5, broken: float = 0.0) -> float:
    """Return the share of 4,000 chains at loss 1 that move to a step whose loss is higher."""
    space = ParameterSpace({"x": Real(0.0, 1.0), "y": Real(0.0, 1.0)})
    search = begun(Annealing(chains=4000, initial_temperature=temperature), space)
    first = search.ask(4000)
    # losses of the beginning have a deviation of 2
    losses = np.where(np.arange(4000) % 2, 1.0 + 2.0, 1.0 - 2.0)
    search.tell(trials(first, losses))
    search._standing[:] = [0.0, 1.0]
    search._temperature[:] = temperature
    second = search.ask(4000)
    told = trials(second, np.full(4000, 1.0 + rise), first=4000)
    if broken:
        scores = Scores(
            losses=told.scores.losses,
            violations=np.full((4000, 1), broken),
            feasible=np.zeros(4000, dtype=bool),
        )
        told = dataclasses.replace(told, scores=scores)
    search.tell(told)
    here, there = space.keys(search._current.take(search._row)), space.keys(second)
    return float(np.mean([a == b for a, b in zip(here, there, strict=True)]))


@pytest.mark.parametrize("rise", [0.2, 1.0, 3.0])
def test_a_worse_design_is_accepted_by_the_law(rise: float) -> None:
    """With chance exp(-rise / T), T in units of the deviation of random losses."""
    assert abs(accepted(rise) - np.exp(-rise / (0.5 * 2.0))) < 0.03


def test_better_is_always_accepted_and_infeasible_never() -> None:
    """Whatever the temperature."""
    assert accepted(-0.1, temperature=0.02) == 1.0
    assert accepted(0.0, temperature=0.02) == 1.0
    assert accepted(-5.0, broken=0.1) == 0.0
