"""The lottery: grids, intervals, chance, continuing, and its command."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from archwright.cli import main
from archwright.errors import SpecificationError, StoreError
from archwright.explain.lottery import write_lottery
from archwright.search import Goal
from archwright.search.study import load_result
from archwright.search.sweep import Run, Sweep, SweepResult, default_grid, settings
from archwright.search.sweep.statistics import _holm
from archwright.search.table import TableEnvironment, table_environment
from archwright.testing import toy_environment
from archwright.testing.toys import ToyEnvironment


def table() -> TableEnvironment:
    """Five parameters of six values; the loss is separable with one interaction."""
    rng = np.random.default_rng(0)
    rows = list(itertools.product(range(6), repeat=5))
    weight = rng.normal(size=(5, 6))
    loss = [sum(weight[i, r[i]] for i in range(5)) + 0.3 * np.sin(r[0] * r[3]) for r in rows]
    columns = {f"p{i}": [row[i] for row in rows] for i in range(5)}
    return table_environment(columns, metrics={"loss": np.array(loss)})


def sweep(folder: Path | None = None, **options: object) -> Sweep:
    chosen = {"searchers": {"genetic_gray": {"population": [8, 32], "mutation": [0.001, 0.5]}}}
    return Sweep(
        environment=table(),
        goal=Goal(minimize=["loss"]),
        evaluations=200,
        folder=folder,
        **{"seeds": 4, **chosen, **options},  # type: ignore[arg-type]
    )


def test_a_grid_is_every_combination() -> None:
    """An empty grid is one setting; an empty list is none, and refused."""
    assert settings({}) == [{}]
    assert settings({"a": [1, 2], "b": [3, 4, 5]})[4] == {"a": 2, "b": 4}
    with pytest.raises(SpecificationError, match=r"a: expected a list of values, found \[\]"):
        settings({"a": []})


def test_every_default_grid_can_be_made() -> None:
    """Names and values of the catalogue are those of the searchers."""
    names = [
        "genetic_gray", "ant_colony", "regularized_evolution", "annealing", "local", "genetic",
        "nsga2", "nsga3", "cmaes", "tpe", "gp", "ppo", "portfolio",
    ]  # fmt: skip
    made = Sweep(
        environment=toy_environment(), goal=Goal(minimize=["cost"]), evaluations=10, seeds=1,
        searchers=dict.fromkeys(names),
    )  # fmt: skip
    assert {name for name, *_ in made.plan} == {"random", *names}
    assert len(default_grid("ant_colony")) == 3


def test_runs_are_those_of_ordinary_studies(tmp_path: Path) -> None:
    """Random search is among them; the folder of each holds its trials."""
    result = sweep(tmp_path).run()
    assert result.searchers == ["random", "genetic_gray"]
    assert result.values("genetic_gray").shape == (4, 4)
    run = next(r for r in result.runs if r.searcher == "genetic_gray" and r.setting == 3)
    kept = load_result(tmp_path / "genetic_gray" / "setting-003" / f"seed-{run.seed}")
    assert kept.losses.min() == run.best == run.curve[-1]
    assert len(kept.trials) == run.evaluations <= 200
    rows = list(csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines()))
    assert len(rows) == 20 and json.loads(rows[-1]["options"])["mutation"] == 0.5


def test_memory_folder_and_processes_give_the_same(tmp_path: Path) -> None:
    """And a sweep that was cut off continues with what it has."""
    whole = sweep().run()
    part = Sweep(
        environment=table(), goal=Goal(minimize=["loss"]), evaluations=200, seeds=2,
        searchers={"genetic_gray": {"population": [8, 32], "mutation": [0.001, 0.5]}},
        folder=tmp_path,
    ).run()  # fmt: skip
    again = sweep(tmp_path).run(workers=2)

    def bests(result: SweepResult) -> list[float]:
        return [run.best for run in result.runs]

    assert bests(again) == bests(whole)
    assert set(bests(part)) <= set(bests(whole))


def test_another_sweep_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """A study of another budget is a different study."""
    sweep(tmp_path, seeds=1).run()
    with pytest.raises(StoreError, match="holds a different study: evaluations was 200, is 100"):
        Sweep(
            environment=table(), goal=Goal(minimize=["loss"]), evaluations=100, seeds=1,
            searchers={}, folder=tmp_path,
        ).run()  # fmt: skip


def test_what_is_said_of_a_searcher() -> None:
    """Best, median and worst setting by their medians; random search is its own measure."""
    result = sweep().run()
    medians = result.medians("genetic_gray")
    contests = {c.searcher: c for c in result.contests()}
    own = contests["genetic_gray"]
    assert own.best[0] == medians.min() and own.worst[0] == medians.max()
    assert own.best[1] <= own.best[0] <= own.best[2]
    assert (
        own.options
        == settings({"population": [8, 32], "mutation": [0.001, 0.5]})[int(np.argmin(medians))]
    )
    assert np.isnan(contests["random"].p_best)
    assert 0 < own.p_median <= 1


def test_chance_is_corrected_for_looking_often() -> None:
    """Holm's correction by hand, and a searcher with random's own values finds nothing."""
    assert _holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert _holm([0.5, 0.9]) == [1.0, 1.0]
    result = sweep(searchers={"exhaustive": None}).run()
    assert result.contests()[0].evaluations == 200
    own = [run for run in result.runs if run.searcher == "random"]
    twins = [Run(**(vars(run) | {"searcher": "twin"})) for run in own]
    same = SweepResult(runs=(*own, *twins), loss=result.loss)
    twin = next(contest for contest in same.contests() if contest.searcher == "twin")
    assert (twin.p_best, twin.p_median) == (1.0, 1.0)


def test_several_losses_are_compared_by_hypervolume() -> None:
    """One reference for all runs; what is left out falls along a run."""
    result = Sweep(
        environment=toy_environment(), goal=Goal(minimize=["cost", "time"]), evaluations=100,
        seeds=2, searchers={"nsga2": {"population": [16]}},
    ).run()  # fmt: skip
    assert result.loss.startswith("hypervolume left out")
    for run in result.runs:
        assert 0 <= run.best < 1 and (np.diff(run.curve) <= 1e-12).all()


@pytest.mark.parametrize(
    ("searchers", "match"),
    [
        ({"genetc_gray": None}, "unknown searcher 'genetc_gray'"),
        ({"genetic_gray": {"populaton": [8]}}, r"\[sweep.searchers.genetic_gray\]: .*'populaton'"),
        ({"genetic_gray": {"population": [7]}}, r"\[sweep.searchers.genetic_gray\]: .*population"),
        ({"genetic_gray": {"population": []}}, "expected a list of values"),
    ],
)
def test_a_wrong_sweep_is_one_line(searchers: dict[str, object], match: str) -> None:
    """Before anything runs."""
    with pytest.raises(SpecificationError, match=match):
        sweep(searchers=searchers)


def test_the_command_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table with every searcher, a page with random search in the plot."""
    study = tmp_path / "s.toml"
    study.write_text(
        'format = 1\n[environment]\nname = "archwright.testing:toy_environment"\n'
        '[goal]\nminimize = ["cost"]\n[budget]\nevaluations = 60\n'
        "[sweep]\nseeds = 2\n[sweep.searchers.local]\nclimbs = [1, 2]\n"
    )
    assert main(["sweep", str(study), "--workers", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["searcher"] for row in rows} == {"random", "local"}
    assert main(["sweep", str(study), "--workers", "1"]) == 0
    page = (tmp_path / "runs" / "s-sweep" / "report.html").read_text()
    assert "random search" in page and "local" in page
    assert "Against the budget" in page
    assert main(["sweep", str(study), "--searchers", "lokal"]) == 2
    assert "unknown searcher 'lokal' (nearest: 'local')" in capsys.readouterr().err


def test_a_grid_that_is_no_table_is_refused() -> None:
    with pytest.raises(SpecificationError, match="expected a table of lists, found 3"):
        settings(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("losses", [["cost"], ["cost", "time"]])
def test_a_sweep_without_a_feasible_design(losses: list[str], tmp_path: Path) -> None:
    """Nothing to compare is no crash: every best is infinite, and the page is written."""
    result = Sweep(
        environment=toy_environment(), goal=Goal(minimize=losses, subject_to=["cost <= -1"]),
        evaluations=40, seeds=2, searchers={},
    ).run()  # fmt: skip
    assert [run.best for run in result.runs] == [np.inf, np.inf]
    assert write_lottery(result, tmp_path / "page.html", "nothing").stat().st_size > 10_000


def test_evaluations_of_every_fidelity_count() -> None:
    """A budget that ends before the truest fidelity is still spent."""
    environment = ToyEnvironment(fidelities={"a": 1, "b": 3, "c": 9, "d": 27})
    result = Sweep(
        environment=environment, goal=Goal(minimize=["cost"]), evaluations=20, seeds=1,
        searchers={"hyperband": None},
    ).run()  # fmt: skip
    assert {run.evaluations for run in result.runs} == {20}


def test_a_curve_counts_the_evaluations_of_every_fidelity() -> None:
    """The first design at the truest fidelity comes after the cheap ones."""
    environment = ToyEnvironment(fidelities={"a": 1, "b": 3, "c": 9})
    result = Sweep(
        environment=environment, goal=Goal(minimize=["cost"]), evaluations=120, seeds=1,
        searchers={"hyperband": {}},
    ).run()  # fmt: skip
    run = next(run for run in result.runs if run.searcher == "hyperband")
    assert run.curve[0] == np.inf
    assert run.curve[-1] == run.best < np.inf
    assert all(a >= b for a, b in itertools.pairwise(run.curve))
