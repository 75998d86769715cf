"""Planted pairs are found, and sums have none."""

from __future__ import annotations

import numpy as np
import pytest

from archwright.errors import InfeasibleError, SpecificationError
from archwright.explain import interactions
from archwright.search import Choice, Exhaustive, ParameterSpace, Real
from explain.environments import Formula, additive, ishigami, narrowed, run


def test_a_planted_exclusive_or_is_found() -> None:
    """Neither parameter matters alone, together they decide."""
    space = {"a": Choice(["x", "y"]), "b": Choice([False, True]), "c": Real(0, 1)}
    environment = Formula(
        ParameterSpace(space),
        lambda d: 1.0 * ((np.asarray(d["a"]) == "x") ^ np.asarray(d["b"])) + 0.2 * d["c"],
    )
    table = interactions(run(environment, trials=400), "y")

    assert [row[:2] for row in table.rows] == [["a", "b"]]
    shares = 0.25 / (0.25 + 0.04 / 12)
    assert table.rows[0][2] == pytest.approx(shares, abs=0.04)


def test_the_gain_is_exact_on_a_full_grid() -> None:
    """y = a·b over {-1, 0, 1}²: all of its variance belongs to the pair."""
    space = ParameterSpace({n: Choice([-1, 0, 1]) for n in "ab"} | {"c": Choice(list(range(6)))})
    environment = Formula(space, lambda d: np.asarray(d["a"]) * np.asarray(d["b"]))
    table = interactions(run(environment, Exhaustive(), trials=54), "y")
    assert [row[:2] for row in table.rows] == [["a", "b"]]
    assert table.rows[0][2] == pytest.approx(1.0)


def test_a_sum_has_no_pairs() -> None:
    """Also not on the trials of a search that converged."""
    assert interactions(run(additive(), trials=1000), "y").rows == []
    assert interactions(narrowed(additive()), "y").rows == []


def test_the_pair_of_ishigami_is_found_on_even_and_on_searched_trials() -> None:
    """x1 and x3; its share on even samples is 0.2437."""
    even = interactions(run(ishigami(), trials=2000), "y")
    assert [row[:2] for row in even.rows] == [["x1", "x3"]]
    assert 0.12 < even.rows[0][2] < 0.2437  # six slices blur x3 to the fourth power
    searched = interactions(narrowed(ishigami()), "y")
    assert searched.rows[0][:2] == ["x1", "x3"]


def test_ranks_hold_against_outliers() -> None:
    """One value of 1e9 hides everything from the values, not from the places."""
    space = ParameterSpace({"a": Choice([0, 1]), "b": Choice([0, 1]), "c": Real(0, 1)})
    environment = Formula(
        space,
        lambda d: np.where(d["c"] > 0.99, 1e9, (d["a"] ^ d["b"]) + 0.1 * d["c"]),
    )
    result = run(environment, trials=400)
    assert interactions(result, "y", scale="rank").rows[0][:2] == ["a", "b"]
    assert ["a", "b"] not in [row[:2] for row in interactions(result, "y").rows]


def test_mistakes_are_named() -> None:
    """Unknown scale, too few designs."""
    result = run(additive(), trials=30)
    with pytest.raises(SpecificationError, match="unknown scale 'log'"):
        interactions(result, "y", scale="log")  # type: ignore[arg-type]
    with pytest.raises(InfeasibleError, match="40 feasible designs with 'y', found 30"):
        interactions(result, "y")
