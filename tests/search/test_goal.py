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


def _measured() -> Measurements:
    """Three designs with an interval each."""
    return Measurements(
        metrics={"c": np.array([1.0, 2.0, 3.0]), "p": np.array([5.0, 9.0, 9.5])},
        low={"p": np.array([4.0, 8.0, 1.0])},
        high={"p": np.array([9.0, 9.9, 20.0])},
    )


def test_a_chance_is_read_from_the_interval() -> None:
    """90 % of the law lies inside; at the upper end 95 % is below, at the value half."""
    from archwright.search.goal import chance

    value, low, high = np.array([2.0]), np.array([1.0]), np.array([8.0])
    assert chance(value, low, high, 8.0)[0] == pytest.approx(0.95)
    assert chance(value, low, high, 2.0)[0] == pytest.approx(0.5)
    assert chance(value, low, high, 1.0)[0] == pytest.approx(0.05)
    assert chance(value, low, high, 4.0)[0] == pytest.approx(0.7946, abs=1e-3)  # lognormal
    assert chance(-value, -high, -low, -1.0)[0] == pytest.approx(0.95)  # normal below 0
    assert chance(value, value, value, 2.0)[0] == 1.0
    assert chance(value, value, value, 1.99)[0] == 0.0
    assert np.isnan(chance(np.array([np.nan]), low, high, 1.0)[0])


@pytest.mark.parametrize(
    ("limits", "feasible"),
    [
        (["p <= 10"], [True, True, True]),
        (["p <= 10", "chance(p) >= 0.9"], [True, True, False]),
        (["10 >= p", "chance(p) >= 0.9"], [True, True, False]),
        (["p >= 5", "chance(p) >= 0.6"], [False, True, True]),
        (["p <= 10", "chance(p) <= 0.9"], [False, False, True]),
    ],
)
def test_a_limit_may_be_asked_to_hold_with_a_chance(
    limits: list[str], feasible: list[bool]
) -> None:
    """Of the limit that another line sets, whichever way round it stands."""
    goal = Goal(minimize=["c"], subject_to=limits)
    goal.check([Metric("c"), Metric("p")])

    assert goal.score(_measured()).feasible.tolist() == feasible


def test_a_measured_chance_is_taken_as_it_is() -> None:
    """An environment that limits a metric itself gives the column."""
    goal = Goal(minimize=["c"], subject_to=["chance(p) >= 0.9"])
    goal.check([Metric("c"), Metric("p"), Metric("chance_p")])
    found = Measurements(metrics=_measured().metrics | {"chance_p": np.array([0.95, 0.5, 0.9])})

    assert goal.score(found).feasible.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (["chance(p) >= 0.9"], "nothing limits 'p', so there is no chance of it"),
        (["chance(q) >= 0.9"], "unknown name 'chance_q'"),
        (["chance(p, c) >= 0.9"], "chance takes the name of one metric"),
        (["c <= 2", "chance(c) >= 0.9"], "'c' has no interval, so its chance is not known"),
    ],
)
def test_a_chance_that_is_not_known_is_refused(limits: list[str], message: str) -> None:
    """Without a limit, a metric, or an interval."""
    with pytest.raises(SpecificationError, match=message):
        goal = Goal(minimize=["c"], subject_to=limits)
        goal.check([Metric("c"), Metric("p")])
        goal.score(_measured())
