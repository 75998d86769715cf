"""allocate: enumeration, whichever way the ties are decided; equals in great number; no answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from archwright.errors import InfeasibleError, SpecificationError
from archwright.solve import Allocation, Problem, allocate, allocation, unserved
from archwright.solve.allocation import Bins, least_taken
from oracles.fleet_brute_force import (
    Best,
    best_fleet,
    best_rented,
    cheapest_offers,
    relative_load,
)

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


def random_ways(rng: np.random.Generator, problem: Problem) -> Problem:
    """The same with two or three ways for some types, and one or two budgets."""
    items, types = problem.load.shape
    ways = 4 if items < 3 and problem.slices != 2 else 3
    type_of = np.repeat(np.arange(types), rng.integers(1, ways, types))
    round_ = rng.random() < 0.5
    faster = rng.choice([0.5, 0.75], (items, len(type_of)))
    load = problem.load[:, type_of] * (faster if round_ else rng.uniform(0.3, 1, faster.shape))
    budgets = int(rng.integers(1, 3))
    takes = rng.choice([0.0, 0.0, 0.25, 0.5, 1.0], (budgets, items, len(type_of))) / items
    if not round_:
        takes *= rng.uniform(0.5, 1, takes.shape)
    return replace(
        problem,
        load=load,
        type_of=type_of,
        takes=takes,
        at_most=rng.choice([0.0, 0.125, 0.25, 0.5], budgets),
    )


SIZES = [[1, 4, 8], [3, 6], [7, 2], [72, 4], [1, 3, 6], [5], [8, 8, 4], [2, 4, 4]]


def random_bins(rng: np.random.Generator, problem: Problem) -> Problem:
    """The same in bins of one or two pools, sizes and widths as they come, often equal prices."""
    types = len(problem.most)
    pools = int(rng.integers(1, 3))
    widths = rng.choice([1, 2, 3, 4, 8] if rng.random() < 0.5 else [1, 2, 4], types)
    sizes = [rng.choice(len(SIZES)) for _ in range(pools)]
    table = []
    for pool in range(pools):
        for size in SIZES[sizes[pool]]:
            each = rng.choice([0.5, 1.0]) if rng.random() < 0.6 else rng.uniform(0.5, 1.0)
            most = float(rng.integers(0, 3)) if rng.random() < 0.3 else np.inf
            table.append((pool, size, float(size * each), most))
    pool_, size_, cost, most_ = zip(*table, strict=True)
    return replace(
        problem,
        bins=Bins(
            cost=np.array(cost),
            size=np.array(size_),
            pool=np.array(pool_),
            most=np.array(most_),
            unit_size=widths,
            unit_pool=rng.integers(0, pools, types),
        ),
    )


def expected_of(problem: Problem, up_to: int) -> Best | None:
    """Return the answer of the enumeration."""
    bins = problem.bins
    return best_rented(
        problem.load,
        problem.types.tolist(),
        problem.cost.tolist(),
        takes=problem.takes if len(problem.at_most) else None,
        at_most=problem.at_most.tolist(),
        shapes=None if bins is None else [
            (int(p), int(w)) for p, w in zip(bins.unit_pool, bins.unit_size, strict=True)
        ],
        offers=None if bins is None else [
            (int(p), int(n), float(c), float(m))
            for p, n, c, m in zip(bins.pool, bins.size, bins.cost, bins.most, strict=True)
        ],
        slices=problem.slices,
        most=problem.most.tolist(),
        least=problem.least.astype(int).tolist(),
        survive_loss=problem.survive_loss,
        up_to=up_to,
    )  # fmt: skip


def check_all(problem: Problem, up_to: int = 4) -> Allocation | None:
    """Bill, counts, bins, shares, budgets and headroom are those of the enumeration."""
    expected = expected_of(problem, up_to)
    try:
        found = allocate(problem)
    except InfeasibleError:
        assert expected is None
        return None
    if (found.counts > up_to).any():
        return None  # beyond the enumeration
    assert expected is not None
    bins = problem.bins
    bill = problem.cost @ found.counts if bins is None else bins.cost @ found.bins
    assert bill == pytest.approx(expected.cost, rel=1e-9)
    assert found.counts.sum() == sum(expected.counts)
    assert not (found.share[np.isinf(problem.load)] > 0).any()
    np.testing.assert_allclose(found.share.sum(axis=1), 1.0)
    for takes, at_most in zip(problem.takes, problem.at_most, strict=True):
        assert (takes * found.share).sum() <= at_most * (1 + 1e-9) + 1e-15
    used = (found.share * np.where(np.isinf(problem.load), 0, problem.load)).sum(axis=0)
    used = np.bincount(problem.types, used, len(found.counts))
    assert (used <= found.counts * (1 + 1e-8)).all()
    if problem.slices is not None:
        whole = found.share * problem.slices
        np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
    if found.proven:
        assert found.relative_load == pytest.approx(expected.relative_load, rel=1e-7)
        assert tuple(found.counts) == expected.counts
        if found.bins is not None:
            assert tuple(found.bins) == expected.offers
    return found


def plain(problem: Problem) -> Problem:
    """The same, divisible and without losses."""
    return replace(problem, slices=None, survive_loss=False)


@pytest.mark.parametrize("seed", range(250))
def test_bins_equal_enumeration(seed: int) -> None:
    """Whole bins of odd sizes, widths that do and do not divide one another, few and many."""
    problem = random_bins(np.random.default_rng(seed), plain(random_problem(seed)))

    found = check_all(problem)
    assert found is None or found.proven


@pytest.mark.parametrize("seed", range(300))
def test_ways_and_budgets_equal_enumeration(seed: int) -> None:
    """What the items take of one or two budgets, the best way of each type for each."""
    problem = random_ways(np.random.default_rng(seed), plain(random_problem(seed)))

    found = check_all(problem, up_to=5)
    assert found is None or found.proven


@pytest.mark.parametrize("seed", range(300))
def test_everything_at_once_equals_enumeration(seed: int) -> None:
    """Bins, ways, budgets, slices, losses, limited and required counts."""
    rng = np.random.default_rng(seed)
    check_all(random_bins(rng, random_ways(rng, random_problem(seed))))


@pytest.mark.parametrize("seed", range(100))
def test_without_a_list_bins_and_budgets_give_the_same(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where equals are too many to list, integer programmes decide every criterion."""
    monkeypatch.setattr(allocation, "MOST_TIES", 0)
    rng = np.random.default_rng(seed)
    problem = random_bins(rng, random_ways(rng, random_problem(seed)))

    check_all(replace(problem, slices=None))


