"""The conformance suites accept our parts and strangers' parts, and reject the broken ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from archwright.errors import ArchwrightError, InfeasibleError
from archwright.search import (
    NSGA2,
    Budget,
    Choice,
    Exhaustive,
    Goal,
    Integer,
    Metric,
    Ordinal,
    ParameterSpace,
    Permutation,
    RandomSearch,
    Real,
    Study,
    environment,
)
from archwright.search.store import folder as store_folder
from archwright.search.store import reading as store_reading
from archwright.search.store import tail as store_tail
from archwright.testing import (
    ConformanceError,
    ToyEnvironment,
    check_environment,
    check_searcher,
    check_space,
    check_store,
    toy_environment,
)
from archwright.testing.broken import (
    ENVIRONMENT_FAULTS,
    SEARCHER_FAULTS,
    SPACE_FAULTS,
    STORE_FAULTS,
    BrokenEnvironment,
    BrokenSearcher,
    BrokenSpace,
    broken_store,
)
from strategies import spaces
from testing.subsets import GraphEnvironment, GraphSpace

FINITE = ParameterSpace(
    {
        "kind": Choice(["x", "y", "z"]),
        "size": Integer(1, 20),
        "step": Ordinal([1, 2, 4], when="kind == 'x'"),
    }
)

SPACES: dict[str, ParameterSpace] = {
    "choice": ParameterSpace({"a": Choice(["x", 1, 2.5, True, (1, 2), None])}),
    "ordinal": ParameterSpace({"a": Ordinal([8, 16, 64]), "b": Ordinal([0.5, 1])}),
    "integer": ParameterSpace({"a": Integer(-9, 9, step=3), "b": Integer(1, 2**30, log=True)}),
    "real": ParameterSpace({"a": Real(-1, 1), "b": Real(1e-6, 1e3, log=True), "c": Real(2, 2)}),
    "permutation": ParameterSpace({"a": Permutation(5), "b": Permutation(1)}),
    "conditions": ParameterSpace(
        {
            "a": Choice([True, False]),
            "b": Integer(1, 4, when="a"),
            "c": Permutation(3, when="b >= 2"),
            "d": Choice(["p", "q"], when="not a"),
        }
    ),
    "require": ParameterSpace(
        {"heads": Integer(1, 64), "kv": Integer(1, 8), "wide": Integer(0, 3, when="kv > 2")},
        require=["heads % kv == 0", "heads * kv <= 128"],
    ),
    "toy": toy_environment().space,
    "finite": FINITE,
}


@pytest.mark.parametrize("name", SPACES)
def test_check_space_accepts_every_kind_of_parameter(name: str) -> None:
    """Our spaces pass, a second process included."""
    check_space(SPACES[name])


@given(spaces())
@settings(max_examples=25)
def test_check_space_accepts_arbitrary_spaces(space: ParameterSpace) -> None:
    """Any space that can be stated passes."""
    check_space(space, n=24, processes=False)


def test_check_space_accepts_a_space_that_is_no_parameter_space() -> None:
    """A space of graphs implements the protocol directly and passes."""
    check_space(GraphSpace(4))


@pytest.mark.parametrize("fault", SPACE_FAULTS)
def test_check_space_names_the_broken_clause(fault: str) -> None:
    """Each broken space is rejected under the clause that it breaks."""
    with pytest.raises(ConformanceError, match=SPACE_FAULTS[fault]) as caught:
        check_space(BrokenSpace(fault), processes=fault == "hash")
    assert SPACE_FAULTS[fault] in caught.value.clauses
    assert "likely: " in str(caught.value) or "crashed with" in str(caught.value)


def test_check_space_says_what_is_missing() -> None:
    """An object without the members of a space is told which."""
    with pytest.raises(
        ConformanceError, match=r"the space object breaks 1 clause.*\n.*lacks .*keys"
    ):
        check_space(object())  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Cache:
    """A specification for a generated environment."""

    ways: int = 4
    lines: int = 64


def simulate(cache: Cache, *, seed: int) -> dict[str, float]:
    """Simulate a cache that cannot be built above 48 lines a way."""
    if cache.lines > 48 * cache.ways:
        raise InfeasibleError(f"{cache.lines} lines do not fit {cache.ways} ways")
    noise = np.random.default_rng(seed).normal()
    return {"latency_ns": 1.0 + cache.ways / 8, "misses": 100 / cache.lines + noise}


def generated() -> Any:
    """Return an environment generated from the simulator."""
    return environment(
        simulate,
        base=Cache(),
        vary={"ways": Integer(1, 16), "lines": Ordinal([32, 64, 128, 256])},
        metrics=[Metric("latency_ns", "ns"), Metric("misses")],
    )


ENVIRONMENTS: dict[str, Any] = {
    "toy": lambda: toy_environment(),
    "limit": lambda: toy_environment(limit=1.0),
    "noise": lambda: toy_environment(noise=0.1),
    "fidelities": lambda: toy_environment(noise=0.1, fidelities={"fast": 0.1, "full": 1.0}),
    "generated": generated,
    "graphs": GraphEnvironment,
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_check_environment_accepts_ours_and_strangers(name: str) -> None:
    """Environments by hand, generated, noisy, limited or over graphs pass."""
    check_environment(ENVIRONMENTS[name]())


@pytest.mark.parametrize("fault", ENVIRONMENT_FAULTS)
def test_check_environment_names_the_broken_clause(fault: str) -> None:
    """Each broken environment is rejected under the clause that it breaks."""
    with pytest.raises(ConformanceError, match=ENVIRONMENT_FAULTS[fault]) as caught:
        check_environment(BrokenEnvironment(fault), processes=False)
    assert ENVIRONMENT_FAULTS[fault] in caught.value.clauses


def test_check_environment_warns_where_seeds_have_no_influence() -> None:
    """An environment that could memoize, but says that it is not deterministic, gets a warning."""
    toy = toy_environment()
    toy.deterministic = False

    with pytest.warns(UserWarning, match="deterministic = False, but seeds had no influence"):
        check_environment(toy, processes=False)


def test_check_environment_allows_a_stated_rounding() -> None:
    """A difference within ``rtol`` counts as equal."""

    class Rounding(ToyEnvironment):
        def evaluate(self, designs: Any, **options: Any) -> Any:
            measured = super().evaluate(designs, **options)
            scale = 1.0 + 1e-14 * len(designs)
            measured.metrics["cost"][:] *= scale  # type: ignore[index]
            return measured

    with pytest.raises(ConformanceError, match="cutting or reordering a batch"):
        check_environment(Rounding(), processes=False)
    check_environment(Rounding(), rtol=1e-9, processes=False)


def test_check_searcher_accepts_random_search() -> None:
    """Random search passes, with worker processes too."""
    check_searcher(RandomSearch)


def test_check_searcher_accepts_nsga2() -> None:
    """NSGA-II passes with one objective and with two, and with the smallest population."""
    check_searcher(lambda: NSGA2(population=16))
    check_searcher(lambda: NSGA2(population=2), objectives=(1,), trials=32, processes=False)


def test_check_searcher_accepts_an_exhaustive_search() -> None:
    """A search without a seed passes where ``seeded=False`` says so."""
    toy = ToyEnvironment(space=FINITE)
    check_searcher(Exhaustive, environment=toy, seeded=False, processes=False)

    with pytest.raises(ConformanceError, match="seeds 3 and 4 asked the same"):
        check_searcher(Exhaustive, environment=toy, processes=False)


def test_check_searcher_drives_any_space() -> None:
    """A searcher is checked over a stranger's space and environment."""
    check_searcher(RandomSearch, environment=GraphEnvironment(), processes=False)


