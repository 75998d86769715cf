"""Parameters: codes, units, values, and what they refuse."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import SpecificationError
from archwright.search import Choice, Integer, Ordinal, Parameter, Permutation, Real
from archwright.search.space import parameter
from strategies import finite_parameters, parameters


def _unit(item: Parameter, seed: int, n: int = 50) -> Any:
    unit = np.random.default_rng(seed).random((n, item.width))
    unit[0], unit[1] = 0.0, 1.0
    return unit


@given(parameters(), st.integers(0, 2**32))
def test_unit_cube_round_trip(item: Parameter, seed: int) -> None:
    """Codes to the unit cube and back are the same codes, within rounding for a real."""
    codes = item.from_unit(_unit(item, seed))
    unit = item.to_unit(codes)

    assert ((unit >= 0) & (unit <= 1)).all()
    if isinstance(item, Real):
        assert np.allclose(item.from_unit(unit), codes, rtol=1e-9, atol=1e-9 * abs(item.low))
    else:
        assert (item.from_unit(unit) == codes).all()


@given(parameters(), st.integers(0, 2**32))
def test_values_round_trip_through_json(item: Parameter, seed: int) -> None:
    """Codes to values, through JSON, and back are the same codes."""
    codes = item.from_unit(_unit(item, seed))
    values = json.loads(json.dumps(item.values(codes).tolist()))

    assert (item.codes(values) == codes).all()


@given(finite_parameters())
def test_enumerate_is_complete(item: Parameter) -> None:
    """A finite parameter enumerates as many codes as its size, each once."""
    codes = item.enumerate()

    assert len(codes) == item.size == len(np.unique(codes, axis=0))
    assert not np.isnan(item.codes(item.values(codes).tolist())).any()


@pytest.mark.parametrize(
    ("item", "code", "expected"),
    [
        (Choice(["a", "b", "c"]), 1, [0, 2]),
        (Ordinal([8, 16, 32]), 1, [0, 2]),
        (Ordinal([8, 16, 32]), 2, [1]),
        (Integer(0, 10, step=5), 5, [0, 10]),
        (Integer(0, 10, step=5), 0, [5]),
        (Integer(3, 3), 3, []),
    ],
)
def test_neighbors_are_one_step_away(item: Parameter, code: float, expected: list[int]) -> None:
    """A choice steps to all others, an order and a number to the next."""
    assert item.neighbors(np.array([float(code)]))[:, 0].tolist() == expected


def test_permutation_neighbors_swap_adjacent_places() -> None:
    """A permutation steps by swaps of adjacent places."""
    near = Permutation(3).neighbors(np.array([0.0, 1.0, 2.0]))

    assert near.tolist() == [[1, 0, 2], [0, 2, 1]]


def test_log_integers_spread_by_ratio() -> None:
    """Half of the samples of 1 to 10^6 by ratio lie below about 1,000."""
    codes = Integer(1, 10**6, log=True).from_unit(np.linspace(0, 1, 1001)[:, None])

    assert 900 < np.median(codes) < 1100
    assert (codes.min(), codes.max()) == (1, 10**6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice([]), "Choice: needs at least one value"),
        (lambda: Choice("abc"), "expected a list of values, found 'abc'"),
        (lambda: Choice([1, 1.0]), "Choice: 1 stands there twice"),
        (lambda: Choice([math.nan]), "Choice: nan is not a value"),
        (lambda: Choice([None, 1], when="a > 1"), "None marks an inactive value"),
        (lambda: Integer(4, 1), "expected low <= high and step >= 1, found low 4, high 1"),
        (lambda: Integer(0, 4, step=0), "step >= 1"),
        (lambda: Integer(0, 4, log=True), "log needs low >= 1 and step 1, found low 0"),
        (lambda: Integer(0.5, 4), "Integer.low: expected a whole number, found 0.5"),
        (lambda: Integer(0, 2**60), "beyond ±2\\*\\*53"),
        (lambda: Real(0, math.inf), "Real.high: expected a finite number, found inf"),
        (lambda: Real(2, 1), "expected low <= high, found low 2, high 1"),
        (lambda: Real(0, 1, log=True), "expected low <= high and low > 0"),
        (lambda: Real(-1e308, 1e308), "too wide"),
        (lambda: Permutation(0), "expected a length of at least 1, found 0"),
        (lambda: Permutation(True), "expected a length of at least 1, found True"),
    ],
)
def test_impossible_parameters_are_refused(make: Any, message: str) -> None:
    """Each refusal states what was given and what was expected."""
    with pytest.raises(SpecificationError, match=message):
        make()


@pytest.mark.parametrize(
    ("item", "values"),
    [
        (Choice(["a", 1]), ["b", True, None, [1]]),
        (Integer(0, 10, step=5), [1, 15, -5, 2.5, "5", True, None]),
        (Real(0, 1), [2.0, "0.5", None, False]),
        (Permutation(2), [[0], [0, 0], ["a", 1], [True, False], [0.0, 1.0], 3, None]),
    ],
)
def test_illegal_values_have_no_code(item: Parameter, values: list[Any]) -> None:
    """What is not a value of a parameter becomes NaN, never something near it."""
    assert np.isnan(item.codes(values)).any(axis=1).all()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a", "b"], Choice(["a", "b"])),
        (7, Choice([7])),
        ({"low": 1, "high": 8}, Integer(1, 8)),
        ({"low": 1, "high": 8.0}, Real(1, 8.0)),
        ({"low": 1, "high": 8, "log": True, "when": "a"}, Integer(1, 8, log=True, when="a")),
        ({"ordinal": [8, 16]}, Ordinal([8, 16])),
        ({"permutation": 3}, Permutation(3)),
    ],
)
def test_parameter_reads_what_a_study_file_writes(given: Any, expected: Parameter) -> None:
    """Lists, scalars and tables become the parameter they name."""
    assert parameter(given, where="vary.x") == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low": 1}, "vary.x: expected low and high, or a list"),
        ({"low": 1, "hihg": 2}, "vary.x: unknown key 'hihg' \\(nearest: 'high'\\)"),
        ({"low": 1.0, "high": 2.0, "step": 1}, "vary.x: Real does not take this"),
        ({"low": "1", "high": 2}, "vary.x: Real.low: expected a finite number, found '1'"),
    ],
)
def test_parameter_refuses_with_the_place(given: Any, message: str) -> None:
    """A table that is no parameter is refused with its place and the nearest key."""
    with pytest.raises(SpecificationError, match=message):
        parameter(given, where="vary.x")
