"""Figures of trials hold the right data, say what they leave out, and escape odd names."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from archwright.errors import SpecificationError, StudyError
from archwright.explain import figures, importance
from archwright.search import NSGA2
from explain.environments import additive, mixed, run

GOAL = {"minimize": ["cost"], "maximize": ["quality"]}


@pytest.fixture(scope="module")
def result():
    return run(mixed(), trials=600, **GOAL)


@pytest.fixture(scope="module")
def large():
    return run(mixed(), trials=10_000, **GOAL)


def every_figure(result):
    """Each figure of a study, by name."""
    names = list(result.schema.parameters)
    return {
        "importance_bars": figures.importance_bars(importance(result, "cost")),
        "parallel_coordinates": figures.parallel_coordinates(result),
        "slice_plot": figures.slice_plot(result, "cost"),
        "contour": figures.contour(result, names[0], names[1], "cost"),
        "contour of levels": figures.contour(result, "kind", "depth", "quality"),
        "convergence": figures.convergence({"one": result, "<b>two": result}),
        "compare_fronts": figures.compare_fronts({"one": result, "<b>two": result}),
        "timeline": figures.timeline(result),
    }


def test_every_figure_of_10000_trials_is_drawn_thinned(large) -> None:
    """None holds a point a trial; each can be written as JSON of moderate size."""
    for name, figure in every_figure(large).items():
        assert isinstance(figure, go.Figure), name
        assert len(figure.data) > 0, name
        assert len(figure.to_json()) < 600_000, name
    assert "800 of them a panel are drawn" in figures.slice_plot(large, "cost").layout.meta["note"]
    lines = figures.parallel_coordinates(large)
    assert any("250 of" in trace.name for trace in lines.data)


def test_odd_names_stay_text(result) -> None:
    """Plotly reads a subset of HTML, so that names are escaped."""
    for name, figure in every_figure(result).items():
        text = figure.to_json().replace("\\u003c", "<")
        assert "<b>size" not in text, name
        assert "<i>one" not in text, name
        assert "<b>two" not in text, name


def test_parallel_coordinates_draw_each_design_once(result) -> None:
    """Heights are the values between least and greatest; a line breaks where inactive."""
    figure = figures.parallel_coordinates(result, columns=["count", "depth", "cost"], most=10_000)
    front = next(trace for trace in figure.data if trace.name.startswith("front"))
    heights = np.array(front.y, float).reshape(-1, 4)
    drawn = np.sort(result.front)
    assert len(heights) == len(drawn)
    assert np.isnan(heights[:, 3]).all()
    depth = np.array(result.trials["param.depth"].to_pylist(), float)[drawn]
    assert (np.isnan(heights[:, 1]) == np.isnan(depth)).all()
    cost = result.metric("cost")
    good = cost[np.isfinite(cost)]
    expected = (cost[drawn] - good.min()) / (good.max() - good.min())
    assert np.allclose(heights[:, 2], expected, atol=1e-4)
    others = next(trace for trace in figure.data if trace.name.startswith("others"))
    feasible = int(result.column("feasible").sum())
    assert len(others.y) == 4 * (feasible - len(result.front))


def test_slices_hold_the_values_of_the_trials(result) -> None:
    """x is the parameter, y the metric, the color the trial's number."""
    figure = figures.slice_plot(result, "cost", parameters=["count", "depth"])
    for trace, name in zip(figure.data, ("count", "depth"), strict=True):
        rows = np.array(trace.customdata)
        values = np.array(result.trials[f"param.{name}"].to_pylist(), float)
        assert np.array_equal(trace.x, values[rows])
        assert np.array_equal(trace.y, result.metric("cost")[rows])
    assert figure.layout.xaxis.type == "log"
    assert len(figure.data[1].x) < len(figure.data[0].x)  # depth is not always active


def test_cells_hold_means_and_empty_cells_stay_empty(result) -> None:
    """Means by hand over two categorical axes; the counts sum to the designs."""
    figure = figures.contour(result, "kind", "on", "quality")
    good = result.column("feasible")
    kind = np.array(result.trials["param.kind"].to_pylist())
    on = np.array(result.trials["param.on"].to_pylist())
    quality = result.metric("quality")
    for row, value in enumerate((False, True)):
        for column, level in enumerate(("<i>one", "two")):
            at = good & (kind == level) & (on == value)
            assert figure.data[0].z[row][column] == pytest.approx(quality[at].mean())
            assert figure.data[0].customdata[row][column][1] == at.sum()
    sparse = figures.contour(result, "<b>size", "count", "cost").data[0]
    counts = np.array(sparse.customdata)[..., 1]
    assert counts.sum() == good.sum()
    assert (np.isnan(np.array(sparse.z, float)) == (counts == 0)).all()
    with pytest.raises(SpecificationError, match="'on' twice"):
        figures.contour(result, "on", "on", "cost")


