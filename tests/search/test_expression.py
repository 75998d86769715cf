"""Expressions: a small and safe language over columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.search.space import Expression

COLUMNS: dict[str, Any] = {
    "a": np.array([1, 2, 3, 8]),
    "b": np.array([4, 2, 0, 1]),
    "model.kind": np.array(["moe", "dense", "moe", "x"], dtype=object),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + 2 * b", [9, 6, 3, 10]),
        ("a % 2 == 0", [False, True, False, True]),
        ("1 < a <= 3", [False, True, True, False]),
        ("a > b and not b == 1", [False, False, True, False]),
        ("a in [1, 8] or b in (2,)", [True, True, False, True]),
        ("a not in [1, b]", [False, False, True, True]),
        ("a in []", [False] * 4),
        ("model.kind == 'moe'", [True, False, True, False]),
        ("model.kind in ['dense', 'x']", [False, True, False, True]),
        ("log2(a) == floor(log2(a))", [True, True, False, True]),
        ("max(a, b, 3) - min(a, b)", [3, 1, 3, 7]),
        ("-a ** 2 // 2", [-1, -2, -5, -32]),
    ],
)
def test_evaluates_over_whole_columns(text: str, expected: list[Any]) -> None:
    """Arithmetic, comparisons, membership and functions work row by row."""
    found = np.broadcast_to(Expression(text)(COLUMNS), 4)

    assert found.tolist() == expected


@pytest.mark.parametrize("text", ["a / b > 1", "a % b == 0", "a // b == 0", "log(b) > 0"])
def test_a_row_without_an_answer_does_not_hold_up_the_others(text: str) -> None:
    """Division by zero in one row is no error and no warning."""
    assert len(Expression(text)(COLUMNS)) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a <", "limit: 'a <' is no expression"),
        ("", "limit: '' is no expression"),
        ("a = 1", "limit: 'a = 1' is no expression"),
        ("lambda: 1", "'lambda: 1' in 'lambda: 1' is not allowed; use numbers"),
        ("a.__class__.__base__()", "is not allowed"),
        ("(1).__class__", "is not allowed"),
        ("__import__('os')", "unknown function '__import__'"),
        ("a[0]", "'a\\[0\\]' in 'a\\[0\\]' is not allowed"),
        ("[x for x in a]", "is not allowed"),
        ("f'{a}'", "is not allowed"),
        ("a if b else a", "is not allowed"),
        ("a == None", "'None' in 'a == None' is not allowed"),
        ("(a := 1)", "is not allowed"),
        ("a << 40", "is not allowed"),
        ("[1, 2] == a", "is not allowed"),
        ("a in b", "in 'a in b': 'in' needs a list, found 'b'"),
        ("sqrrt(a) > 1", "unknown function 'sqrrt' \\(nearest: 'sqrt'\\)"),
        ("abs(a, a) > 1", "abs does not take 2 arguments"),
        ("max() > 1", "max does not take 0 arguments"),
        ("-" * 5000 + "a", "is no expression"),
    ],
)
def test_everything_else_is_refused(text: str, message: str) -> None:
    """What is not of the language is refused when it is read, before anything runs."""
    with pytest.raises(SpecificationError, match=message):
        Expression(text, where="limit")


def test_attributes_are_only_names() -> None:
    """A dotted name is looked up as a column, never on an object."""
    rule = Expression("a.__class__ == 1", where="limit")

    assert rule.names == ("a.__class__",)
    with pytest.raises(SpecificationError, match=r"unknown name 'a.__class__'"):
        rule.check_names(["a"])


def test_values_that_do_not_fit_are_named() -> None:
    """A text under arithmetic is a message with the expression."""
    with pytest.raises(
        SpecificationError, match=r"limit: 'model.kind < a' does not fit its values"
    ):
        Expression("model.kind < a", where="limit")(COLUMNS)
    with pytest.raises(SpecificationError, match="limit: expected a text, found 3"):
        Expression(3, where="limit")  # type: ignore[arg-type]
