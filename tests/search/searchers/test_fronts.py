"""Fronts, crowding, who survives and who has children, against slow oracles and laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.search import Choice, Integer, Ordinal, ParameterSpace, Permutation, Real, Scores
from archwright.search.searchers.fronts import crowding, front_numbers, merit
from archwright.search.searchers.nsga2 import NSGA2
from archwright.search.searchers.variation import Variation
from search.searchers.drives import begun, trials

LINE = ParameterSpace({"x": Real(0.0, 1.0), "n": Integer(0, 999)})
TABLES = st.integers(1, 3).flatmap(
    lambda k: st.lists(
        st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0]), min_size=k, max_size=k),
        min_size=1,
        max_size=14,
    )
)


@given(TABLES)
def test_front_numbers_are_those_of_peeling(rows: list[list[float]]) -> None:
    """Front 0 is what nothing dominates; the next is what nothing dominates once it is gone."""
    losses = np.array(rows)
    left, slow, number = set(range(len(losses))), np.zeros(len(losses), dtype=int), 0
    while left:
        front = [
            i
            for i in left
            if not any((losses[j] <= losses[i]).all() and (losses[j] < losses[i]).any()
                       for j in left)
        ]  # fmt: skip
        slow[front] = number
        left -= set(front)
        number += 1

    assert front_numbers(losses).tolist() == slow.tolist()


@given(st.lists(st.lists(st.floats(0, 9), min_size=2, max_size=2), min_size=1, max_size=10))
def test_crowding_is_that_of_the_paper(rows: list[list[float]]) -> None:
    """Sum over losses of the gap between both neighbors, as a share of the front's range."""
    losses = np.unique(np.array(rows), axis=0)
    front = front_numbers(losses)
    slow = np.zeros(len(losses))
    for number in set(front.tolist()):
        members = np.flatnonzero(front == number)
        for column in range(2):
            order = members[np.lexsort((losses[members, 1 - column], losses[members, column]))]
            span = losses[order[-1], column] - losses[order[0], column]
            slow[order[[0, -1]]] = np.inf
            for before, at, after in zip(order, order[1:], order[2:], strict=False):
                slow[at] += (losses[after, column] - losses[before, column]) / (span or 1.0)

    np.testing.assert_allclose(crowding(losses, front), slow)


def test_a_copy_is_the_first_to_go() -> None:
    """Of two equal designs one has no room to itself."""
    losses = np.array([[0.0, 4.0], [1.0, 1.0], [1.0, 1.0], [4.0, 0.0]])
    assert sorted(crowding(losses, front_numbers(losses)).tolist())[0] == 0.0


def test_merit_puts_feasible_before_violating_before_unknown() -> None:
    """And within each: front, crowding; violation; nothing."""
    scores = Scores(
        losses=np.array([[9.0, 9.0], [0.0, 0.0], [0.0, 0.0], [np.nan, 0.0], [1.0, 1.0]]),
        violations=np.array([[0.0], [0.5], [0.1], [0.0], [0.0]]),
        feasible=np.array([True, False, False, True, True]),
    )
    assert merit(scores).tolist() == [1, 3, 2, 4, 0]


def test_merit_within_a_front_is_by_room() -> None:
    """The ends, then who has the most room, then the crowded."""
    losses = np.array([[0.0, 10.0], [1.0, 9.0], [1.5, 8.5], [6.0, 3.0], [10.0, 0.0]])
    scores = Scores(losses=losses, violations=np.zeros((5, 1)), feasible=np.ones(5, dtype=bool))
    order = np.argsort(merit(scores)).tolist()
    assert set(order[:2]) == {0, 4}
    assert order[2:] == [3, 2, 1]


def test_the_best_survive_and_the_rest_do_not() -> None:
    """Parents and children compete: a front of eight drives out everything worse."""
    search = begun(NSGA2(population=8, startup=8), LINE, losses=2)
    for _ in range(30):  # enough trials for the population to be full
        designs = search.ask(8)
        search.tell(trials(designs, np.full((8, 2), 50.0)))
    good = search.ask(8)
    search.tell(trials(good, np.column_stack([np.arange(8.0), -np.arange(8.0)])))
    assert sorted(LINE.keys(search._living)) == sorted(LINE.keys(good))

    worse = search.ask(8)
    search.tell(trials(worse, np.column_stack([np.arange(8.0), -np.arange(8.0)]) + 0.5))
    assert sorted(LINE.keys(search._living)) == sorted(LINE.keys(good))


