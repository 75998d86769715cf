"""Importance of searched trials against closed forms, brute force and known functions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from archwright.errors import InfeasibleError, SpecificationError
from archwright.explain import importance
from archwright.search import (
    Choice,
    Exhaustive,
    Integer,
    ParameterSpace,
    Permutation,
    Real,
    Result,
)
from explain.environments import Formula, additive, ishigami, mixed, narrowed, run


def of(table, name):
    """The index of one parameter."""
    return float(table.index[table.parameters.index(name)])


def every_design(levels=6):
    """y = first, over the full grid of two parameters of six levels."""
    space = ParameterSpace({"first": Integer(1, levels), "second": Integer(1, levels)})
    environment = Formula(space, lambda d: d["first"] * 10.0)
    return run(environment, Exhaustive(), trials=levels**2)


def test_pawn_and_delta_are_exact_where_one_parameter_decides() -> None:
    """With S equal levels, slice s differs from the whole by max(s, S - 1 - s) / S steps."""
    levels = 6
    result = every_design(levels)
    gaps = [max(s, levels - 1 - s) / levels for s in range(levels)]

    pawn = importance(result, "y", method="pawn")
    assert of(pawn, "first") == pytest.approx(np.mean(gaps), abs=1e-12)
    assert of(pawn, "second") == pytest.approx(0.0, abs=1e-12)
    delta = importance(result, "y", method="delta")
    assert of(delta, "first") == pytest.approx(1 - 1 / levels, abs=1e-12)
    assert of(delta, "second") == pytest.approx(0.0, abs=1e-12)


def test_pawn_agrees_with_the_distributions_written_out() -> None:
    """Kolmogorov-Smirnov distance of each level to the even mixture of all levels."""
    result = run(ishigami(), trials=300)
    y, level = result.metric("y"), result.trials["param.choice"].to_pylist()
    steps = [
        np.array([(y[[k == name for k in level]] <= value).mean() for value in y])
        for name in "abc"
    ]
    expected = np.mean([np.abs(step - np.mean(steps, axis=0)).max() for step in steps])

    assert of(importance(result, "y", method="pawn"), "choice") == pytest.approx(expected)


@pytest.mark.parametrize("method", ["forest", "pawn", "delta"])
def test_idle_parameters_stay_at_the_floor_and_the_others_do_not(method) -> None:
    """Ishigami's function: x1 moves most by total variance, x2 by distribution; x3 is third."""
    table = importance(run(ishigami(), trials=2000), "y", method=method)

    expected = ["x1", "x2", "x3"] if method == "forest" else ["x2", "x1", "x3"]
    assert table.ranked[:3] == expected
    assert table.above_floor == expected
    assert (table.low <= table.index).all()
    assert (table.index <= table.high).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_on_searched_trials_is_that_on_even_samples(seed) -> None:
    """A converged search narrows the idle parameter too; the forest is not misled."""
    even = importance(run(additive(), trials=2000, seed=seed), "y")
    searched = importance(narrowed(additive(), seed=seed), "y")

    assert even.ranked == ["large", "middle", "small", "idle"]
    assert searched.ranked == even.ranked
    assert of(searched, "idle") < 0.1 * of(searched, "small")


def test_total_indices_of_a_sum_are_its_shares_of_variance() -> None:
    """16, 4 and 1 of 21, by a forest: within a twentieth."""
    table = importance(run(additive(), trials=3000), "y")

    for name, share in (("large", 16 / 21), ("middle", 4 / 21), ("small", 1 / 21), ("idle", 0)):
        assert of(table, name) == pytest.approx(share, abs=0.05)


def test_another_scale_of_the_metric_changes_nothing() -> None:
    """PAWN and delta look at the order of the values only."""
    space = ParameterSpace({"a": Real(0, 1), "b": Real(0, 1)})
    plain = run(Formula(space, lambda d: d["a"] + 0.3 * d["b"]), trials=200)
    curved = run(Formula(space, lambda d: np.exp(9 * (d["a"] + 0.3 * d["b"]))), trials=200)

    for method in ("pawn", "delta"):
        one, other = (importance(r, "y", method=method) for r in (plain, curved))
        assert np.allclose(one.index, other.index)


def test_conditions_infeasible_designs_and_unknown_values_are_counted() -> None:
    """A conditional parameter is judged where it is active; the rest is said."""
    result = run(mixed(("cost", "depth_cost")), trials=600, minimize=["cost", "depth_cost"])
    table = importance(result, "depth_cost", method="pawn")

    infeasible = int((~result.column("feasible")).sum())
    assert f"{infeasible:,} infeasible designs are left out." in table.note
    assert f"{600 - infeasible:,} of 600 designs" in table.note
    active = dict(zip(table.parameters, table.active, strict=True))
    on = np.array(result.trials["param.on"].to_pylist())[result.column("feasible")]
    assert active["depth"] == pytest.approx(on.mean())
    assert active["count"] == 1.0
    assert of(table, "depth") == max(table.index)
    assert "&lt;b&gt;size" in table._repr_html_()
    assert "<b>size" not in table._repr_html_()


def test_what_cannot_be_judged_has_no_index() -> None:
    """A single value, or a permutation of which each occurs once."""
    space = ParameterSpace({"a": Real(0, 1), "one": Choice(["x"]), "order": Permutation(9)})
    result = run(Formula(space, lambda d: d["a"]), trials=60)
    for method in ("forest", "pawn", "delta"):
        table = importance(result, "y", method=method)
        assert np.isnan(of(table, "one"))
        assert np.isnan(of(table, "order"))
        assert "no index: one, order." in table.note
        assert table.ranked[0] == "a"


def test_a_parameter_that_is_never_active_has_no_index() -> None:
    """Its column holds nothing but nulls."""
    space = {"a": Real(0, 1), "on": Choice([False]), "depth": Integer(1, 4, when="on")}
    result = run(Formula(ParameterSpace(space), lambda d: d["a"]), trials=60)
    for method in ("forest", "pawn", "delta"):
        table = importance(result, "y", method=method)
        assert np.isnan(of(table, "depth"))
        assert table.active[table.parameters.index("depth")] == 0
        assert table.above_floor == ["a"]


def test_several_fidelities_are_said() -> None:
    """Their trials are taken together, which the reader should know."""
    result = run(additive(), trials=60)
    two = ["low" if i % 2 else "full" for i in range(60)]
    at = result.table.column_names.index("fidelity")
    table = result.table.set_column(at, "fidelity", pa.array(two))
    mixed_result = Result(table, result.schema, result.stopped, None, ())
    assert "Fidelities are taken together: full, low." in importance(mixed_result, "y").note
    assert "Fidelities" not in importance(result, "y").note


def test_mistakes_are_named() -> None:
    """Unknown names and too few designs."""
    result = run(additive(), trials=30)
    with pytest.raises(SpecificationError, match="unknown metric 'z'"):
        importance(result, "z")
    with pytest.raises(SpecificationError, match="nearest: 'pawn'"):
        importance(result, "y", method="pwan")  # type: ignore[arg-type]
    with pytest.raises(SpecificationError, match="slices: expected at least 2, found 1"):
        importance(result, "y", slices=1)
    with pytest.raises(InfeasibleError, match="20 feasible designs with 'y', found 9"):
        importance(run(additive(), trials=9), "y")
