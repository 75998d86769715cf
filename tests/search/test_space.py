"""Parameter spaces: conditions, limits, repair, counting; and what they refuse."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from archwright.errors import SpecificationError
from archwright.search import Choice, Designs, Integer, Ordinal, ParameterSpace, Permutation, Real
from strategies import batches, spaces


@given(batches())
def test_columns_round_trip(designs: Designs) -> None:
    """Columns with None for inactive values give the same designs back."""
    columns = {name: c.tolist() for name, c in designs.space.columns(designs).items()}

    back = designs.space.from_columns(columns)

    assert designs.space.keys(back) == designs.space.keys(designs)
    assert list(back) == list(designs)


@given(spaces(finite=True))
def test_enumerate_equals_brute_force(space: ParameterSpace) -> None:
    """Enumeration gives the distinct masked, allowed designs of the full grid."""
    levels = [item.enumerate() for item in space.parameters.values()]
    grid = np.array([np.concatenate(row) for row in itertools.product(*levels)])
    every = Designs(space, space._mask(grid))
    expected = set(space.keys(every.take(space.contains(every))))

    keys = [key for batch in space.enumerate() for key in space.keys(batch)]

    assert len(keys) == len(expected) == space.size
    assert set(keys) == expected


def test_repair_changes_as_little_as_needed() -> None:
    """A broken design moves one parameter to the nearest value that meets the limit."""
    space = ParameterSpace(
        {"heads": Integer(1, 64), "kv": Integer(1, 8)}, require=["heads % kv == 0"]
    )

    repaired = space.repair(Designs(space, np.array([[31.0, 8.0], [32.0, 8.0], [63.0, 8.0]])))

    assert [dict(d) for d in repaired] == [
        {"heads": 32, "kv": 8},
        {"heads": 32, "kv": 8},
        {"heads": 64, "kv": 8},
    ]


def test_feasible_share_is_that_of_the_limits() -> None:
    """The share of designs under a limit is estimated from a fixed seed."""
    free = ParameterSpace({"a": Integer(1, 4)})
    half = ParameterSpace({"a": Integer(1, 4)}, require=["a <= 2"])

    assert free.feasible_share() == 1.0
    assert half.feasible_share() == half.feasible_share() == pytest.approx(0.5, abs=0.03)
    assert half.size == 2


def test_inactive_parameters_are_none_and_count_once() -> None:
    """Only the branch that is taken has values, and a design is counted once."""
    space = ParameterSpace(
        {"family": Choice(["dense", "moe"]), "experts": Ordinal([8, 16], when="family == 'moe'")}
    )

    designs = [dict(d) for batch in space.enumerate() for d in batch]

    assert designs == [
        {"family": "dense", "experts": None},
        {"family": "moe", "experts": 8},
        {"family": "moe", "experts": 16},
    ]
    assert space.size == 3
    assert not space.contains(Designs(space, np.array([[0.0, 1.0], [1.0, np.nan]]))).any()


def test_size_is_none_where_it_is_infinite_or_too_large_to_count() -> None:
    """A real has no size; a limit over a huge grid is not counted."""
    assert ParameterSpace({"a": Real(0, 1)}).size is None
    assert ParameterSpace({"a": Integer(1, 10**9)}).size == 10**9
    assert ParameterSpace({"a": Integer(1, 10**9)}, require=["a % 2 == 0"]).size is None


def test_designs_are_columns_and_rows() -> None:
    """A batch gives columns by name and hashable, JSON-able rows by number."""
    space = ParameterSpace({"a": Integer(1, 3), "p": Permutation(2), "c": Choice([{"x": 1}])})
    designs = space.from_columns({"a": [1, 3], "p": [[0, 1], [1, 0]], "c": [{"x": 1}] * 2})

    assert designs["a"].tolist() == [1, 3]
    assert designs[-1] == {"a": 3, "p": (1, 0), "c": {"x": 1}}
    assert len({designs[0], designs[1], designs[1]}) == 2
    assert designs[1].to_json() == {"a": 3, "p": [1, 0], "c": {"x": 1}}
    with pytest.raises(IndexError):
        designs[2]
    with pytest.raises(SpecificationError, match="unknown parameter 'aa' \\(nearest: 'a'\\)"):
        designs["aa"]


@pytest.mark.parametrize(
    ("parameters", "require", "message"),
    [
        ({}, [], "a space needs at least one parameter"),
        ({"a": 3}, [], "a: expected a parameter, found 3"),
        ({"a": Integer(0, 3, when="a > 1")}, [], "when: conditions in a circle: a"),
        (
            {"a": Integer(0, 3, when="b > 1"), "b": Integer(0, 3, when="a > 1")},
            [],
            "when: conditions in a circle: a, b",
        ),
        (
            {"family": Choice(["x"]), "b": Integer(0, 3, when="famly == 'x'")},
            [],
            "b.when: in \"famly == 'x'\": unknown name 'famly' \\(nearest: 'family'\\)",
        ),
        ({"heads": Integer(1, 3)}, ["haeds > 1"], "unknown name 'haeds' \\(nearest: 'heads'\\)"),
    ],
)
def test_impossible_spaces_are_refused(parameters: Any, require: list[str], message: str) -> None:
    """Conditions in a circle and unknown names are refused, with the nearest name."""
    with pytest.raises(SpecificationError, match=message):
        ParameterSpace(parameters, require=require)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1], "b": [5]}, "b: 5 is not a value of Integer"),
        ({"a": [1], "b": [None]}, "b: None is not a value of Integer"),
        ({"a": [1]}, "the parameter 'b' has no column"),
        ({"a": [1], "bb": [1]}, "unknown parameter 'bb' \\(nearest: 'b'\\)"),
        ({"a": [1, 2], "b": [1]}, "the column 'b' has 1 values, 'a' 2"),
    ],
)
def test_foreign_columns_are_refused(columns: Any, message: str) -> None:
    """Values and names that are not of the space are refused, never clamped."""
    space = ParameterSpace({"a": Integer(1, 3), "b": Integer(1, 3)})
    with pytest.raises(SpecificationError, match=message):
        space.from_columns(columns)


def test_a_limit_nobody_meets_is_refused() -> None:
    """Sampling under an impossible limit ends with a message, not with nothing."""
    space = ParameterSpace({"a": Integer(0, 3)}, require=["a > 5"])
    with pytest.raises(SpecificationError, match=r"none of .* designs drawn meets \['a > 5'\]"):
        space.sample(np.random.default_rng(0), 1)


def test_a_real_cannot_be_enumerated() -> None:
    """The message names the parameter and the remedy."""
    with pytest.raises(
        SpecificationError, match="ratio: a Real cannot be enumerated; give a list"
    ):
        next(ParameterSpace({"ratio": Real(0, 1)}).enumerate())


def test_a_space_too_large_for_a_float_has_a_size() -> None:
    """Whole numbers have no limit; only a real parameter is infinite."""
    many = ParameterSpace({f"c{i}": Choice([0, 1]) for i in range(1100)})
    assert many.size == 2**1100
    assert ParameterSpace({"order": Permutation(171)}).size == math.factorial(171)
    assert ParameterSpace({"x": Real(0, 1), **many.parameters}).size is None
