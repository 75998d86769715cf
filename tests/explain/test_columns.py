"""Columns read stored trials; slices hold every active row once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.explain.columns import Column, metric, objective, parameter
from archwright.search import Integer, ParameterSpace, Real
from explain.environments import Formula, mixed, run


def test_levels_numbers_and_inactive_values() -> None:
    """Positions of sorted levels, numbers as they are, NaN where inactive."""
    result = run(mixed(), trials=100, minimize=["cost"], maximize=["quality"])
    kind = parameter(result, "kind")
    assert kind.levels == ("<i>one", "two")
    named = [kind.levels[int(value)] for value in kind.values]
    assert named == result.trials["param.kind"].to_pylist()
    depth = parameter(result, "depth")
    stored = np.array(result.trials["param.depth"].to_pylist(), float)
    assert np.array_equal(depth.values, stored, equal_nan=True)
    with pytest.raises(SpecificationError, match="nearest: 'depth'"):
        parameter(result, "dept")


def test_directions_are_read_off_the_losses() -> None:
    """Also for a maximized metric below zero, and a combined loss has its own column."""
    result = run(mixed(), trials=50, minimize=["cost"], maximize=["quality"])
    assert metric(result, "cost").sign == 1
    assert metric(result, "quality").sign == -1
    joined = run(mixed(), trials=50, minimize=["cost", "quality"], combine="weighted_sum")
    expected = joined.metric("cost") + joined.metric("quality")
    loss = objective(joined, "weighted_sum").values
    assert np.allclose(loss, expected, equal_nan=True)


def test_only_what_starts_out_by_ratio_is_read_so() -> None:
    """A uniform parameter stays linear, however near to zero the search gets."""
    space = {"even": Real(0, 1), "ratio": Integer(1, 4096, log=True)}
    space["decades"] = Real(1e-6, 1.0, log=True)
    result = run(Formula(ParameterSpace(space), lambda d: d["even"]), trials=100)
    logs = {name: parameter(result, name).log for name in space}
    assert logs == {"even": False, "ratio": True, "decades": True}


@given(
    values=st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=80),
    most=st.integers(2, 12),
    least=st.integers(1, 9),
)
def test_slices_are_ordered_and_large_enough(values, most, least) -> None:
    """Numbered from 0, each with at least so many rows where there are several."""
    numbers = np.array([np.nan if v is None else v for v in values], float)
    cut, count = Column(name="x", values=numbers).bins(most, least)
    active = ~np.isnan(numbers)
    assert ((cut == -1) == ~active).all()
    assert set(cut[active]) == set(range(count))
    assert count <= most
    if count > 1:
        assert np.bincount(cut[active]).min() >= least
    order = np.argsort(numbers[active], kind="stable")
    assert (np.diff(cut[active][order]) >= 0).all()


@given(codes=st.lists(st.integers(0, 7), min_size=1, max_size=80), most=st.integers(2, 9))
def test_frequent_levels_have_slices_of_their_own(codes, most) -> None:
    """The rest share the last one."""
    levels = tuple("abcdefgh")
    cut, count = Column(name="x", values=np.array(codes, float), levels=levels).bins(most)
    assert count == min(most, len(set(codes)))
    for number in range(count - 1):
        assert len({c for c, n in zip(codes, cut, strict=True) if n == number}) == 1