def test_best_so_far_has_the_sign_of_the_metric() -> None:
    """A maximized metric rises, also one below zero."""
    result = run(mixed(), trials=80, maximize=["quality"])
    trace = figures.convergence(result).data[0]
    values = result.metric("quality")
    best = np.fmax.accumulate(values)
    assert trace.y[-1] == np.nanmax(values)
    assert np.array_equal(trace.y, best[np.array(trace.x) - 1], equal_nan=True)
    assert (np.diff(np.array(trace.y)[~np.isnan(trace.y)]) >= 0).all()


def test_fronts_and_hypervolumes_share_their_axes(result) -> None:
    """Both runs are measured by one reference, and their fronts keep the metrics' signs."""
    better = run(mixed(), NSGA2(population=30), trials=600, **GOAL)
    figure = figures.convergence({"random": result, "nsga2": better})
    assert [trace.name for trace in figure.data] == ["random", "nsga2"]
    assert figure.data[1].y[-1] > figure.data[0].y[-1] > 0
    fronts = figures.compare_fronts({"random": result, "nsga2": better})
    for trace, study in zip(fronts.data, (result, better), strict=True):
        distinct = set(study.metric("quality")[study.front].tolist())
        assert sorted(trace.y) == sorted(distinct)  # equal designs are one point
        assert max(trace.y) < 1
    with pytest.raises(StudyError, match="other: has the goal minimize quality"):
        figures.convergence({"random": result, "other": run(mixed(), minimize=["quality"])})
    with pytest.raises(SpecificationError, match="one loss has no front"):
        figures.compare_fronts({"one": run(additive(), trials=20)})


def test_the_timeline_ends_with_all_trials(result) -> None:
    """One line a state; the ends are the counts."""
    figure = figures.timeline(result)
    state = np.array(result.table["state"].to_pylist())
    ends = {trace.name.split(" ")[0]: trace.y[-1] for trace in figure.data}
    assert ends == {name: int((state == name).sum()) for name in np.unique(state)}
    seconds = result.table["seconds"].to_numpy().sum()
    assert figure.data[0].x[-1] == pytest.approx(seconds)


def test_importance_bars_hold_index_interval_and_floor(result) -> None:
    """Most important on top; a thinned chart says so."""
    table = importance(result, "cost")
    figure = figures.importance_bars(table, most=2)
    at = [table.parameters.index(name) for name in table.ranked[:2]]
    bar = figure.data[0]
    assert np.array_equal(bar.x, table.index[at])
    assert np.allclose(bar.x + bar.error_x.array, np.maximum(table.high[at], table.index[at]))
    assert "2 of 5 parameters are drawn" in figure.layout.meta["note"]


def test_unknown_names_are_refused(result) -> None:
    """Each figure names the nearest."""
    with pytest.raises(SpecificationError, match="nearest: 'count'"):
        figures.slice_plot(result, "cost", parameters=["cuont"])
    with pytest.raises(SpecificationError, match="nearest: 'cost'"):
        figures.contour(result, "count", "kind", "cots")
    with pytest.raises(SpecificationError, match="two columns"):
        figures.parallel_coordinates(result, columns=["count"])


@pytest.mark.parametrize("trials", [1, 3])
def test_a_few_trials_are_enough(trials) -> None:
    """Nothing breaks at the start of a study, or where nothing is feasible."""
    for limit in (0.95, -1.0):
        result = run(mixed(limit=limit), trials=trials, **GOAL)
        figures.parallel_coordinates(result)
        figures.slice_plot(result, "cost")
        figures.contour(result, "count", "kind", "cost")
        figures.convergence(result)
        figures.compare_fronts({"a": result})
        figures.timeline(result)


def test_the_front_of_a_study_keeps_the_sign_of_its_metrics(result) -> None:
    """Designs on it as found, others apart, with the trial in the hover."""
    figure = figures.front(result)
    traces = {trace.name: trace for trace in figure.data}
    rows = result.front
    assert set(traces["front"].x) == set(result.metric("cost")[rows])
    assert set(traces["front"].y) == set(result.metric("quality")[rows])
    shown = sum(len(trace.x) for trace in figure.data)
    assert shown == np.isfinite(result.metric("cost") + result.metric("quality")).sum()
    many = run(mixed(), trials=2600, **GOAL)
    drawn = figures.front(many)
    assert sum(len(trace.x) for trace in drawn.data) < len(many.trials)
    left = drawn.layout.meta["note"]
    assert left == f"{2600 - 2000 - len(many.front):,} designs off the front are left out."
    with pytest.raises(SpecificationError, match="a goal of one loss has none"):
        figures.front(run(additive(), trials=20))
