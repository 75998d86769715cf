"""Seeds, generated environments and the contract of measurements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import EnvironmentFault, InfeasibleError, SpecificationError
from archwright.search import Integer, Measurements, Metric, environment
from archwright.search.environments import check_measurements, make_environment
from archwright.search.seeds import trial_seeds


@given(st.integers(0, 2**70), st.integers(1, 200), st.integers(0, 200), st.integers(0, 5))
def test_seeds_do_not_depend_on_the_cut(seed: int, n: int, cut: int, replicate: int) -> None:
    """Seeds of a range are those of its parts, and no two trials share one."""
    whole = trial_seeds(seed, np.arange(n), replicate)
    cut = min(cut, n)
    parts = [
        trial_seeds(seed, np.arange(cut), replicate),
        trial_seeds(seed, np.arange(cut, n), replicate),
    ]

    assert np.array_equal(whole, np.concatenate(parts))
    assert len(np.unique(whole)) == n
    assert not set(whole.tolist()) & set(trial_seeds(seed, np.arange(n), replicate + 1).tolist())
    assert not set(whole.tolist()) & set(trial_seeds(seed + 1, np.arange(n), replicate).tolist())


@dataclass(frozen=True, kw_only=True)
class Cache:
    """An inner specification."""

    ways: int = 4


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A composed specification."""

    cache: Cache = field(default_factory=Cache)
    cores: int = 1


@dataclass(frozen=True)
class Answer:
    """A result with attributes."""

    time_s: float


def simulate(chip: Chip) -> Answer:
    """Simulate a chip of at most 8 ways."""
    if chip.cache.ways > 8:
        raise InfeasibleError(f"{chip.cache.ways} ways do not fit")
    return Answer(1.0 / chip.cores + chip.cache.ways)


def test_a_generated_environment_varies_dotted_paths() -> None:
    """Paths of a composed specification vary; infeasible is an answer with the reason."""
    chip = environment(
        simulate, base=Chip(), vary={"cache.ways": [4, 16], "cores": Integer(1, 4)},
        metrics=[Metric("time_s")],
    )  # fmt: skip
    designs = chip.space.from_columns({"cache.ways": [4, 16], "cores": [2, 2]})

    measured = chip.evaluate(designs, seeds=trial_seeds(0, [0, 1]))

    assert chip.deterministic
    assert measured.metrics["time_s"].tolist() == pytest.approx([4.5, np.nan], nan_ok=True)
    assert list(measured.reason or []) == [None, "16 ways do not fit"]


def test_a_generated_environment_hands_seeds_to_a_seeded_simulator() -> None:
    """A simulator that takes a seed is not deterministic, and gets each design's own."""

    def seeded(chip: Chip, *, seed: int) -> dict[str, float]:
        return {"time_s": float(seed % 1000)}

    chip = environment(seeded, base=Chip(), vary={"cores": [1]}, metrics=[Metric("time_s")])
    seeds = trial_seeds(0, [0, 1])
    measured = chip.evaluate(chip.space.from_columns({"cores": [1, 1]}), seeds=seeds)

    assert not chip.deterministic
    assert measured.metrics["time_s"].tolist() == (seeds % 1000).tolist()


def test_a_generated_environment_refuses_what_it_cannot_vary() -> None:
    """Unknown paths and missing metrics are named with the nearest."""
    with pytest.raises(SpecificationError, match=r"'cache.way' \(nearest: 'cache.ways'\)"):
        environment(simulate, base=Chip(), vary={"cache.way": [1]}, metrics=[Metric("time_s")])
    with pytest.raises(SpecificationError, match="an environment needs at least one"):
        environment(simulate, base=Chip(), vary={"cores": [1]}, metrics=[])
    chip = environment(simulate, base=Chip(), vary={"cores": [1]}, metrics=[Metric("time_ms")])
    with pytest.raises(
        EnvironmentFault, match="result: unknown metric 'time_ms' \\(nearest: 'time_s'\\)"
    ):
        chip.evaluate(chip.space.design({"cores": 1}), seeds=trial_seeds(0, [0]))


def _measured(**changes: Any) -> Measurements:
    return Measurements(**{"metrics": {"a": np.ones(2)}} | changes)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "evaluate returned a NoneType, not Measurements"),
        (_measured(metrics={"b": np.ones(2)}), "evaluate returned no metric 'a'"),
        (
            _measured(metrics={"a": np.ones(2), "b": np.ones(2)}),
            "evaluate returned the unknown metric 'b'",
        ),
        (_measured(metrics={"a": np.ones(3)}), "'a' of shape \\(3,\\) for 2 designs"),
        (_measured(metrics={"a": np.array(["x", "y"])}), "'a' of type <U1; expected a NumPy"),
        (_measured(feasible=np.array([True])), "'feasible' of shape \\(1,\\) for 2 designs"),
        (
            _measured(feasible=np.array([True, False])),
            "design 1 of the batch is infeasible without",
        ),
    ],
)
def test_broken_measurements_are_faults(result: Any, message: str) -> None:
    """What breaks the contract is named at once."""
    with pytest.raises(EnvironmentFault, match=message):
        check_measurements(result, 2, [Metric("a")])


def test_make_environment_names_wrong_options() -> None:
    """An option that a target does not take is refused with the nearest."""

    def target(rate: float = 1.0) -> Any:
        return object()

    options: dict[str, Any] = {"vary": {}, "folder": None, "name": "x"}
    with pytest.raises(SpecificationError, match="unknown key 'rte' \\(nearest: 'rate'\\)"):
        make_environment(target, {"rte": 1}, **options)
    with pytest.raises(SpecificationError, match="'x' is a object and lacks part of the contract"):
        make_environment(target, {"rate": 1.0}, **options)
