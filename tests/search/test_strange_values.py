"""Values that NumPy, people and strange environments give: taken as meant, or refused by name."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archwright.errors import EnvironmentFault, SpecificationError
from archwright.search import (
    Budget,
    Choice,
    Goal,
    Integer,
    Measurements,
    Metric,
    ParameterSpace,
    Permutation,
    Processes,
    RandomSearch,
    Real,
    Serial,
    Study,
    environment,
)
from archwright.search.environments import check_measurements, check_metrics
from archwright.search.space import Expression
from archwright.search.study_file import load_study_file
from archwright.testing import ToyEnvironment, toy_environment

METRICS = (Metric("y"),)


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("2 ** n > 1000", {"n": [3, 62, 63, 64, 200]}, [False, True, True, True, True]),
        ("a * b <= 10**15", {"a": [2**32, 10], "b": [2**32, 10]}, [False, True]),
        ("a + b > 0", {"a": [2**62], "b": [2**62]}, [True]),
        ("h % 0 == 0", {"h": [4]}, [False]),
        ("h // k == 2", {"h": [4, 4], "k": [2, 0]}, [True, False]),
        ("h ** -1 < 1", {"h": [4]}, [True]),
        ("(a == 1) + (b == 1) == 1", {"a": [1, 1], "b": [1, 2]}, [False, True]),
    ],
)
def test_arithmetic_neither_wraps_nor_divides_by_zero_to_zero(
    text: str, columns: dict[str, Any], expected: list[bool]
) -> None:
    """A limit forbids what it says, beyond 64 bits and around zero too."""
    arrays = {name: np.array(values) for name, values in columns.items()}
    assert np.asarray(Expression(text)(arrays)).tolist() == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": {"y": [1.0, 2.0]}}, "metrics 'y' as a list of 2; expected a NumPy array"),
        ({"metrics": {"y": np.ones(2, dtype=complex)}}, "of type complex128; expected"),
        ({"metrics": {"y": np.array([2**60, 1])}}, "beyond 2\\*\\*53"),
        ({"low": {"z": np.ones(2)}}, "low of the unknown metric 'z'"),
        ({"low": {"y": np.ones(3)}}, "low 'y' of shape \\(3,\\) for 2 designs"),
        ({"reason": ["a"]}, "1 reasons for 2 designs"),
        ({"feasible": [True, True]}, "feasible' as a list of 2"),
        ({"violation": np.ones(1)}, "violation of shape"),
        ({"cost_s": [1.0, 2.0]}, "cost_s as a list"),
    ],
)
@pytest.mark.parametrize("executor", [Serial, lambda: Processes(1)])
def test_bad_measurements_are_faults_in_every_executor(
    change: dict[str, Any], message: str, executor: Any
) -> None:
    """The message names the field, what it was and what was expected."""

    class Lying(ToyEnvironment):
        metrics = METRICS

        def evaluate(self, designs: Any, **_: Any) -> Measurements:
            return Measurements(**({"metrics": {"y": np.ones(2)}} | change))

    with pytest.raises(EnvironmentFault, match=message):
        check_measurements(Lying().evaluate(None), 2, METRICS)
    study = Study(Lying(), Goal(minimize=["y"]), RandomSearch(), budget=Budget(evaluations=4))
    with pytest.raises(EnvironmentFault, match="evaluate returned"):
        study.run(executor=executor())


@pytest.mark.parametrize("names", [("y", "y"), ("y", "y.low"), ("y", "y.high")])
def test_metrics_that_stand_in_each_others_place_are_refused(names: tuple[str, ...]) -> None:
    """Two of one name, or one named as the interval of another."""
    with pytest.raises(EnvironmentFault, match="rename"):
        check_metrics([Metric(name) for name in names])


def test_numpy_values_are_taken_wherever_numbers_are() -> None:
    """Parameters, budgets, weights and seeds."""
    space = ParameterSpace(
        {
            "a": Integer(np.int64(0), np.int32(9), step=np.int8(3)),
            "b": Choice(np.arange(3)),
            "c": Real(np.float32(0.0), np.float64(1.0)),
            "d": Permutation(np.int64(3)),
        }
    )
    assert ParameterSpace.from_description(space.describe()).size is None
    assert Choice(np.arange(3)) == Choice([0, 1, 2])
    study = Study(
        toy_environment(),
        Goal(minimize=["cost", "time"], combine="weighted_sum", weights={"cost": np.float32(2)}),
        RandomSearch(),
        budget=Budget(evaluations=np.int64(5)),
        seed=np.int64(1),
        window=np.int64(4),
        chunk=np.int64(2),
    )
    assert len(study.run().table) == 5


@pytest.mark.parametrize("value", [Path("a"), len, object()])
def test_values_without_a_plain_form_are_refused_by_name(value: Any) -> None:
    """They could be searched and not stored."""
    with pytest.raises(SpecificationError, match=f"{type(value).__name__} and cannot be stored"):
        Choice(["a", value])


def test_large_spaces_are_enumerated_as_a_stream() -> None:
    """A long range and a long permutation give their first designs at once."""
    first = next(ParameterSpace({"a": Integer(1, 10**9)}).enumerate(100))
    assert first["a"].tolist() == list(range(1, 101))
    orders = next(ParameterSpace({"p": Permutation(171)}).enumerate(4))
    assert [order[-2:] for order in orders["p"]][:2] == [(169, 170), (170, 169)]
    three = next(ParameterSpace({"p": Permutation(3)}).enumerate())
    assert three["p"].tolist() == list(itertools.permutations(range(3)))


def test_enumeration_follows_the_tree_of_conditions() -> None:
    """Ten families of a thousand designs are ten thousand designs."""
    parameters: dict[str, Any] = {"family": Choice(list(range(10)))}
    for i in range(10):
        parameters[f"x{i}"] = Integer(0, 99, when=f"family == {i}")
        parameters[f"y{i}"] = Integer(0, 9, when=f"family == {i}")
    space = ParameterSpace(parameters)
    assert space.size == 10_000
    every = [design for batch in space.enumerate() for design in batch]
    assert len(set(map(repr, every))) == len(every) == 10_000


@dataclass(frozen=True, kw_only=True)
class Attention:
    """A specification."""

    heads: int = 8
    kv_heads: int = 4
    window: int = 1


def _simulate(attention: Attention) -> dict[str, float]:
    return {"y": float(attention.heads)}


def test_varying_anew_keeps_the_limits_of_the_environment() -> None:
    """What is fixed takes part in them with its value."""
    whole = environment(
        _simulate, base=Attention(), metrics=METRICS, require=["heads % kv_heads == 0"],
        vary={"heads": Integer(1, 64), "kv_heads": Integer(1, 8)},
    )  # fmt: skip
    varied = whole.configure({"kv_heads": 8}, vary={"heads": Integer(1, 64)}, folder=Path())
    designs = varied.space.sample(np.random.default_rng(0), 200)
    assert (designs["heads"] % 8 == 0).all()
    assert varied.space.size == 8
    with pytest.raises(SpecificationError, match="does not hold"):
        whole.configure({"heads": 7, "kv_heads": 2}, vary={"window": Integer(1, 4)}, folder=Path())


STUDY = """
format = 1
[environment]
name = "{name}:make"
[goal]
minimize = ["y"]
[searcher]
name = "random"
[budget]
evaluations = 4
"""

MODULE = """
import numpy as np
from archwright.search import Fidelity, Integer, Measurements, Metric, ParameterSpace
class Mine:
    space = ParameterSpace({{"a": Integer(0, 100)}})
    metrics = (Metric("y"),)
    version = "1"
    deterministic = True
    fidelities = (Fidelity("full"),)
    def evaluate(self, designs, **_):
        return Measurements(metrics={{"y": np.full(len(designs), {value})}})
def make():
    return Mine()
"""


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_modules_of_one_name_beside_two_files_are_two(executor: str, tmp_path: Path) -> None:
    """Each study gets the module beside its own file, in workers too."""
    name = f"myenv_{executor}"
    files = []
    for value in (1.0, 2.0):
        folder = tmp_path / str(value)
        folder.mkdir()
        (folder / f"{name}.py").write_text(MODULE.format(value=value))
        (folder / "s.toml").write_text(STUDY.format(name=name))
        files.append(load_study_file(folder / "s.toml", [f"run.executor={executor}"]))
    found = [file.study.run(executor=file.executor()).metric("y")[0] for file in files]
    assert found == [1.0, 2.0]


def test_a_module_that_raises_on_import_is_one_line(tmp_path: Path) -> None:
    """The file, the name and what was raised."""
    (tmp_path / "raising_env.py").write_text("raise ZeroDivisionError('at import')\n")
    (tmp_path / "s.toml").write_text(STUDY.format(name="raising_env"))
    with pytest.raises(SpecificationError, match=r"^[^\n]*raised ZeroDivisionError: at import$"):
        load_study_file(tmp_path / "s.toml")