WIDTHS = [[1, 2, 4, 8], [2, 6], [1, 3, 6], [4], [2, 3], [1, 4, 6], [2, 4, 6, 5], [3, 5, 7]]


@pytest.mark.parametrize("seed", range(200))
def test_rows_and_patterns_hold_exactly_what_fits(seed: int) -> None:
    """Random nodes and counts: bought bins are as cheap as by trying every way to fill them."""
    rng = np.random.default_rng(seed)
    widths = np.array(WIDTHS[seed % len(WIDTHS)])
    sizes = rng.choice([1, 2, 3, 4, 6, 7, 8, 10, 12, 72], 3, replace=False)
    bins = Bins(
        cost=np.round(sizes * rng.uniform(0.6, 1, 3), 1),
        size=sizes,
        pool=np.zeros(3, dtype=int),
        most=np.where(rng.random(3) < 0.4, rng.integers(0, 4, 3), np.inf),
        unit_size=widths,
        unit_pool=np.zeros(len(widths), dtype=int),
    )
    counts = rng.multinomial(int(rng.integers(1, 9)), np.full(len(widths), 1 / len(widths)))
    expected = cheapest_offers(
        counts.tolist(),
        [(0, int(w)) for w in widths],
        [(0, int(n), float(c), float(m))
         for n, c, m in zip(sizes, bins.cost, bins.most, strict=True)],
    )  # fmt: skip
    problem = Problem(
        load=np.zeros((0, len(widths))),
        cost=np.ones(len(widths)),
        most=counts.astype(float),
        least=counts.astype(float),
        bins=bins,
    )
    if expected is None:
        with pytest.raises(InfeasibleError, match="do not hold the units required"):
            allocate(problem)
        return
    found = allocate(problem).bins
    assert found is not None
    assert bins.cost @ found == pytest.approx(expected[0])
    assert tuple(found) == expected[1]


def test_widths_that_fill_a_node_in_too_many_ways_are_refused() -> None:
    """The message has the widths and the node."""
    widths = np.arange(5, 24)
    bins = Bins(
        cost=np.ones(1),
        size=np.array([200]),
        pool=np.zeros(1, dtype=int),
        most=np.full(1, np.inf),
        unit_size=widths,
        unit_pool=np.zeros(len(widths), dtype=int),
    )
    problem = Problem(
        load=np.ones((1, len(widths))),
        cost=np.ones(len(widths)),
        most=np.full(len(widths), np.inf),
        least=np.zeros(len(widths)),
        bins=bins,
    )

    with pytest.raises(SpecificationError, match=r"widths 5, 6, .* fill a node of 200 in more"):
        allocate(problem)


def test_what_a_budget_would_have_to_be() -> None:
    """With units enough, and within what the counts allow."""
    problem = Problem(
        load=np.array([[2.0, 1.0]]),
        cost=np.ones(1),
        most=np.full(1, 1.0),
        least=np.zeros(1),
        type_of=np.array([0, 0]),
        takes=np.array([[[0.25, 1.0]]]),
        at_most=np.array([0.5]),
    )

    assert least_taken(problem, 0, counts=False) == pytest.approx([0.25])
    assert least_taken(problem, 0) == pytest.approx([1.0])


def test_units_required_that_fit_no_bin_are_refused() -> None:
    """A width above every bin of its pool."""
    bins = Bins(
        cost=np.ones(1),
        size=np.array([4]),
        pool=np.zeros(1, dtype=int),
        most=np.full(1, np.inf),
        unit_size=np.array([1, 8]),
        unit_pool=np.zeros(2, dtype=int),
    )
    problem = Problem(
        load=np.ones((1, 2)), cost=np.ones(2), most=np.full(2, np.inf),
        least=np.array([0.0, 1.0]), bins=bins,
    )  # fmt: skip

    with pytest.raises(InfeasibleError, match="units are required that fit no bin"):
        allocate(problem)
    assert allocate(replace(problem, least=np.zeros(2))).counts.tolist() == [1, 0]