def test_few_survive_at_first() -> None:
    """A quarter of the population, until so many trials are told that more may."""
    search = begun(NSGA2(population=64), LINE, losses=2)
    for told in (48, 480, 1000, 2000):
        while search._count < told:
            designs = search.ask(16)
            search.tell(trials(designs, np.random.default_rng(told).random((16, 2))))
        assert len(search._living) == min(64, max(16, search._count // 24))


def test_a_parent_is_the_better_of_two() -> None:
    """Of two alive, each drawn with chance one half: the better has children 3 times of 4."""
    search = begun(NSGA2(population=2, startup=2, crossover_probability=0.0,
                         mutation_probability=0.0), LINE)  # fmt: skip
    first = search.ask(2)
    search.tell(trials(first, [1.0, 2.0]))
    children = search._children(4000)
    better = np.isclose(children[:, 0], LINE.encode(first)[0, 0]).mean()
    assert abs(better - 0.75) < 0.03


def test_an_infeasible_design_survives_no_feasible_one() -> None:
    """However good its loss."""
    search = begun(NSGA2(population=4, startup=4), LINE)
    first = search.ask(4)
    search.tell(trials(first, [5.0, 6.0, 7.0, 8.0]))
    spoiled = search.ask(4)
    search.tell(trials(spoiled, [0.0] * 4, violations=[0.1] * 4))
    assert not set(LINE.keys(spoiled)) & set(LINE.keys(search._living))


def vary(space: ParameterSpace, **options: float) -> Variation:
    chosen = {"crossover": 1.0, "spread": 15.0, "mutation": 0.0, "jump": 20.0} | options
    return Variation(space, **chosen)  # type: ignore[arg-type]


def test_crossover_keeps_the_mean_and_spreads_by_its_index() -> None:
    """Children lie around the parents' middle, at the spread factor's median 1."""
    space, rng = ParameterSpace({"x": Real(0.0, 1.0)}), np.random.default_rng(0)
    a, b = np.full((20_000, 1), 0.45), np.full((20_000, 1), 0.55)
    child = vary(space)(rng, a, b)[:, 0]
    crossed = child[child != 0.45]

    assert abs(len(crossed) / 20_000 - 0.5) < 0.02  # each coordinate with chance one half
    assert abs(crossed.mean() - 0.5) < 0.002
    factor = np.abs(crossed - 0.5) / 0.05
    assert abs((factor < 1.0).mean() - 0.5) < 0.02
    # P(β < b) = b^(η + 1) / 2 below 1
    assert abs((factor < 0.95).mean() - 0.5 * 0.95**16) < 0.02
    wide = vary(space, spread=2.0)(rng, a, b)[:, 0]
    assert wide.std() > child.std()


def test_mutation_has_its_chance_and_its_index() -> None:
    """Half goes down, half up; as far as the polynomial distribution says."""
    space, rng = ParameterSpace({"x": Real(0.0, 1.0)}), np.random.default_rng(0)
    here = np.full((40_000, 1), 0.5)
    moved = vary(space, crossover=0.0, mutation=0.25)(rng, here, here)[:, 0] - 0.5

    assert abs((moved != 0).mean() - 0.25) < 0.01
    moved = moved[moved != 0]
    assert abs((moved < 0).mean() - 0.5) < 0.02
    # far from the bounds |δ| < d with chance 1 - (1 - d)^(η + 1)
    assert abs((np.abs(moved) < 0.03).mean() - (1 - 0.97**21)) < 0.02


def test_few_values_move_by_one_at_least_and_choices_to_any_other() -> None:
    """A mutation that rounds to nothing would be none."""
    space = ParameterSpace({"o": Ordinal([1, 2, 4]), "c": Choice(list("pqrs"))})
    rng, here = np.random.default_rng(0), np.tile([[0.5, 0.125]], (3000, 1))
    child = space.decode(vary(space, crossover=0.0, mutation=1.0)(rng, here, here)).codes

    assert (child[:, 0] != 1).all()
    taken = np.bincount(child[:, 1].astype(int), minlength=4) / 3000
    np.testing.assert_allclose(taken, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.04)


def test_a_choice_comes_from_either_parent() -> None:
    """Never from between."""
    space, rng = ParameterSpace({"c": Choice(list("pqrst"))}), np.random.default_rng(0)
    child = vary(space)(rng, np.full((2000, 1), 0.1), np.full((2000, 1), 0.9))
    taken = np.bincount(space.decode(child).codes[:, 0].astype(int), minlength=5) / 2000
    np.testing.assert_allclose(taken, [0.5, 0, 0, 0, 0.5], atol=0.05)


@pytest.mark.parametrize("mutation", [0.0, 1.0])
def test_an_order_stays_one(mutation: float) -> None:
    """The child of two orders that agree on who is first agrees; turned round it still is one."""
    space, rng = ParameterSpace({"o": Permutation(7)}), np.random.default_rng(0)
    a = space.encode(space.from_columns({"o": [[0, 1, 2, 3, 4, 5, 6]] * 300}))
    b = space.encode(space.from_columns({"o": [[0, 6, 5, 4, 3, 2, 1]] * 300}))
    orders = space.decode(vary(space, mutation=mutation)(rng, a, b)).codes

    assert (np.sort(orders, axis=1) == np.arange(7)).all()
    assert len(np.unique(orders, axis=0)) > 5
    if not mutation:
        kept = orders[:, 0] == 0
        assert kept.mean() > 0.5
