"""The table environment answers what its rows say."""

from __future__ import annotations

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.search import (
    Budget,
    Choice,
    Exhaustive,
    Goal,
    Integer,
    Metric,
    ParameterSpace,
    Study,
)
from archwright.search.table import table_environment
from archwright.testing import check_environment

COLUMNS = {
    "ways": [4, 1, 2, 1],
    "policy": ["lru", "lru", "fifo", "fifo"],
    "ns": [3.0, 1.0, 2.0, 4.0],
}


def test_it_keeps_the_contract_and_finds_its_best_row() -> None:
    """A metric may stand among the columns; a design without a row is infeasible."""
    table = table_environment(COLUMNS, metrics=[Metric("ns", "ns", "time")])
    check_environment(table)

    result = Study(table, Goal(minimize=["ns"]), Exhaustive(), budget=Budget(evaluations=10)).run()
    assert len(result.trials) == 6
    assert result.design(result.best()) == {"ways": 1, "policy": "lru"}
    assert sorted(result.trials["reason"].to_pylist(), key=str)[-2:] == ["not in the table"] * 2


def test_a_space_with_conditions_may_be_given() -> None:
    """None marks an inactive value."""
    space = ParameterSpace({"on": Choice([True, False]), "n": Integer(1, 3, when="on")})
    table = table_environment(
        {"on": [True, False], "n": [2, None]}, metrics={"cost": [1.0, 2.0]}, space=space
    )
    measured = table.evaluate(space.design({"on": False}), seeds=np.zeros(1, dtype=np.uint64))
    assert measured.metrics["cost"].tolist() == [2.0]


def test_mistakes_are_one_clear_line() -> None:
    """Doubled rows, lengths, missing metrics, inactive values without a space."""
    with pytest.raises(SpecificationError, match=r"the design .* stands in two rows"):
        table_environment({"a": [1, 1]}, metrics={"x": [1.0, 2.0]})
    with pytest.raises(SpecificationError, match="x: expected 2 values"):
        table_environment({"a": [1, 2]}, metrics={"x": [1.0]})
    with pytest.raises(SpecificationError, match=r"unknown column 'n' .nearest: 'ns'."):
        table_environment(COLUMNS, metrics=[Metric("n")])
    with pytest.raises(SpecificationError, match="at least one"):
        table_environment({"a": [1]}, metrics={})
    with pytest.raises(SpecificationError, match="has inactive values; give the space"):
        table_environment({"a": [1, None]}, metrics={"x": [1.0, 2.0]})


def test_two_tables_are_told_apart() -> None:
    """The identity holds every value, so a folder continues only its own table."""
    one = table_environment({"a": [1, 2]}, metrics={"x": [1.0, 2.0]})
    other = table_environment({"a": [1, 2]}, metrics={"x": [1.0, 3.0]})
    assert one.identity() != other.identity()
