"""Sections of the report and notebook, comparison of runs, and the Optuna journal."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go
import pytest

from archwright.errors import StudyError
from archwright.explain import comparison, comparison_sections, sections, show
from archwright.explain.compose import compose, compose_comparison, diagnosis
from archwright.explain.report import render
from archwright.explain.runs import progress
from archwright.search import (
    NSGA2,
    Budget,
    Choice,
    Goal,
    Integer,
    Ordinal,
    ParameterSpace,
    Permutation,
    RandomSearch,
    Real,
    Study,
)
from archwright.solve.pareto import hypervolume
from explain.environments import Formula, mixed, run

GOAL = {"minimize": ["cost"], "maximize": ["quality"]}


@pytest.fixture(scope="module")
def runs():
    return {
        "<i>random": run(mixed(), trials=300, **GOAL),
        "nsga2": run(mixed(), NSGA2(population=30), trials=300, **GOAL),
    }


def test_the_report_has_every_section(runs) -> None:
    """In order, detailed ones folded, no markup from names."""
    result = runs["nsga2"]
    page = render(compose(result, mixed(), Goal(**GOAL), command="again", title="t"))
    body = page[page.index("<body>") :]
    titles = [
        "What cost depends on", "What quality depends on", "How the search went",
        "More about the search", "cost over count and", "Pairs that act together on cost",
        "cost over each parameter", "Designs in parallel coordinates", "Trials over time",
    ]  # fmt: skip
    places = [body.index(title) for title in titles]
    assert places == sorted(places)
    assert body.count('<details class="more">') == 5
    assert "<b>size" not in body
    assert "<i>one" not in body
    assert len(page.encode()) < 3_000_000


def test_sections_that_cannot_be_are_left_out() -> None:
    """Nothing feasible, or one trial, is no error."""
    nothing = run(mixed(limit=-1.0), trials=30, **GOAL)
    assert [s.title for s in sections(nothing)] == ["Trials over time"]
    few = [s.title for s in sections(run(mixed(), trials=5, **GOAL))]
    assert not any("depends on" in title for title in few)
    assert "Designs in parallel coordinates" in few
    between = [s.title for s in sections(run(mixed(), trials=30, **GOAL))]
    assert any("depends on" in title for title in between)  # enough for importance,
    assert not any("act together" in title for title in between)  # not for pairs


def test_a_run_without_feasible_designs_compares_with_others() -> None:
    """It shows no direction, so the other's is taken; another goal is still refused."""
    goal = {"minimize": ["cost"], "maximize": ["quality"]}
    some, nothing = run(mixed(), trials=40, **goal), run(mixed(limit=-1.0), trials=40, **goal)
    for runs in ({"some": some, "nothing": nothing}, {"nothing": nothing, "some": some}):
        table = comparison(runs)
        assert table.columns[-2:] == ["least cost", "greatest quality"]
        row = dict(zip(table.columns, table.rows[list(runs).index("nothing")], strict=True))
        assert (row["feasible"], row["greatest quality"]) == (0, None)
    with pytest.raises(StudyError, match="only equal goals compare"):
        comparison({"some": some, "other": run(mixed(), trials=40, minimize=["cost", "quality"])})


def test_hypervolumes_have_one_reference(runs) -> None:
    """Scaled by the common front, as computed by hand from all designs."""
    table = comparison(runs)
    losses = {name: r.losses[~np.isnan(r.losses).any(axis=1)] for name, r in runs.items()}
    every = np.concatenate(list(losses.values()))
    front = np.array([p for p in every if not ((every <= p).all(1) & (every < p).any(1)).any()])
    low, high = front.min(axis=0), front.max(axis=0)
    for row, curve in zip(table.rows, progress(runs), strict=True):
        expected = hypervolume((losses[row[0]] - low) / (high - low), [1.1, 1.1])
        assert row[table.columns.index("hypervolume")] == pytest.approx(expected)
        assert curve.values[-1] == pytest.approx(expected)
        assert row[table.columns.index("hypervolume at 50 %")] == curve.values[149]
    cost = table.columns.index("least cost")
    quality = table.columns.index("greatest quality")
    for row in table.rows:
        assert row[cost] == np.nanmin(runs[row[0]].metric("cost"))
        assert row[quality] == np.nanmax(runs[row[0]].metric("quality"))


