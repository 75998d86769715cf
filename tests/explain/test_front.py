"""Knee, best per metric and the growth of the hypervolume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import InfeasibleError, SpecificationError
from archwright.explain import Quantity, best_per_metric, hypervolume_history, knee
from archwright.solve.pareto import hypervolume, nondominated

NAN = float("nan")


@given(st.integers(0, 10_000), st.integers(2, 30))
def test_knee_is_the_point_farthest_from_the_line_through_the_ends(seed, n):
    rng = np.random.default_rng(seed)
    losses = rng.integers(0, 20, (n, 2)).astype(float)
    row = knee(losses)
    mask = nondominated(losses)
    assert mask[row]
    front = losses[mask]
    low, high = front.min(axis=0), front.max(axis=0)
    if (high > low).all():
        start = np.array([low[0], high[1]])
        along = (np.array([high[0], low[1]]) - start) / (high - low)
        away = (losses[mask] - start) / (high - low)
        distance = away[:, 1] * along[0] - away[:, 0] * along[1]
        mine = (losses[row] - start) / (high - low)
        assert mine[1] * along[0] - mine[0] * along[1] == pytest.approx(distance.min())


def test_knee_ignores_units_unscored_rows_and_dominated_rows():
    losses = np.array([[NAN, 0], [0, 10], [1, 2], [1.5, 2.5], [10, 0], [-1, np.inf]])
    assert knee(losses) == 2
    assert knee(losses * [1e6, 1e-3]) == 2
    assert knee([[3.0, 3.0]]) == 0
    with pytest.raises(InfeasibleError, match="none of 1 rows"):
        knee([[NAN, 1.0]])


def test_best_per_metric():
    quality = Quantity(name="quality", values=[60, NAN, 80, 90], direction="maximize")
    cost = Quantity(name="cost", values=[5, 1, 9, 1])
    power = Quantity(name="power", values=[NAN] * 4)
    assert best_per_metric([quality, cost, power], [True, True, True, False]) == {
        "quality": 2,
        "cost": 1,
        "power": None,
    }
    with pytest.raises(SpecificationError, match="minimize or maximize"):
        Quantity(name="cost", values=[], direction="down")  # type: ignore[arg-type]


@given(st.integers(0, 10_000), st.integers(0, 25), st.integers(1, 3))
def test_history_equals_the_hypervolume_of_each_prefix(seed, n, k):
    rng = np.random.default_rng(seed)
    losses = rng.integers(0, 7, (n, k)).astype(float)
    losses[rng.random(n) < 0.1] = NAN
    feasible = rng.random(n) < 0.8
    reference = np.full(k, 5.0)
    history = hypervolume_history(losses, feasible, reference)
    expected = [
        hypervolume(losses[: i + 1][feasible[: i + 1]], reference) for i in range(len(losses))
    ]
    assert history.tolist() == pytest.approx(expected)


def test_history_of_ten_thousand_trials():
    losses = np.random.default_rng(0).random((10_000, 2))
    history = hypervolume_history(losses, np.ones(10_000, bool), [1, 1])
    assert history[-1] == pytest.approx(hypervolume(losses, [1, 1]))
    assert (np.diff(history) >= 0).all()
