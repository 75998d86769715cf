"""Learned environments: errors on designs left out, diversity, intervals, and beginning there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.search import (
    Budget,
    Choice,
    Goal,
    Integer,
    Metric,
    Ordinal,
    ParameterSpace,
    Permutation,
    RandomSearch,
    Real,
    Result,
    Study,
)
from archwright.search.proxy import features, fit
from archwright.search.searchers import Annealing, AntColony, GeneticGray, LocalSearch
from archwright.search.start import start_designs
from archwright.search.study import load_result
from archwright.search.study_file import load_study_file
from archwright.testing import check_environment, same_trials, toy_environment

TOY = toy_environment()


def run(searcher: object, evaluations: int, folder: Path | None = None, seed: int = 0) -> Result:
    return Study(
        TOY, Goal(minimize=["cost"]), searcher, budget=Budget(evaluations=evaluations),  # type: ignore[arg-type]
        seed=seed, folder=folder,
    ).run()  # fmt: skip


def test_a_proxy_is_an_environment_that_is_near_the_one_it_learned() -> None:
    """It passes the conformance suite, beats the mean, and its intervals cover."""
    proxy = fit(run(RandomSearch(), 600), TOY.space)
    check_environment(proxy, n=6, processes=False)
    for row in proxy.fits:
        assert row.rmse < 0.4 * row.mean_rmse
        assert row.coverage >= 0.75
        assert row.train + row.test <= 600
    rng = np.random.default_rng(5)
    designs = TOY.space.sample(rng, 200)
    seeds = np.zeros(200, dtype=np.uint64)
    truth = TOY.evaluate(designs, seeds=seeds).metrics["cost"]
    found = proxy.evaluate(designs, seeds=seeds)
    assert np.corrcoef(found.metrics["cost"], truth)[0, 1] > 0.95
    inside = (found.low["cost"] <= truth) & (truth <= found.high["cost"])
    assert 0.8 <= inside.mean() <= 1.0
    assert set(found.provenance.values()) == {"learned"}


def test_rows_of_several_searchers_beat_as_many_of_one() -> None:
    """On uniformly drawn designs: a searcher looks where it is good, and nowhere else."""
    one = fit(run(GeneticGray(population=16), 400), TOY.space, metrics=["cost"])
    pooled = fit(
        [run(searcher, 100, seed=i) for i, searcher in enumerate(
            (GeneticGray(population=16), AntColony(), LocalSearch(), Annealing())
        )],
        TOY.space,
        metrics=["cost"],
    )  # fmt: skip
    designs = TOY.space.sample(np.random.default_rng(9), 500)
    seeds = np.zeros(500, dtype=np.uint64)
    truth = TOY.evaluate(designs, seeds=seeds).metrics["cost"]

    def error(proxy: object) -> float:
        found = proxy.evaluate(designs, seeds=seeds).metrics["cost"]  # type: ignore[attr-defined]
        return float(np.sqrt(((found - truth) ** 2).mean()))

    assert error(pooled) < error(one)


def test_designs_are_split_and_repeats_are_one() -> None:
    """The same design in two runs is learned once."""
    once = run(RandomSearch(), 100)
    twice = fit([once, once], TOY.space, metrics=["cost"]).fits[0]
    assert twice == fit(once, TOY.space, metrics=["cost"]).fits[0]
    assert twice.train == 80


def test_features_of_every_kind_of_parameter() -> None:
    """Choices as columns, logarithms where stated, -1 where inactive, permutations by place."""
    space = ParameterSpace(
        {
            "kind": Choice(["x", "y"]),
            "size": Integer(1, 64, log=True),
            "step": Ordinal([1, 2, 4], when="kind == 'x'"),
            "order": Permutation(2),
            "share": Real(0.0, 1.0),
        }
    )
    designs = space.from_columns(
        {"kind": ["x", "y"], "size": [8, 1], "step": [4, None], "order": [(0, 1), (1, 0)],
         "share": [0.5, 0.25]}
    )  # fmt: skip
    found = features(space, designs)
    assert found[:, :2].tolist() == [[1, 0], [0, 1]]
    assert found[:, 2] == pytest.approx([np.log(8), 0.0])
    assert found[:, 3].tolist() == [4, -1]
    assert found.shape == (2, 7) and np.isfinite(found).all()


def test_a_stored_study_says_what_space_it_searched(tmp_path: Path) -> None:
    """Every kind of parameter comes back, limits and conditions too, from memory and from disk."""
    space = ParameterSpace(
        {
            "kind": Choice(["x", "q\"uo'te", True]),
            "size": Integer(1, 64, log=True),
            "step": Ordinal([1, 2, 4], when="kind == 'x'"),
            "order": Permutation(3),
            "share": Real(0.0, 1.0),
            "most": Integer(1, 64),
        },
        require=["size <= most"],
    )
    study = Study(
        toy_environment(space=space), Goal(minimize=["cost"]), RandomSearch(),
        budget=Budget(evaluations=60), folder=tmp_path / "run",
    )  # fmt: skip
    for result in (study.run(), load_result(tmp_path / "run")):
        assert result.space.describe() == space.describe()
        drawn = result.space.sample(np.random.default_rng(0), 20)
        assert result.space.keys(drawn) == space.keys(space.sample(np.random.default_rng(0), 20))
    assert fit(load_result(tmp_path / "run")).space.describe() == space.describe()


def test_too_little_is_refused() -> None:
    """Few designs, an unknown metric."""
    with pytest.raises(SpecificationError, match=r"10 different feasible .*found 5"):
        fit(run(RandomSearch(), 5), TOY.space)
    with pytest.raises(SpecificationError, match=r"metric 'cots' \(nearest: 'cost'\)"):
        fit(run(RandomSearch(), 20), TOY.space, metrics=[Metric("cots")])


STUDY = """
format = 1
[environment]
{environment}
[goal]
minimize = ["cost"]
[searcher]
name = "regularized_evolution"
population = 8
[budget]
evaluations = {evaluations}
"""


def test_search_on_the_proxy_and_verify_on_the_simulator(tmp_path: Path) -> None:
    """A study of a proxy of a run, then a study that begins with its best."""
    toy = 'name = "archwright.testing:toy_environment"'
    first = tmp_path / "first.toml"
    first.write_text(STUDY.format(environment=toy, evaluations=150))
    load_study_file(first).study_in(tmp_path / "first").run()

    cheap = tmp_path / "cheap.toml"
    proxy = 'name = "search/proxy"\nruns = ["first"]\nmetrics = ["cost"]'
    cheap.write_text(STUDY.format(environment=proxy, evaluations=200))
    found = load_study_file(cheap).study_in(tmp_path / "cheap").run()
    assert found.table["metric.cost.low"].null_count == 0

    check = tmp_path / "check.toml"
    check.write_text(
        STUDY.format(environment=toy, evaluations=24)
        + '[start]\nfrom = "cheap"\ndesigns = "best"\nlimit = 4\n'
    )
    study = load_study_file(check).study_in(tmp_path / "check")
    result = study.run()
    expected = start_designs(TOY.space, tmp_path / "cheap", what="best", limit=4)
    asked = result.schema.parameter_columns(result.table.slice(0, 4))
    assert TOY.space.keys(TOY.space.from_columns(asked)) == TOY.space.keys(expected)
    again = load_study_file(check).study_in(tmp_path / "check").run()
    assert same_trials(again.table, result.table)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ('from = "none"', "is no study folder"),
        ('designs = "best"', "'from' is missing"),
        ('from = "run"\ndesigns = "bst"', "unknown choice 'bst'"),
        ('from = "run"\nlimit = 0', "limit: expected at least 1"),
        ('form = "run"', r"\[start\]: unknown key 'form' \(nearest: 'from'\)"),
    ],
)
def test_a_wrong_start_is_one_line(tmp_path: Path, table: str, match: str) -> None:
    """File, key, value and the nearest choice."""
    run(RandomSearch(), 20, tmp_path / "run")
    path = tmp_path / "s.toml"
    toy = 'name = "archwright.testing:toy_environment"'
    path.write_text(STUDY.format(environment=toy, evaluations=8) + f"[start]\n{table}\n")
    with pytest.raises(Exception, match=match):
        load_study_file(path)


def test_designs_outside_the_new_space_are_refused(tmp_path: Path) -> None:
    """And parameters that the old study did not vary."""
    run(RandomSearch(), 40, tmp_path / "run")
    narrow = dict(TOY.space.parameters) | {"layers": Integer(4, 5)}
    with pytest.raises(SpecificationError, match=r"layers: .* is not a value"):
        start_designs(ParameterSpace(narrow), tmp_path / "run", what="all")
    with pytest.raises(SpecificationError, match="unknown parameter 'depth'"):
        start_designs(ParameterSpace({"depth": Integer(1, 9)}), tmp_path / "run")


def test_features_are_as_wide_whatever_is_active() -> None:
    """A permutation that no design of a batch has takes its columns all the same."""
    space = ParameterSpace({"on": Choice([False, True]), "order": Permutation(4, when="on")})
    rows = space.from_columns({"on": [False, True], "order": [None, (2, 0, 1, 3)]})
    both, off = features(space, rows), features(space, rows.take(np.array([0])))
    assert both.shape == (2, 6) and off.shape == (1, 6)


def test_another_way_to_learn_is_another_version() -> None:
    trials = run(RandomSearch(), 60)
    assert fit(trials, seed=0).version != fit(trials, seed=256).version
    assert fit(trials, test=0.2).version != fit(trials, test=0.5).version
