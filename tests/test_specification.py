"""Specifications: read from tables, refused with one sentence, varied by path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from archwright.errors import SpecificationError
from archwright.specification import (
    describe,
    from_mapping,
    option,
    paths,
    read_path,
    replace_path,
    to_mapping,
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """An inner specification."""

    ttft_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A specification with every kind of field."""

    rate: float = option(doc="requests", unit="1/s", low=0.0, high=1e6)
    weights: Literal["bf16", "fp8"] = "bf16"
    devices: tuple[str, ...] = option((), choices=["a100", "h100"])
    workers: int = option(1, low=1)
    tied: bool = False
    prices: Mapping[str, float] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


def test_tables_become_dataclasses_and_back() -> None:
    """What is read is what is written, nested tables included; None is left out."""
    table = {
        "rate": 2, "weights": "fp8", "devices": ["h100"], "prices": {"h100": 3.5},
        "limits": {"ttft_s": 0.5},
    }  # fmt: skip
    fleet = from_mapping(Fleet, table)

    assert fleet.limits == Limits(ttft_s=0.5)
    assert isinstance(fleet.rate, float)
    assert to_mapping(fleet) == {**table, "workers": 1, "tied": False}
    assert from_mapping(Fleet, to_mapping(fleet)) == fleet
    assert to_mapping(Fleet(rate=1.0))["limits"] == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rte": 1}, "my.toml: unknown key 'rte' \\(nearest: 'rate'\\)"),
        ({"limits": {"ttft": 1.0}}, "my.toml.limits: unknown key 'ttft' \\(nearest: 'ttft_s'\\)"),
        ({"limits": 3}, "my.toml.limits: expected a table, found 3 \\(int\\)"),
        ({"rate": "2"}, "my.toml.rate: expected a number, found '2' \\(str\\)"),
        ({"rate": True}, "my.toml.rate: expected a number, found True \\(bool\\)"),
        ({"rate": float("nan")}, "my.toml.rate: nan is not a number"),
        ({"rate": -1.0}, "my.toml.rate: -1.0 is below the least, 0.0 1/s"),
        ({"rate": 1e7}, "my.toml.rate: 10000000.0 is above the most, 1000000.0 1/s"),
        ({"weights": "fp16"}, "my.toml.weights: unknown value 'fp16'"),
        ({"devices": "h100"}, "my.toml.devices: expected a list, found 'h100'"),
        ({"devices": ["h10"]}, "my.toml.devices: unknown value 'h10' \\(nearest: 'h100'\\)"),
        ({"workers": 1.0}, "my.toml.workers: expected a whole number, found 1.0 \\(float\\)"),
        ({"tied": 1}, "my.toml.tied: expected true or false, found 1 \\(int\\)"),
        ({"prices": {"h100": "x"}}, "my.toml.prices.h100: expected a number, found 'x'"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    """One sentence names place, value, expectation and the nearest choice."""
    with pytest.raises(SpecificationError, match=message):
        from_mapping(Fleet, {"rate": 1.0} | change, where="my.toml")


def test_a_required_key_is_missed() -> None:
    """A field without a default must be given."""
    with pytest.raises(SpecificationError, match=r"my.toml: the key 'rate' is missing"):
        from_mapping(Fleet, {}, where="my.toml")


def test_paths_are_read_and_replaced() -> None:
    """A dotted path reaches into nested specifications, and replacing checks the value."""
    fleet = Fleet(rate=1.0)

    changed = replace_path(fleet, "limits.ttft_s", 0.25)

    assert read_path(changed, "limits.ttft_s") == 0.25
    assert fleet.limits.ttft_s is None
    assert set(paths(fleet)) >= {"rate", "limits.ttft_s"}
    with pytest.raises(SpecificationError, match=r"'limits.ttft' \(nearest: 'limits.ttft_s'\)"):
        replace_path(fleet, "limits.ttft", 1.0)
    with pytest.raises(SpecificationError, match="workers: 0 is below the least, 1"):
        replace_path(fleet, "workers", 0)
    with pytest.raises(SpecificationError, match=r"unknown path 'rate.x'"):
        read_path(fleet, "rate.x")


def test_describe_lists_fields_with_unit_and_sentence() -> None:
    """Lists and templates get path, type with unit, default and sentence of each field."""
    rows = {row[0]: row[1:] for row in describe(Fleet)}

    assert rows["rate"] == ("float [1/s]", "required", "requests")
    assert rows["workers"][1] == "1"
    assert "limits.ttft_s" in rows
