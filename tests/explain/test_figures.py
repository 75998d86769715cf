"""Figures are returned, hold the right points and escape what designs are called."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from archwright.explain import figures
from archwright.explain.figures.style import turns
from archwright.search.panels import Bars
from archwright.search.sweep import Run, SweepResult


def test_pareto_front_splits_designs_into_their_kinds():
    figure = figures.pareto_front(
        [1, 2, 3, 4, np.nan],
        [1, 5, 3, 9, 9],
        labels=["", "<b>two</b>", "", "", ""],
        feasible=[True, True, True, False, True],
        on_front=[True, True, False, False, True],
        chosen=1,
        x_axis="cost <i>",
        y_axis="quality",
    )
    points = {trace.name: list(trace.x) for trace in figure.data}
    assert points == {
        "breaks a limit": [4.0],
        "dominated": [3.0],
        "front": [1.0, 2.0],
        "chosen": [2.0],
    }
    assert figure.layout.annotations[0].text == "<b>&lt;b&gt;two&lt;/b&gt;</b>"
    assert figure.layout.xaxis.title.text == "cost &lt;i&gt;"
    assert next(t for t in figure.data if t.name == "front").line.shape == "hv"


def test_empty_front_is_a_figure():
    assert len(figures.pareto_front([], []).data) == 0


def test_bars_write_their_values():
    panel = Bars(
        title="t",
        labels=["a", "b"],
        series={"s": [3, float("nan")], "u": [1234.5, 0.25]},
        unit="W",
    )
    figure = figures.bars(panel)
    assert [list(trace.text) for trace in figure.data] == [
        ["3 W", "unknown"],
        ["1,234 W", "0.25 W"],
    ]
    assert figure.layout.showlegend


def test_import_needs_neither_plotly_nor_jinja():
    code = (
        "import sys, archwright.explain; sys.exit(bool({'plotly', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_curves_are_thinned_to_their_turns():
    """Flat stretches keep their ends."""
    volumes = np.concatenate((np.zeros(5000), np.ones(5000)))
    assert turns(volumes).tolist() == [0, 5000, 9999]


def sweep_run(searcher: str, setting: int, seed: int, curve: list[float], evaluations=40) -> Run:
    return Run(
        searcher=searcher, setting=setting, options={}, seed=seed, best=curve[-1],
        curve=tuple(curve), evaluations=evaluations, trials=evaluations, seconds=0.0, stopped="",
    )  # fmt: skip


def test_a_sweep_is_drawn_by_the_best_setting_of_each_searcher():
    """Random search dashed; marks before anything feasible are left out."""
    down = np.linspace(9.0, 6.0, 40)
    runs = [sweep_run("<local>", 0, seed, list(down)) for seed in range(3)]
    runs += [sweep_run("<local>", 1, seed, list(down - 4 + seed)) for seed in range(3)]
    late = [np.inf] * 5 + [4.0] * 35
    runs += [sweep_run("random", 0, seed, late) for seed in range(3)]
    figure = figures.against_budget(SweepResult(tuple(runs), "cost <s>"))

    lines = {trace.name: trace for trace in figure.data if trace.mode == "lines"}
    assert set(lines) == {"&lt;local&gt;", "random"}
    assert list(lines["&lt;local&gt;"].y) == list(down - 3)
    assert list(lines["&lt;local&gt;"].x) == list(range(1, 41))
    assert list(lines["random"].x) == list(range(6, 41))
    assert lines["random"].line.dash == "dash"
    assert figure.layout.yaxis.title.text == "cost &lt;s&gt;"


def test_a_seed_without_a_feasible_design_does_not_hide_its_searcher():
    """The median is over all seeds; where it is infinite too, the note says so."""
    never = [np.inf] * 40
    runs = [sweep_run("random", 0, seed, never if seed == 1 else [2.0] * 40) for seed in range(5)]
    runs += [sweep_run("lost", 0, seed, [1.0] * 40 if seed == 1 else never) for seed in range(5)]
    figure = figures.against_budget(SweepResult(tuple(runs), "cost"))
    lines = {trace.name: trace for trace in figure.data if trace.mode == "lines"}
    assert list(lines) == ["random"]
    assert set(lines["random"].y) == {2.0}
    assert "found nothing feasible: lost" in figure.layout.meta["note"]


def test_runs_of_other_lengths_are_read_at_the_same_evaluations():
    """One that ended early keeps its last value."""
    curves = {40: list(np.linspace(9.0, 5.0, 40)), 4: [8.0] * 20 + [7.0] * 20}
    runs = [sweep_run("random", 0, seed, c, n) for seed, (n, c) in enumerate(curves.items())]
    line = figures.against_budget(SweepResult(tuple(runs), "cost")).data[-1]
    assert list(line.x) == list(range(1, 41))
    assert line.y[-1] in (5.0, 7.0)
