"""The Pareto set against all-pairs comparison, the volume against inclusion and exclusion."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.solve.pareto import ParetoArchive, hypervolume, nondominated

# Few distinct values, so that ties, copies, infinities and NaN all occur.
LOSS = st.sampled_from([-1.0, -0.0, 0.0, 1.0, 2.0, 3.0, float("inf"), float("nan")])


def tables(values=LOSS, rows=12, columns=4):
    return st.integers(1, columns).flatmap(
        lambda k: st.lists(st.lists(values, min_size=k, max_size=k), max_size=rows).map(
            lambda table: np.array(table, float).reshape(-1, k)
        )
    )


def brute_force(losses):
    def dominates(a, b):
        return bool((a <= b).all() and (a < b).any())

    return [
        not np.isnan(row).any() and not any(dominates(other, row) for other in losses)
        for row in losses
    ]


def inclusion_exclusion(losses, reference):
    volume = 0.0
    for size in range(1, len(losses) + 1):
        for subset in combinations(losses, size):
            edges = np.maximum(0, reference - np.max(subset, axis=0))
            volume -= (-1) ** size * float(np.prod(edges))
    return volume


@given(tables())
def test_nondominated_is_the_brute_force_answer(losses):
    assert nondominated(losses).tolist() == brute_force(losses)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_nondominated_over_several_blocks(k):
    rng = np.random.default_rng(k)
    losses = rng.integers(0, 12, size=(1200, k)).astype(float)
    assert nondominated(losses).tolist() == brute_force(losses)


@given(tables(), st.randoms(use_true_random=False))
def test_archive_holds_the_front_in_any_order(losses, random):
    order = list(range(len(losses)))
    random.shuffle(order)
    archive = ParetoArchive(losses.shape[1])
    for row in order:
        archive.add(losses[row], row)
    expected = np.flatnonzero(nondominated(losses))
    assert sorted(archive.indices.tolist()) == expected.tolist()
    assert np.array_equal(archive.losses, losses[archive.indices])
    assert len(archive) == len(expected)


def test_archive_grows_and_shrinks():
    archive = ParetoArchive(2)
    assert all(archive.add([i, 100 - i], i) for i in range(100))
    assert len(archive) == 100
    assert archive.add([0, 0], 7)
    assert archive.indices.tolist() == [7]
    assert not archive.add([1, 0], 8)
    assert not archive.add([float("nan"), -1], 9)


@given(tables(st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0, 4.0]), rows=7))
def test_hypervolume_by_inclusion_and_exclusion(losses):
    reference = np.full(losses.shape[1], 3.0)
    assert hypervolume(losses, reference) == pytest.approx(inclusion_exclusion(losses, reference))


@pytest.mark.parametrize("k", [2, 3, 4])
def test_hypervolume_by_monte_carlo(k):
    rng = np.random.default_rng(k)
    losses = rng.random((30, k))
    points = rng.random((100_000, k))
    covered = np.zeros(len(points), bool)
    for row in losses:
        covered |= (row <= points).all(axis=1)
    assert hypervolume(losses, np.ones(k)) == pytest.approx(covered.mean(), abs=0.01)


@pytest.mark.parametrize("k", [2, 3])
def test_nan_and_outside_rows_add_nothing(k):
    inside = np.full(k, 0.5)
    outside = np.array([0.0] * (k - 1) + [2.0])
    unknown = np.array([0.0] * (k - 1) + [np.nan])
    volume = hypervolume([inside, outside, unknown], np.ones(k))
    assert volume == pytest.approx(0.5**k)
    assert hypervolume(np.empty((0, k)), np.ones(k)) == 0.0


def test_wrong_shapes_are_refused():
    with pytest.raises(SpecificationError, match=r"shape \(n, k\)"):
        nondominated([1.0, 2.0])
    with pytest.raises(SpecificationError, match="2 finite numbers"):
        hypervolume([[1.0, 2.0]], [3.0])
    with pytest.raises(SpecificationError, match="2 finite numbers"):
        hypervolume([[1.0, 2.0]], [3.0, float("inf")])
    with pytest.raises(SpecificationError, match="-inf"):
        hypervolume([[1.0, float("-inf")]], [3.0, 3.0])
    with pytest.raises(SpecificationError, match="expected 2 losses"):
        ParetoArchive(2).add([1.0], 0)
    with pytest.raises(SpecificationError, match="at least one loss"):
        ParetoArchive(0)