@pytest.mark.parametrize("fault", SEARCHER_FAULTS)
def test_check_searcher_names_the_broken_clause(fault: str) -> None:
    """Each broken searcher is rejected under the clause that it breaks."""
    clause = SEARCHER_FAULTS[fault]
    with pytest.raises(ConformanceError) as caught:
        check_searcher(lambda: BrokenSearcher(fault), objectives=(1,), processes=False)
    assert clause in caught.value.clauses


def test_check_store_accepts_the_store() -> None:
    """The store passes with its tail torn at every byte."""
    check_store()


@pytest.mark.parametrize("fault", STORE_FAULTS)
def test_check_store_names_the_broken_clause(fault: str) -> None:
    """Each broken store is rejected under the clause that it breaks."""
    with pytest.raises(ConformanceError) as caught:
        check_store(broken_store(fault), every=97)
    assert STORE_FAULTS[fault] in caught.value.clauses


def test_check_store_needs_the_digest_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not compare the digest of a part is rejected."""

    class Same:
        @staticmethod
        def hexdigest() -> str:
            return "0" * 64

    class Blind:
        @staticmethod
        def sha256(_: bytes) -> Same:
            return Same()

    monkeypatch.setattr(store_folder, "hashlib", Blind)
    monkeypatch.setattr(store_reading, "hashlib", Blind)
    with pytest.raises(ConformanceError, match="a flipped bit in a part is refused"):
        check_store(every=97)


def test_check_store_needs_the_checksum_of_the_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that believes whatever batch Arrow can read is rejected."""
    monkeypatch.setattr(store_tail, "_problem", lambda *_: "")
    with pytest.raises(ConformanceError, match="a flipped bit in the tail is never read as data"):
        check_store(every=7)


def test_conformance_error_is_one_of_ours() -> None:
    """What the suites raise stands in the one exception tree and counts the clauses."""
    error = ConformanceError("the space X", [("a", "b"), ("c", "d")])

    assert isinstance(error, ArchwrightError)
    assert str(error) == "the space X breaks 2 clauses of its contract:\n  - a: b\n  - c: d"


def test_a_study_runs_over_graphs(tmp_path: Any) -> None:
    """Random search over a graph space finds its cheapest graph, and the folder continues."""

    def study() -> Study:
        return Study(
            GraphEnvironment(),
            Goal(minimize=["edges"]),
            RandomSearch(),
            budget=Budget(evaluations=500),
            folder=tmp_path / "graphs",
        )

    result = study().run()

    assert result.stopped.startswith("the space is exhausted")
    assert result.metric("edges").min() == 3
    assert study().run().table.equals(result.table)
