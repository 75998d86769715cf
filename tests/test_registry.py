"""Names to objects by entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from archwright import registry
from archwright.errors import SpecificationError
from archwright.registry import entries, resolve


def _points(monkeypatch: pytest.MonkeyPatch, *pairs: tuple[str, str]) -> None:
    points = tuple(EntryPoint(name, target, "archwright.searchers") for name, target in pairs)

    def found(_: Any) -> tuple[EntryPoint, ...]:
        return points

    monkeypatch.setattr(registry, "_entry_points", found)


def test_our_searchers_are_registered() -> None:
    """Names are listed sorted and resolved on use."""
    assert {"exhaustive", "nsga2", "random"} <= set(entries("searchers"))
    assert list(entries("searchers")) == sorted(entries("searchers"))
    assert resolve("searchers", "random").__name__ == "RandomSearch"
    assert resolve("searchers", "archwright.search:NSGA2").__name__ == "NSGA2"


def test_two_packages_with_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither wins silently; the same target twice is one entry."""
    _points(monkeypatch, ("mine", "a:A"), ("mine", "b:B"))
    with pytest.raises(
        SpecificationError, match=r"two searchers are named 'mine': a:A of .* and b:B"
    ):
        entries("searchers")
    _points(monkeypatch, ("mine", "a:A"), ("mine", "a:A"))
    assert list(entries("searchers")) == ["mine"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nsg2",
            "unknown searcher 'nsg2' \\(nearest: 'nsga2'\\).* or give 'package.module:object'",
        ),
        ("no_such_module:X", "searcher 'no_such_module:X' cannot be imported: No module named"),
        ("archwright.search:Nsga2", "searcher 'archwright.search:Nsga2': .* no attribute 'Nsga2'"),
    ],
)
def test_unknown_and_broken_names_are_refused(name: str, message: str) -> None:
    """The message names the nearest name, or what failed to import."""
    with pytest.raises(SpecificationError, match=message):
        resolve("searchers", name)


def test_a_broken_entry_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing imports nothing; only asking for the broken one fails."""
    _points(monkeypatch, ("broken", "no_such_module:X"), ("fine", "archwright.search:NSGA2"))

    assert list(entries("searchers")) == ["broken", "fine"]
    assert resolve("searchers", "fine").__name__ == "NSGA2"
    with pytest.raises(SpecificationError, match="'broken' cannot be imported"):
        resolve("searchers", "broken")