def test_three_losses_are_followed_by_marks() -> None:
    """The last mark is the whole study."""
    names = ("cost", "quality", "depth_cost")
    result = run(mixed(names), trials=250, minimize=["cost", "depth_cost"], maximize=["quality"])
    curve = progress({"a": result})[0]
    assert len(curve.values) == 100
    assert curve.designs[-1] == 250
    assert (np.diff(curve.values) >= 0).all()
    table = comparison({"a": result})
    assert table.rows[0][4] == pytest.approx(curve.values[-1])


def test_the_comparison_page_names_the_best(runs) -> None:
    """And escapes what runs are called."""
    page = render(compose_comparison(runs, command="archwright compare a b"))
    table = comparison(runs)
    at = table.columns.index("hypervolume")
    name = max(table.rows, key=lambda row: row[at])[0].replace("<", "&lt;").replace(">", "&gt;")
    assert f"{name} has the best hypervolume" in page
    assert "<i>random" not in page
    assert "The fronts" in page
    single = {k: run(mixed(), trials=50, seed=i, maximize=["quality"]) for i, k in enumerate("ab")}
    best = max(np.nanmax(r.metric("quality")) for r in single.values())
    assert (
        f"has the best greatest quality: {best:.4g}"
        in compose_comparison(single, command="").answer
    )
    assert [s.title for s in comparison_sections(single)] == ["The runs", "How the search went"]


def test_studies_show_themselves_in_notebooks(runs, monkeypatch) -> None:
    """A small table for a result, each figure once for show."""
    text = runs["<i>random"]._repr_html_()
    assert "300 designs" in text
    assert "budget of 300 evaluations" in text
    assert "&lt;b&gt;size" in text
    assert "<b>size" not in text
    shown = []
    monkeypatch.setattr(go.Figure, "show", lambda figure: shown.append(figure.layout.title.text))
    show(runs["nsga2"])
    show(runs)
    assert shown[:2] == ["The front", "What cost depends on"]
    assert shown[-2:] == ["The fronts", "How the search went"]
    bundle = comparison_sections(runs)[0]._repr_mimebundle_()
    assert "&lt;i&gt;random" in bundle["text/html"]


def test_a_study_says_what_it_is() -> None:
    """In a cell before it has run, and as text; a result as text is a line, not its table."""
    goal = Goal(minimize=["cost"], subject_to=["cost <= 5"])
    study = Study(mixed(), goal, RandomSearch(), budget=Budget(evaluations=2000), seed=3)
    text = repr(study)
    assert text.startswith("Study(environment: ")
    for part in ("minimize: cost", "subject to: cost <= 5", "searcher: RandomSearch()", "seed: 3"):
        assert part in text
    assert "budget: 2,000 evaluations" in text
    assert "maximize" not in text
    assert "<td>cost &lt;= 5</td>" in study._repr_html_()
    result = run(mixed(limit=-1.0), trials=3, **GOAL)
    assert repr(result) == (
        "Result(3 designs, 0 feasible, 0 on the front; the budget of 3 evaluations is used)"
    )


def test_an_empty_study_shows_itself() -> None:
    """Where nothing is feasible the table has no rows."""
    text = run(mixed(limit=-1.0), trials=3, **GOAL)._repr_html_()
    assert "3 designs, 0 feasible, 0 on the front" in text


def test_large_excesses_are_factors() -> None:
    """1,900 % is not how people read 19 times a limit."""
    for limit, words in ((0.95, "% beyond)"), (0.05, "times the limit beyond)")):
        goal = {"minimize": ["cost"], "subject_to": [f"cost <= {limit}"]}
        result = run(mixed(), trials=60, **goal)
        assert words in diagnosis(result, mixed(), )[0]  # fmt: skip


