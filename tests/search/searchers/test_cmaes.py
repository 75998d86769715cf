"""CMA-ES: what its distributions learn, where it begins, and spaces that are not of reals."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from archwright.search import Choice, Integer, ParameterSpace, Permutation, Real
from archwright.search.searchers.cmaes import CMAES
from archwright.search.searchers.quadratic import lowest
from archwright.search.searchers.strategy import Categories, Normal
from search.searchers.drives import begun, trials

CUBE = ParameterSpace({f"x{i}": Real(0.0, 1.0) for i in range(4)})


def adapted(shape: np.ndarray, generations: int = 120) -> Normal:
    """Return a normal adapted to an ellipsoid around 0.6."""
    normal, rng = Normal(np.full(4, 0.5), 0.2, 8, np.zeros(4)), np.random.default_rng(0)
    for _ in range(generations):
        points = normal.draw(rng)
        moved = points - 0.6
        normal.adapt(points[np.einsum("ni,ij,nj->n", moved, shape, moved).argsort()])
    return normal


def test_it_converges_and_learns_the_shape() -> None:
    """The covariance tends to the inverse of the ellipsoid's matrix."""
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
    shape = turn @ np.diag([1.0, 10.0, 100.0, 1000.0]) @ turn.T
    normal = adapted(shape)

    np.testing.assert_allclose(normal.mean, 0.6, atol=1e-3)
    product = normal._covariance @ shape
    values = np.sort(np.linalg.eigvals(product).real)
    assert values[-1] / values[0] < 30  # 1,000 where nothing was learned


def test_worse_points_first_drive_it_away() -> None:
    """Turned round, the order leads it elsewhere: the best come first."""
    normal, rng = Normal(np.full(2, 0.5), 0.1, 8, np.zeros(2)), np.random.default_rng(0)
    for _ in range(20):
        points = normal.draw(rng)
        normal.adapt(points[(-((points - 0.5) ** 2).sum(axis=1)).argsort()])
    assert np.abs(normal.mean - 0.5).max() > 0.2


def test_whitening_is_undone() -> None:
    """And drawn points are standard normal in those units."""
    normal = adapted(np.diag([1.0, 4.0, 9.0, 100.0]), 12)
    points = np.random.default_rng(0).random((20, 4))
    np.testing.assert_allclose(normal.color(normal.whiten(points)), points, atol=1e-9)


def test_a_deviation_never_falls_below_its_floor() -> None:
    """What has few values keeps moving."""
    normal, rng = (
        Normal(np.full(3, 0.5), 0.2, 6, np.array([0.1, 0.0, 0.0])),
        np.random.default_rng(0),
    )
    for _ in range(80):
        points = normal.draw(rng)
        normal.adapt(points[((points - 0.4) ** 2).sum(axis=1).argsort()])
    deviation = normal.sigma * np.sqrt(np.diag(normal._covariance))
    assert deviation[0] > 0.099
    assert deviation[1] < 0.05


def test_many_coordinates_adapt_deviations_alone() -> None:
    """No matrix of 300 by 300."""
    normal, rng = Normal(np.full(300, 0.5), 0.05, 20, np.zeros(300)), np.random.default_rng(0)
    before = ((normal.mean - 0.3) ** 2).sum()
    for _ in range(150):
        points = normal.draw(rng)
        normal.adapt(points[((points - 0.3) ** 2).sum(axis=1).argsort()])
    assert normal._covariance.shape == (300,)
    assert ((normal.mean - 0.3) ** 2).sum() < before / 10


def test_categories_follow_the_best_and_forget_none() -> None:
    """The value that wins gets likely; others keep a chance."""
    categories, rng = Categories([4, 3]), np.random.default_rng(0)
    for _ in range(60):
        drawn = categories.draw(rng, 8)
        best = np.argsort((drawn[:, 0] != 2) * 1.0 + (drawn[:, 1] != 0), kind="stable")[:3]
        categories.adapt(drawn[best], np.array([0.5, 0.3, 0.2]), rate=0.2)
    assert categories.probabilities[0].argmax() == 2
    assert categories.probabilities[0][2] > 0.5
    assert min(p.min() for p in categories.probabilities) > 0.01


@pytest.mark.parametrize("d", [2, 5])
def test_the_lowest_point_of_a_quadratic_is_found(d: int) -> None:
    """With mixed terms, from a few more points than it has terms; within the radius."""
    rng = np.random.default_rng(d)
    points = rng.normal(size=(40, d))
    root = rng.normal(size=(d, d))
    shape, center = root @ root.T + np.eye(d), rng.normal(size=d) * 0.3
    moved = points - center
    losses = np.einsum("ni,ij,nj->n", moved, shape, moved)

    found = lowest(points, losses, radius=5.0)
    assert found is not None
    np.testing.assert_allclose(found, center, atol=0.02)
    near = lowest(points, losses, radius=0.05)
    assert near is not None
    assert np.linalg.norm(near) <= 0.0501
    assert lowest(points[: 2 * d], losses[: 2 * d], radius=1.0) is None


def test_it_begins_at_the_center() -> None:
    """With deviations of a sixth."""
    drawn = np.concatenate(
        [CUBE.encode(begun(CMAES(population=20), CUBE, seed=seed).ask(20)) for seed in range(60)]
    )
    assert np.abs(drawn.mean(axis=0) - 0.5).max() < 0.02
    assert abs(drawn.std() - 1 / 6) < 0.01


def test_the_model_gives_the_optimum_of_a_quadratic() -> None:
    """One point of a generation is the lowest of what was measured."""
    best = {}
    for model in (True, False):
        search, told = begun(CMAES(model=model), CUBE), []
        for _ in range(16):
            designs = search.ask(6)
            losses = ((CUBE.encode(designs) - 0.37) ** 2).sum(axis=1)
            search.tell(trials(designs, losses))
            told.append(losses.min())
        best[model] = min(told)
    assert best[True] < 1e-6 < best[False]


def test_fifty_thousand_choices_fit_into_memory() -> None:
    """A distribution over values, no matrix over them: 18.8 GiB otherwise."""
    space = ParameterSpace({"c": Choice(list(range(50_000))), "x": Real(0.0, 1.0)})
    tracemalloc.start()
    search = begun(CMAES(), space)
    for _ in range(4):
        designs = search.ask(8)
        search.tell(trials(designs, space.encode(designs)[:, 1]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


def test_one_parameter_and_choices_alone_are_spaces_too() -> None:
    """No companion coordinate, no normal distribution."""
    for space in (
        ParameterSpace({"x": Real(0.0, 1.0)}),
        ParameterSpace({"c": Choice(list("abc")), "d": Choice(list("abcd"))}),
        ParameterSpace({"n": Integer(1, 3), "o": Permutation(3)}),
    ):
        search = begun(CMAES(), space)
        for _ in range(12):
            designs = search.ask(16)
            assert space.contains(designs).all()
            search.tell(trials(designs, np.arange(len(designs), dtype=float)))
