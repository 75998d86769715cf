"""Sobol and Morris indices against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from archwright.errors import InfeasibleError, SpecificationError
from archwright.explain import morris, sobol
from archwright.search import Choice, ParameterSpace, Permutation, Real
from explain.environments import Formula, additive, ishigami, mixed, run


def named(table, column=None):
    """Index of each parameter, by name."""
    values = table.index if column is None else table.more[column]
    return dict(zip(table.parameters, values, strict=True))


def test_sobol_finds_the_indices_of_ishigami() -> None:
    """First 0.3139, 0.4424, 0; total 0.5576, 0.4424, 0.2437 (Ishigami and Homma 1990)."""
    table = sobol(ishigami(), "y", samples=1024, bootstrap=20)

    total, first = named(table), named(table, "first")
    for name, one, every in (
        ("x1", 0.3139, 0.5576), ("x2", 0.4424, 0.4424), ("x3", 0.0, 0.2437),
        ("idle", 0.0, 0.0), ("choice", 0.0, 0.0),
    ):  # fmt: skip
        assert total[name] == pytest.approx(every, abs=0.03)
        assert first[name] == pytest.approx(one, abs=0.06)
    assert "7,168 evaluations of Formula, version 1" in table.note
    assert np.isnan(table.floor).all()


def test_sobol_agrees_with_scipy() -> None:
    """The same estimators on the same function, by another implementation."""

    def function(x):
        return np.sin(x[0]) + 7 * np.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * np.sin(x[0])

    dists = [stats.uniform(loc=-np.pi, scale=2 * np.pi)] * 3
    theirs = stats.sobol_indices(func=function, n=1024, dists=dists, rng=np.random.default_rng(1))
    table = sobol(ishigami(), "y", samples=1024, bootstrap=2)

    assert np.allclose(table.index[:3], theirs.total_order, atol=0.05)
    assert np.allclose(table.more["first"][:3], theirs.first_order, atol=0.08)


def test_shares_of_a_sum_with_a_choice() -> None:
    """A categorical parameter is one parameter; first and total agree without interaction."""
    table = sobol(additive(), "y", samples=1024, bootstrap=2)

    for name, share in (("large", 16 / 21), ("middle", 4 / 21), ("small", 1 / 21), ("idle", 0)):
        assert named(table)[name] == pytest.approx(share, abs=0.02)
        assert named(table, "first")[name] == pytest.approx(share, abs=0.03)


def test_morris_gives_slopes_and_differences() -> None:
    """A slope is met exactly; a choice by the mean difference of its values."""
    space = ParameterSpace(
        {"slope": Real(0, 2), "back": Real(0, 1), "kind": Choice(["a", "b"]), "idle": Real(0, 1)}
    )
    environment = Formula(
        space, lambda d: 3 * d["slope"] - 2 * d["back"] + 5.0 * (np.asarray(d["kind"]) == "b")
    )
    table = morris(environment, "y", paths=20)

    assert named(table) == pytest.approx({"slope": 6, "back": 2, "kind": 5, "idle": 0})
    mu = named(table, "mu")
    assert mu["slope"] == pytest.approx(6)
    assert mu["back"] == pytest.approx(-2)
    assert np.isnan(mu["kind"])
    assert named(table, "sigma")["slope"] == pytest.approx(0, abs=1e-9)
    assert "100 evaluations" in table.note


def test_morris_sees_what_repeats() -> None:
    """sin² has half the period of the range, which steps of half the range would miss."""
    table = morris(ishigami(), "y", paths=50)
    assert set(table.ranked[:3]) == {"x1", "x2", "x3"}
    assert min(named(table)[f"x{i}"] for i in (1, 2, 3)) > 1
    assert named(table)["idle"] == 0


def test_a_permutation_is_one_parameter() -> None:
    """It moves as a whole, in both methods."""
    space = ParameterSpace({"order": Permutation(4), "a": Real(0, 1)})
    environment = Formula(space, lambda d: [float(order[0]) for order in d["order"]])
    assert named(sobol(environment, "y", samples=64, bootstrap=2))["order"] == pytest.approx(
        1.0, abs=0.15
    )
    table = morris(environment, "y", paths=20)
    assert table.parameters == ("order", "a")
    assert named(table)["order"] > 0.5


def test_trials_of_a_search_are_refused_with_the_way_out() -> None:
    """The indices assume independent samples."""
    result = run(additive(), trials=30)
    for method in (sobol, morris):
        with pytest.raises(SpecificationError, match=r"use importance\(result, metric\)"):
            method(result, "y")
        with pytest.raises(SpecificationError, match="unknown metric 'z'"):
            method(additive(), "z")
    with pytest.raises(SpecificationError, match="a power of 2, found 100"):
        sobol(additive(), "y", samples=100)


def test_infeasible_designs() -> None:
    """Sobol has no answer; Morris leaves such steps out and counts them."""
    broken = mixed(limit=0.8)
    with pytest.raises(InfeasibleError, match=r"designs have no cost.*use morris"):
        sobol(broken, "cost", samples=64)
    table = morris(broken, "cost", paths=40)
    assert "steps with an infeasible end are left out" in table.note
    assert named(table)["count"] > named(table)["<b>size"] > 0
    assert named(table)["depth"] == 0
    assert 0 < dict(zip(table.parameters, table.active, strict=True))["depth"] < 1


def test_repaired_designs_are_counted() -> None:
    """Limits between parameters make them depend on each other."""
    space = ParameterSpace({"a": Real(0, 1), "b": Real(0, 1)}, require=["a <= b"])
    table = morris(Formula(space, lambda d: d["a"]), "y", paths=10)
    assert "broke 'require' and were repaired" in table.note
