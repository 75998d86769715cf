"""TPE and the Gaussian process: densities, gradients and acquisitions against slow oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from archwright.search import Choice, Integer, ParameterSpace, Real
from archwright.search.searchers.acquisition import (
    HypervolumeImprovement,
    Improvement,
    boxes,
    log_improvement,
)
from archwright.search.searchers.gp import GaussianProcess
from archwright.search.searchers.parzen import Good, Others
from archwright.search.searchers.regression import Features, Regression, warped
from archwright.search.searchers.tpe import TPE
from archwright.solve import hypervolume
from search.searchers.drives import asked, begun, trials

PLANE = ParameterSpace({"x": Real(0.0, 1.0), "y": Real(0.0, 1.0)})
NONE = np.empty((0, 0), dtype=np.intp)


# Parzen estimators


def test_densities_are_densities() -> None:
    """The other designs' adds up to one over the unit interval and over the values of a choice."""
    rng = np.random.default_rng(0)
    numbers, values = rng.random((9, 1)), rng.integers(3, size=(9, 1))
    others = Others(numbers, values, [3])
    good = Good(numbers, values, [3], weights=np.full(9, 1 / 9), floor=np.array([0.02]))

    for density, room in ((others, (0.0, 1.0)), (good, (-6.0, 7.0))):
        total = 0.0
        for value in range(3):
            at = np.array([[value]])

            def curve(x: float, at: np.ndarray = at, density: Good | Others = density) -> float:
                return float(np.exp(density.log_density(np.array([[x]]), at))[0])

            total += quad(curve, *room, limit=400, points=[0.0, 1.0])[0]
        # beyond the edges a good design's kernels go on, and so does its uniform part
        outside = 0.05 * 12 if density is good else 0.0
        assert abs(total - 1.0 - outside) < 0.01


def test_good_designs_draw_near_themselves_by_their_weight() -> None:
    """Kernels on designs, chosen by weight; a value of a choice that is theirs more often."""
    numbers, values = np.array([[0.2], [0.8]]), np.array([[0], [1]])
    good = Good(numbers, values, [2], weights=np.array([0.9, 0.1]), floor=np.array([0.01]))
    drawn, chosen = good.draw(np.random.default_rng(0), 4000)
    assert (np.abs(drawn - 0.2) < np.abs(drawn - 0.8)).mean() > 0.75
    assert (chosen == 0).mean() > 0.65


def told(search: TPE, loss: str, limit: float = 0.0) -> None:
    """Tell 40 trials on the plane; those with x below a limit are infeasible."""
    designs = PLANE.sample(np.random.default_rng(1), 40)
    column = np.asarray(designs[loss])
    broken = np.where(np.asarray(designs["x"]) < limit, limit - np.asarray(designs["x"]), 0.0)
    search.learn(trials(designs, column, violations=broken))


def test_tpe_asks_where_good_designs_are() -> None:
    """Small losses, not large ones."""
    search = begun(TPE(), PLANE)
    told(search, "x")
    drawn = np.array([PLANE.encode(search.ask(1))[0] for _ in range(60)])
    assert np.median(drawn[:, 0]) < 0.2


def test_tpe_asks_where_the_limits_hold() -> None:
    """The smallest losses break a limit: it asks beyond it."""
    search = begun(TPE(), PLANE)
    told(search, "x", limit=0.5)
    drawn = np.array([PLANE.encode(search.ask(1))[0] for _ in range(60)])
    assert (drawn[:, 0] > 0.5).mean() > 0.7


def test_tpe_learns_of_the_designs_that_were_measured() -> None:
    """Under ``require`` all that it asks is a design, and all that it knows is what it asked."""
    space = ParameterSpace(
        {"heads": Integer(1, 64), "kv": Integer(1, 16)}, require=["heads % kv == 0", "kv > 1"]
    )
    search, keys = begun(TPE(), space), []
    for number in range(80):
        design = search.ask(1)
        assert space.contains(design).all()
        keys += space.keys(design)
        search.tell(trials(design, design["heads"] - design["kv"], first=number))
    assert space.keys(search._told) == keys
    assert len(set(keys)) > 70  # of 150 there are


def test_tpe_keeps_away_from_what_is_in_flight() -> None:
    """Asked together, designs spread; each is new."""
    search = begun(TPE(), PLANE)
    told(search, "x")
    together = PLANE.encode(search.ask(30))
    assert len(np.unique(together, axis=0)) == 30


