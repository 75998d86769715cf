"""Main effects, pairs, and what a report says of them."""

from __future__ import annotations

import csv
import os
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.explain.independence import independence
from archwright.search import Budget, Choice, Goal, Integer, ParameterSpace, RandomSearch, Study
from archwright.testing import ToyEnvironment

DATA = Path(os.environ.get("ARCHWRIGHT_DATA", "../shared/data"))
SWEEP = DATA / "archgym" / "dramsys_sweep.csv"


def factorial() -> dict[str, np.ndarray]:
    """Every combination of a (2), b (3), c (4) and d (2), three times."""
    rows = list(product(range(2), range(3), range(4), range(2))) * 3
    return dict(zip("abcd", np.array(rows).T, strict=True))


def test_an_additive_metric_is_explained_by_main_effects() -> None:
    columns = factorial()
    rng = np.random.default_rng(0)
    value = sum(rng.normal(size=c.max() + 1)[c] for c in columns.values())

    found = independence({**columns, "t": np.exp(value)}, "t")

    assert found.log and found.designs == 144
    assert found.main == pytest.approx(1.0, abs=1e-6)
    assert found.main_held_out == pytest.approx(1.0, abs=1e-6)
    assert all(abs(g.gain) < 1e-6 for g in found.gains) and len(found.gains) == 6
    assert sum(found.effects.values()) == pytest.approx(1.0, abs=1e-6)  # a balanced design
    assert "No pair adds 0.02 or more" in str(found)


def test_a_planted_interaction_is_found_and_its_size_exact() -> None:
    """Against sums of squares of the balanced design, written out."""
    columns = factorial()
    a, c = columns["a"], columns["c"]
    value = 1.0 * a + 0.5 * c + 2.0 * ((a + c) % 2)

    found = independence({**columns, "t": value}, "t", log=False)

    centered = value - value.mean()
    main = sum(
        np.array([centered[column == k].mean() for k in range(column.max() + 1)])[column]
        for column in columns.values()
    )
    r2 = (main**2).sum() / (centered**2).sum()
    assert found.main == pytest.approx(r2, abs=1e-6)
    assert found.pairs == pytest.approx(1.0, abs=1e-6)
    assert found.gains[0].pair == ("a", "c")
    assert found.gains[0].gain == pytest.approx(1 - r2, abs=1e-6)
    assert {g.pair for g in found.gains} == set(combinations("abcd", 2))
    assert "a × c (+" in str(found) and "cannot express" in str(found)


def test_held_out_shows_what_in_sample_hides() -> None:
    """Noise alone is explained in sample by many pairs, and not on designs kept aside."""
    rng = np.random.default_rng(1)
    columns = {f"p{i}": rng.integers(0, 4, 150) for i in range(5)}
    found = independence({**columns, "t": rng.normal(size=150)}, "t")
    assert not found.log and found.pairs > 0.5
    assert found.pairs_held_out < 0.0 and found.main_held_out < 0.1


def test_long_ranges_and_unknown_values() -> None:
    """A number of many values is cut into ranges; a design without the metric is left out."""
    x = np.arange(400) / 7
    value = np.where(np.arange(400) % 10 == 0, np.nan, 1.0 + x)
    found = independence({"x": x, "t": value}, "t")
    assert found.designs == 360 and found.main > 0.95 and found.gains == ()


def test_a_result_of_a_study() -> None:
    space = ParameterSpace({"k": Choice(["x", "y", "z"]), "n": Integer(1, 8)})
    study = Study(
        ToyEnvironment(space=space), Goal(minimize=["cost"]), RandomSearch(),
        budget=Budget(evaluations=24), seed=1,
    )  # fmt: skip
    result = study.run()
    found = independence(result, "cost", log=False)
    assert set(found.effects) == {"k", "n"} and 0 < found.main <= found.pairs + 1e-9
    assert set(independence(result, "cost", log=False, parameters=["n"]).effects) == {"n"}


@pytest.mark.skipif(not SWEEP.exists(), reason=f"no {SWEEP}")
def test_the_parameters_of_a_memory_controller() -> None:
    """Main effects explain most of the time of a trace; pairs the rest."""
    rows = list(csv.DictReader(SWEEP.read_text().splitlines()))
    names = list(rows[0])[1:11]
    leading = set()
    for trace in ("stream.stl", "random.stl", "cloud-1.stl"):
        part = [row for row in rows if row["trace"] == trace]
        columns: dict[str, list[object]] = {name: [row[name] for row in part] for name in names}
        columns["time_ns"] = [float(row["time_ns"]) for row in part]
        found = independence(columns, "time_ns")
        assert found.designs == 1200
        assert 0.6 <= found.main < found.pairs - 0.1
        assert found.main_held_out >= 0.6
        leading |= {g.pair for g in found.gains[:3]}
    assert ("Arbiter", "MaxActiveTransactions") in leading


def test_mistakes() -> None:
    columns = factorial()
    value = np.arange(144.0)
    for changed, metric, options, message in (
        ({"t": value}, "time", {}, "unknown column 'time'"),
        ({"t": value}, "t", {"log": True}, "has values of 0 or less; set log = False"),
        ({"t": value}, "t", {"parameters": ["e"]}, "unknown parameter 'e'"),
        ({"t": np.full(144, 2.0)}, "t", {}, "t: is 2 for every design"),
        ({"t": np.full(144, np.nan)}, "t", {}, "known for 0 designs, expected at least 10"),
        ({"t": value[:9]}, "t", {}, "a: has 144 values, 't' 9"),
    ):
        with pytest.raises(SpecificationError, match=message):
            independence({**columns, **changed}, metric, **options)  # type: ignore[arg-type]
    with pytest.raises(SpecificationError, match="no parameter has two values"):
        independence({"a": np.zeros(20), "t": np.arange(20.0)}, "t", log=False)


def test_an_inactive_number_keeps_the_levels_of_the_active_ones() -> None:
    """y = 1 + 3x where x is active: x explains all, and what switches it on only a part."""
    rng = np.random.default_rng(0)
    on = rng.random(2000) < 0.5
    x = np.where(on, rng.random(2000), np.nan)
    found = independence({"on": on, "x": x, "y": 1.0 + np.where(on, 3.0 * x, 0.0)}, "y", log=False)
    assert found.effects["x"] > 0.95 > 0.8 > found.effects["on"]
