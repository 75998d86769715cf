"""The exception tree and its standard sentences."""

from __future__ import annotations

import pytest

from archwright import errors


def test_every_error_stands_in_one_tree() -> None:
    """Users catch ArchwrightError; the command line catches UserError."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    kinds = [kind for kind in kinds if isinstance(kind, type)]

    assert all(issubclass(kind, errors.ArchwrightError) for kind in kinds)
    users = {kind.__name__ for kind in kinds if issubclass(kind, errors.UserError)}
    assert users == {
        "UserError", "SpecificationError", "TraceError", "StudyError", "StoreError",
        "MissingExtraError",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "choices", "expected"),
    [
        ("nsga", ["nsga2", "random"], " (nearest: 'nsga2')"),
        ("BF16", ["bf16", "fp8"], " (nearest: 'bf16')"),
        ("zzz", ["bf16"], ""),
        (8, [80, 16], " (nearest: '80')"),
        ("a", [], ""),
    ],
)
def test_nearest(value: object, choices: list[object], expected: str) -> None:
    """The nearest choice is named, whatever its case, and nothing where none is near."""
    assert errors.nearest(value, choices) == expected


def test_unknown_lists_a_dozen_choices() -> None:
    """Long lists are cut, empty ones say none."""
    many = errors.unknown("device", "x", [f"device-{i}" for i in range(20)])

    assert many.endswith("device-11, …")
    assert errors.unknown("device", "x", []) == "unknown device 'x'; known: none"


def test_a_missing_extra_has_the_install_command() -> None:
    """The message can be pasted into a shell."""
    text = str(errors.MissingExtraError("the searcher nsga3", "pymoo"))

    assert text == "the searcher nsga3 needs the extra 'pymoo': pip install 'archwright[pymoo]'"