def test_conditional_parameters_learn_from_where_they_are_active() -> None:
    """Each family finds its own value, and the better family is asked more."""
    space = ParameterSpace(
        {
            "family": Choice(["a", "b", "c"]),
            "p": Real(0.0, 1.0, when="family == 'a'"),
            "q": Real(0.0, 1.0, when="family == 'b'"),
        }
    )

    def loss(designs: object) -> np.ndarray:
        family = np.asarray(designs["family"])  # type: ignore[index]
        p = np.ma.filled(designs["p"], 0.0)  # type: ignore[index]
        q = np.ma.filled(designs["q"], 0.0)  # type: ignore[index]
        return np.where(family == "a", abs(p - 0.9), np.where(family == "b", 1 + abs(q - 0.1), 3))

    search, found = begun(TPE(), space), []
    for number in range(70):
        design = search.ask(1)
        found.append(design)
        search.tell(trials(design, loss(design), first=number))
    late = space.concatenate(found[40:])
    assert (np.asarray(late["family"]) == "a").mean() > 0.5
    assert loss(space.concatenate(found)).min() < 0.03


# Gaussian processes


def fitted(n: int = 25, seed: int = 0) -> tuple[Regression, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((n, 3))
    x[:, 2] = (np.floor(x[:, 2] * 3) + 0.5) / 3
    y = np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + (x[:, 2] > 0.6)
    return Regression(FEATURES, x, y), x, y


FEATURES = Features(np.array([0, 1, 2]), np.array([False, False, True]))


def test_the_posterior_is_that_of_the_textbook() -> None:
    """Equations 2.25 and 2.26 of Rasmussen and Williams, with a kernel written out."""
    model, x, y = fitted()
    lengths, variance, noise = np.exp(model.hyper[:3]), *np.exp(model.hyper[3:])

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        found = np.empty((len(a), len(b)))
        for i, p in enumerate(a):
            for j, q in enumerate(b):
                apart = [(p[0] - q[0]) ** 2, (p[1] - q[1]) ** 2, float(p[2] != q[2])]
                r = math.sqrt(5 * sum(d / s**2 for d, s in zip(apart, lengths, strict=True)))
                found[i, j] = variance * (1 + r + r * r / 3) * math.exp(-r)
        return found

    new = np.random.default_rng(9).random((6, 3))
    new[:, 2] = x[:6, 2]
    inverse = np.linalg.inv(kernel(x, x) + noise * np.eye(len(x)))
    scaled = (y - y.mean()) / y.std()
    cross = kernel(new, x)
    mean, deviation = model.predict(new)
    np.testing.assert_allclose(mean, cross @ inverse @ scaled * y.std() + y.mean(), rtol=1e-4)
    variances = variance - np.einsum("ij,jk,ik->i", cross, inverse, cross)
    np.testing.assert_allclose(deviation, np.sqrt(variances) * y.std(), rtol=1e-2)


def test_gradients_are_those_of_differences() -> None:
    """Of the posterior by hyper-parameters, of mean, deviation and improvement by the point."""
    model, x, _ = fitted()
    squares = FEATURES.squares(x, x).reshape(3, -1)
    hyper = np.array([-0.5, 0.2, 0.4, 0.1, -3.0])
    _, slope = model._loss(hyper, squares)
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-5
        high, low = (model._loss(hyper + s * step, squares)[0] for s in (1, -1))
        assert abs((high - low) / 2e-5 - slope[i]) < 1e-3 * max(1.0, abs(slope[i]))

    worth = Improvement(model, [fitted(seed=3)[0]], best=0.2)
    point = np.array([0.31, 0.62, x[0, 2]])
    _, slope = worth.with_gradient(point)
    for i in range(2):
        step = np.zeros(3)
        step[i] = 1e-6
        high, low = (float(worth((point + s * step)[None, :])[0]) for s in (1, -1))
        assert abs((high - low) / 2e-6 - slope[i]) < 1e-3 * max(1.0, abs(slope[i]))


def test_the_improvement_is_its_integral() -> None:
    """E max(0, best - y), by sampling; limits multiply by their chance."""
    model, limit = fitted()[0], fitted(seed=3)[0]
    points = np.random.default_rng(2).random((5, 3))
    points[:, 2] = 0.5
    mean, deviation = model.predict(points)
    drawn = mean + deviation * np.random.default_rng(0).standard_normal((400_000, 5))
    expected = np.maximum(0.4 - drawn, 0.0).mean(axis=0)
    value = np.exp(Improvement(model, [], best=0.4)(points))
    np.testing.assert_allclose(value, expected, rtol=0.1, atol=1e-4)

    m, s = limit.predict(points)
    chance = np.array([0.5 * math.erfc(a / b / math.sqrt(2)) for a, b in zip(m, s, strict=True)])
    both = np.exp(Improvement(model, [limit], best=0.4)(points))
    np.testing.assert_allclose(both, value * chance, rtol=1e-6)


def test_the_improvement_has_a_logarithm_everywhere() -> None:
    """It grows with z, without a jump where the formula changes."""
    z = np.linspace(-200.0, 5.0, 40_001)
    values = log_improvement(z)
    assert np.isfinite(values).all()
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("k", [2, 3])
def test_boxes_fill_what_no_design_dominates(k: int) -> None:
    """Their volume and the dominated one add up to the whole room, below any corner."""
    rng = np.random.default_rng(k)
    front = rng.random((12, k))
    low, high = boxes(front, np.ones(k))
    volume = (high - np.maximum(low, 0.0)).clip(0.0).prod(axis=1).sum()
    assert abs(volume + hypervolume(front, np.ones(k)) - 1.0) < 1e-9


@pytest.mark.parametrize("k", [2, 3])
def test_the_hypervolume_improvement_is_its_mean_over_samples(k: int) -> None:
    """Of the hypervolume that a sample adds."""
    models = [fitted(seed=seed)[0] for seed in range(k)]
    front, reference = np.random.default_rng(7).random((6, k)) * 1.5, np.full(k, 2.0)
    point = np.array([[0.4, 0.3, 0.5]])
    rng = np.random.default_rng(0)
    drawn = np.column_stack(
        [m + s * rng.standard_normal(1500) for m, s in (model.predict(point) for model in models)]
    )
    before = hypervolume(front, reference)
    gains = [hypervolume(np.vstack([front, row]), reference) - before for row in drawn]
    value = float(np.exp(HypervolumeImprovement(models, [], front, reference)(point))[0])
    assert abs(value - np.mean(gains)) < 0.02 + 4 * np.std(gains) / math.sqrt(1500)


def test_warping_keeps_the_order_and_tames_magnitudes() -> None:
    """A log-normal sample becomes nearly normal."""
    values = np.random.default_rng(0).lognormal(sigma=2.0, size=80)
    found = warped(values)
    assert (np.argsort(found) == np.argsort(values)).all()
    assert abs(((found - found.mean()) ** 3).mean() / found.std() ** 3) < 1.0
    assert (warped(np.ones(5)) == 1.0).all()


def test_the_acquisition_is_climbed() -> None:
    """No climb ends lower than it began, and most end higher."""
    search = begun(GaussianProcess(), PLANE)
    designs = PLANE.sample(np.random.default_rng(1), 20)
    search.learn(trials(designs, (PLANE.encode(designs) ** 2).sum(axis=1)))
    worth = search._acquisition(search._rows())
    points = np.random.default_rng(2).random((12, 2)) * 0.4
    before = worth(points)
    after = worth(np.array([search._climb(worth, point) for point in points]))
    assert (after >= before - 1e-9).all()
    assert (after > before + 1e-3).mean() > 0.7


def test_gp_finds_the_lowest_point_and_keeps_to_limits() -> None:
    """Far nearer than its pool is dense: the acquisition is climbed."""
    search, near = begun(GaussianProcess(), PLANE), []
    for number in range(26):
        design = asked(search, 1)
        x = PLANE.encode(design)[0]
        loss = ((x - [0.43, 0.71]) ** 2).sum()
        broken = max(0.0, 0.55 - x[1])  # the optimum is inside
        near.append(loss if not broken else 9.0)
        search.tell(trials(design, [loss], violations=[broken], first=number))
    assert min(near) < 1e-4

    search, xs = begun(GaussianProcess(), PLANE), []
    for number in range(26):
        design = asked(search, 1)
        x = PLANE.encode(design)[0]
        search.tell(trials(design, [x[0]], violations=[max(0.0, 0.57 - x[0])], first=number))
        xs.append(float(x[0]))
    assert min(x for x in xs if x >= 0.57) < 0.58
    assert np.mean(np.abs(np.array(xs[8:]) - 0.57) < 0.05) > 0.3  # at the edge, not at 0