def every_kind():
    """A space of every kind of parameter, values of mixed types among them."""
    space = ParameterSpace(
        {
            "real": Real(0.0, 1.0),
            "decades": Real(1e-5, 1.0, log=True),
            "whole": Integer(2, 21, step=3),
            "ratio": Integer(1, 4096, log=True),
            "kind": Choice(["a", "b"]),
            "on": Choice([False, True]),
            "mixed": Choice([1, "one", None]),
            "sizes": Ordinal([8, 16, 32]),
            "parts": Choice([0.5, 1]),
            "order": Permutation(3),
            "depth": Integer(1, 8, when="on"),
        }
    )

    def formula(designs):
        values = {"cost": np.asarray(designs["real"]) * 30, "quality": designs["decades"]}
        values["cost"] = np.where(designs["real"] > 0.9, np.nan, values["cost"])
        return values

    return Formula(
        space, formula, ("cost", "quality"), infeasible=lambda d: np.asarray(d["real"]) < 0.1
    )


@pytest.mark.parametrize("with_space", [True, False])
def test_the_optuna_journal_holds_every_trial(tmp_path, with_space) -> None:
    """Loaded by Optuna itself: parameters, values, states, limits, metrics."""
    optuna = pytest.importorskip("optuna")
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from archwright.explain import write_optuna_journal

    environment = every_kind()
    result = run(environment, trials=200, subject_to=["cost <= 20"], **GOAL)
    path = tmp_path / "trials.log"
    path.write_text("old")
    space = environment.space if with_space else None
    assert write_optuna_journal(result, path, name="mine", space=space) == 200
    assert [entry.name for entry in tmp_path.iterdir()] == ["trials.log"]

    study = optuna.load_study(
        study_name="mine", storage=JournalStorage(JournalFileBackend(str(path)))
    )
    assert [d.name for d in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert study.metric_names == ["cost", "quality"]
    rows = result.trials.to_pylist()
    assert len(study.trials) == len(rows)
    for trial, row in zip(study.trials, rows, strict=True):
        expected = {n: row[f"param.{n}"] for n in result.schema.parameters}
        assert trial.params == {n: v for n, v in expected.items() if v is not None}
        assert trial.user_attrs["trial"] == row["trial"]
        measured = math.isfinite(row["metric.cost"])
        assert trial.state.name == ("COMPLETE" if measured else "FAIL")
        if measured:
            assert trial.values == [row["metric.cost"], row["metric.quality"]]
            assert trial.user_attrs["metric.cost"] == row["metric.cost"]
            broken = any(v > 0 for v in trial.system_attrs["constraints"])
            assert broken == (row["metric.cost"] > 20) == (not row["feasible"])
        else:
            assert trial.user_attrs["reason"]
        took = (trial.datetime_complete - trial.datetime_start).total_seconds()
        assert took == pytest.approx(row["seconds"], abs=2e-6)
    ours = {row["trial"] for row in result.trials.take(result.front).to_pylist()}
    assert {trial.user_attrs["trial"] for trial in study.best_trials} == ours
    kinds = study.trials[0].distributions
    if with_space:
        assert kinds["decades"] == optuna.distributions.FloatDistribution(1e-5, 1.0, log=True)
        assert kinds["whole"] == optuna.distributions.IntDistribution(2, 20, step=3)
        assert kinds["kind"].choices == ("a", "b")
        assert kinds["sizes"].choices == (8, 16, 32)


def test_without_optuna_the_extra_is_named(monkeypatch, tmp_path) -> None:
    """One line with the command that installs it."""
    import sys

    from archwright.errors import MissingExtraError
    from archwright.explain import write_optuna_journal

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"archwright\[optuna\]"):
        write_optuna_journal(run(mixed(), trials=5, **GOAL), tmp_path / "x.log")
