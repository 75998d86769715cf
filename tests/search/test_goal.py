"""Goals: losses, violations and the order, against numbers computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.search import Goal, Measurements, Metric, Scores, order

MEASURED = Measurements(
    metrics={"cost": np.array([2.0, 4.0, np.nan]), "quality": np.array([0.5, 0.8, np.nan])},
    feasible=np.array([True, True, False]),
    reason=[None, None, "too large"],
    violation=np.array([0.0, 0.0, 0.25]),
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[2, -0.5], [4, -0.8]]),
        ({"combine": "weighted_sum", "weights": {"quality": 10}}, [[-3], [-4]]),
        ({"combine": "weighted_product", "weights": {"cost": 2}}, [[4 / 0.5], [16 / 0.8]]),
        (
            {
                "combine": "chebyshev",
                "reference": {"cost": 1, "quality": 1},
                "weights": {"quality": 4},
            },
            [[2.0], [3.0]],
        ),
        ({"combine": "target", "targets": {"cost": 3, "quality": 1}}, [[0.5], [1 / 3 + 0.2]]),
        (
            {"combine": "target", "targets": {"cost": 3, "quality": 1}, "two_sided": True},
            [[1 / 3 * 0.5], [1 / 3 * 0.2]],
        ),
    ],
)
def test_losses_by_hand(options: Any, expected: list[list[float]]) -> None:
    """Each rule joins cost (down) and quality (up) as the formula says; unknown stays NaN."""
    scores = Goal(minimize=["cost"], maximize=["quality"], **options).score(MEASURED)

    assert scores.losses[:2] == pytest.approx(np.array(expected))
    assert np.isnan(scores.losses[2]).all()


def test_a_two_sided_target_is_the_reciprocal_of_the_reward() -> None:
    """ArchGym's reward, target over distance, punishes what is better than its target too."""
    measured = Measurements(metrics={"power": np.array([1.0, 1.9, 2.5])})
    goal = Goal(minimize=["power"], combine="target", targets={"power": 2.0}, two_sided=True)
    reward = 2.0 / np.abs(2.0 - measured.metrics["power"])

    assert goal.score(measured).losses[:, 0] == pytest.approx(1 / reward)
    one_sided = Goal(minimize=["power"], combine="target", targets={"power": 2.0})
    assert one_sided.score(measured).losses[:, 0] == pytest.approx([0, 0, 0.25])


def test_violations_are_relative_excess() -> None:
    """A limit gives its excess over its size, absolute at 0; a strict one refuses equality."""
    measured = Measurements(metrics={"w": np.array([50.0, 100.0, 150.0])})
    goal = Goal(minimize=["w"], subject_to=["w <= 100", "w >= 120", "w - 100 <= 0", "w < 100"])

    scores = goal.score(measured)

    assert goal.objectives.constraints == ("environment", *goal.subject_to)
    assert scores.violations[:, :4] == pytest.approx(
        np.array([[0, 0, 70 / 120, 0], [0, 0, 20 / 120, 0], [0, 0.5, 0, 50]])
    )
    assert (scores.violations[:, 4] > 0).tolist() == [False, True, True]
    assert scores.feasible.tolist() == [False, False, False]


def test_infeasible_designs_are_never_at_distance_zero() -> None:
    """The environment's own verdict is the first constraint; an unknown distance stays NaN."""
    measured = Measurements(
        metrics={"w": np.full(3, np.nan)},
        feasible=np.array([False, False, False]),
        reason=["a"] * 3,
        violation=np.array([0.0, 0.5, np.nan]),
    )

    violations = Goal(minimize=["w"], subject_to=["w <= 1"]).score(measured).violations

    assert violations[0, 0] > 0
    assert violations[1].tolist() == [0.5, 0.0]
    assert np.isnan(violations[2, 0])


def test_order_is_feasible_then_violation_then_unevaluable() -> None:
    """Feasible by loss, infeasible by total violation, unevaluable last."""
    scores = Scores(
        losses=np.array([[np.nan], [5.0], [1.0], [np.nan], [0.0], [2.0]]),
        violations=np.array([[0.0], [0.0], [0.3], [np.nan], [0.1], [0.0]]),
        feasible=np.array([True, True, False, False, False, True]),
    )

    assert order(scores).tolist() == [5, 1, 4, 2, 0, 3]
    two = Scores(losses=np.ones((1, 2)), violations=np.ones((1, 1)), feasible=np.array([True]))
    with pytest.raises(SpecificationError, match="needs a single loss; use the front"):
        order(two)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to minimize or maximize"),
        ({"minimize": "cost"}, "minimize: expected a list of texts, found 'cost'"),
        ({"minimize": [3]}, "minimize: expected a list of texts, found \\[3\\]"),
        ({"minimize": ["a"], "maximize": ["a"]}, "'a' stands there twice"),
        ({"minimize": ["a"], "combine": "sum"}, "combine: unknown rule 'sum'"),
        (
            {"minimize": ["cost"], "weights": {"csot": 1}},
            "unknown metric 'csot' \\(nearest: 'cost'\\)",
        ),
        ({"minimize": ["a"], "weights": {"a": "x"}}, "weights.a: expected a number, found 'x'"),
        ({"minimize": ["a"], "weights": {"a": float("nan")}}, "weights.a: expected a number"),
        ({"minimize": ["a"], "weights": [1]}, "weights: expected a table, found \\[1\\]"),
        ({"minimize": ["a"], "two_sided": "yes"}, "two_sided: expected true or false"),
        ({"minimize": ["a"], "combine": "chebyshev"}, "needs a value for 'a'"),
        ({"minimize": ["a"], "combine": "target", "targets": {"a": 0}}, "a target of 0"),
        ({"minimize": ["a"], "subject_to": ["a"]}, "'a' is no limit; write 'metric <= value'"),
        ({"minimize": ["a"], "subject_to": ["a == 1"]}, "is no limit"),
        ({"minimize": ["a"], "subject_to": ["1 <= 2"]}, "is no limit"),
    ],
)
def test_impossible_goals_are_refused(options: Any, message: str) -> None:
    """Each refusal names the key, the value and the nearest choice."""
    with pytest.raises(SpecificationError, match=message):
        Goal(**options)


def test_goals_are_checked_against_the_metrics() -> None:
    """A name the environment does not measure is refused with the nearest."""
    metrics = [Metric("latency_s"), Metric("power_w")]
    with pytest.raises(
        SpecificationError, match="unknown metric 'latancy_s' \\(nearest: 'latency_s'"
    ):
        Goal(minimize=["latancy_s"]).check(metrics)
    with pytest.raises(SpecificationError, match="unknown name 'pwer_w' \\(nearest: 'power_w'"):
        Goal(minimize=["power_w"], subject_to=["pwer_w <= 1"]).check(metrics)
    with pytest.raises(SpecificationError, match="\"w <= 'x'\" does not compare numbers"):
        Goal(minimize=["w"], subject_to=["w <= 'x'"]).score(
            Measurements(metrics={"w": np.ones(1)})
        )
