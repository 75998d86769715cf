"""allocate: enumeration, whichever way the ties are decided; equals in great number; no answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from archwright.errors import InfeasibleError
from archwright.solve import Allocation, Problem, allocate, allocation, unserved
from oracles.fleet_brute_force import best_fleet, relative_load

UP_TO = 7


def random_problem(seed: int) -> Problem:
    """Few items and types; often equal prices, round loads, forbidden pairs, limited counts."""
    rng = np.random.default_rng(seed)
    types, items = int(rng.integers(2, 4)), int(rng.integers(1, 5))
    load = np.exp(rng.uniform(np.log(0.05), np.log(2.5), (items, types)))
    if seed % 3 == 0:
        load = rng.choice([0.25, 0.5, 1.0, 1.5, 2.0], (items, types))
    load[rng.random((items, types)) < 0.15] = np.inf
    most, least = np.full(types, np.inf), np.zeros(types)
    if rng.random() < 0.4:
        most[rng.integers(types)] = rng.integers(0, 4)
    if rng.random() < 0.3:
        g = rng.integers(types)
        least[g] = min(rng.integers(0, 3), most[g])
    return Problem(
        load=load,
        cost=rng.uniform(0.5, 4, types) if seed % 3 == 2 else rng.choice([1.0, 2.0, 4.0], types),
        most=most,
        least=least,
        slices=[None, 1, 2][int(rng.integers(3))],
        survive_loss=bool(rng.random() < 0.4),
    )


def check_against_enumeration(problem: Problem) -> None:
    """Cost, counts, shares and relative load are those of the enumeration."""
    expected = best_fleet(
        problem.load,
        problem.cost.tolist(),
        slices=problem.slices,
        most=np.minimum(problem.most, UP_TO).tolist(),
        least=problem.least.astype(int).tolist(),
        survive_loss=problem.survive_loss,
    )
    found: Allocation | None
    try:
        found = allocate(problem)
    except InfeasibleError:
        found = None
    if found is None or (found.counts > UP_TO).any():
        assert expected is None or found is not None
        return
    assert expected is not None
    assert problem.cost @ found.counts == pytest.approx(expected[0], abs=1e-9)
    assert not (found.share[np.isinf(problem.load)] > 0).any()
    np.testing.assert_allclose(found.share.sum(axis=1), 1.0)
    if problem.slices is not None:
        whole = found.share * problem.slices
        np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
    if found.proven:
        assert tuple(found.counts) == expected[1]
        least = relative_load(problem.load, expected[1], problem.slices)
        assert found.relative_load == pytest.approx(least, rel=1e-7)


@pytest.mark.parametrize("seed", range(150))
def test_allocation_equals_enumeration(seed: int) -> None:
    """Every criterion of the order, forbidden pairs, limits, slices and losses at once."""
    check_against_enumeration(random_problem(seed))


@pytest.mark.parametrize("seed", range(0, 450, 3))
def test_without_a_list_of_ties_the_answer_is_the_same(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where equals are too many to list, integer programmes decide every criterion."""
    monkeypatch.setattr(allocation, "MOST_TIES", 0)

    check_against_enumeration(replace(random_problem(seed), slices=None))


def test_equals_without_number_are_decided() -> None:
    """Twelve types in exact proportion: fewest units, no headroom lost, the earlier name."""
    cost = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 4.0, 8.0]).ravel()
    found = allocate(
        Problem(
            load=np.outer(np.full(6, 33.4), 1 / cost),
            cost=cost,
            most=np.full(12, np.inf),
            least=np.zeros(12),
        )
    )

    assert found.proven
    assert cost @ found.counts == pytest.approx(201)
    assert found.counts.sum() == 10  # 8 of the largest, 24, and two that add up to 9
    assert found.relative_load == pytest.approx(200.4 / 201)


def test_equal_types_prefer_the_earlier() -> None:
    """Three copies of one type: all units are of the first."""
    found = allocate(
        Problem(
            load=np.full((2, 3), 1.25),
            cost=np.ones(3),
            most=np.array([2.0, np.inf, np.inf]),
            least=np.zeros(3),
        )
    )

    assert found.counts.tolist() == [2, 1, 0]


def test_too_few_units_are_refused_and_explained() -> None:
    """What must stay behind is counted by weight."""
    problem = Problem(
        load=np.array([[4.0], [1.0]]), cost=np.ones(1), most=np.full(1, 2.0), least=np.zeros(1)
    )

    with pytest.raises(InfeasibleError, match="no number of units that is allowed"):
        allocate(problem)
    assert unserved(problem, np.array([4.0, 4.0])) == pytest.approx([3.0, 0.0])


def test_no_items_need_no_units_but_the_least() -> None:
    """Units required beyond a limit are refused even then."""
    problem = Problem(
        load=np.zeros((0, 2)), cost=np.ones(2), most=np.full(2, np.inf), least=np.array([1.0, 0])
    )

    assert allocate(problem).counts.tolist() == [1, 0]
    with pytest.raises(InfeasibleError, match="already break a limit"):
        allocate(
            Problem(
                load=problem.load,
                cost=problem.cost,
                most=problem.most,
                least=problem.least,
                limits=[(np.ones(2), 0.5)],
            )
        )
