"""Figures over one or several studies: convergence, fronts, timeline, the budget of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from archwright.errors import SpecificationError
from archwright.explain.columns import evenly, known, objective, points
from archwright.explain.figures.designs import pareto_front
from archwright.explain.figures.style import (
    BLUE,
    COLORS,
    GREY,
    RED,
    finish,
    safe,
    turns,
)
from archwright.explain.runs import check_goals, goal_columns, progress
from archwright.search.amounts import number
from archwright.search.study import Result

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from archwright.search.sweep import SweepResult

__all__ = ["against_budget", "compare_fronts", "convergence", "front", "timeline"]

_DASHES = ("solid", "dash", "dot", "dashdot")
_POINTS = 400  # points of a curve of the timeline
_EQUALS = 8  # trials of one point that are named
_OFF_FRONT = 2000  # designs off a front that are drawn


def convergence(runs: Result | Mapping[str, Result]) -> go.Figure:
    """Draw the best value so far (one loss) or the hypervolume (several) over the designs.

    Args:
        runs: a study, or names to studies of one goal; hypervolumes share their reference.

    Raises:
        StudyError: the studies do not share a goal.
    """
    import plotly.graph_objects as go

    named = runs if isinstance(runs, Mapping) else {"": runs}
    figure = go.Figure()
    for i, curve in enumerate(progress(named)):
        at = turns(curve.values)
        figure.add_trace(
            go.Scatter(
                x=curve.designs[at],
                y=curve.values[at],
                mode="lines",
                name=safe(curve.name),
                line={"color": COLORS[i % 6], "width": 2, "shape": "hv",
                      "dash": _DASHES[i // 6 % 4]},
                hovertemplate="after %{x} designs: %{y:.4g}<extra>%{fullData.name}</extra>",
                showlegend=len(named) > 1,
            )
        )  # fmt: skip
    columns = goal_columns(named)
    title = "hypervolume" if len(columns) > 1 else f"best {safe(columns[0].name)} so far"
    figure.update_xaxes(title="designs evaluated")
    figure.update_yaxes(title=title)
    if len(columns) == 1 and columns[0].log:
        figure.update_yaxes(type="log")
    figure.update_layout(meta={"note": _reference_note(len(columns))})
    return finish(figure, height=320)


def against_budget(result: SweepResult) -> go.Figure:
    """Draw what each searcher of a sweep has found after so many evaluations, less being better.

    A line is the median over the seeds of a searcher's best setting, its shade the middle half of
    the seeds. Random search is dashed. The axis leaves out what only the first twentieth of the
    budget reaches, or differences that matter would not show.
    """
    import plotly.graph_objects as go

    from archwright.search.sweep import marks

    figure = go.Figure()
    colors = iter(COLORS * len(result.searchers))
    longest = max(run.evaluations for run in result.runs)
    at = np.unique(marks(longest))
    ends: list[float] = []
    nothing = []
    for name in result.searchers:
        setting = int(np.argmin(result.medians(name)))
        runs = [r for r in result.runs if r.searcher == name and r.setting == setting]
        places = [np.searchsorted(marks(r.evaluations), at, side="right") - 1 for r in runs]
        curves = np.array([np.array(r.curve)[p] for r, p in zip(runs, places, strict=True)])
        # of the seeds themselves: one that has nothing feasible yet is infinitely bad
        low, middle, high = np.quantile(curves, [0.25, 0.5, 0.75], axis=0, method="nearest")
        found, whole = np.isfinite(middle), np.isfinite(high)
        if not found.any():
            nothing.append(name)
            continue
        late = found & (at >= 0.05 * longest)
        ends += [*low[late], *np.where(whole, high, middle)[late]]
        color = GREY if name == "random" else next(colors)
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([at[whole], at[whole][::-1]]),
                y=np.concatenate([high[whole], low[whole][::-1]]),
                fill="toself", fillcolor=color, opacity=0.15, line={"width": 0},
                hoverinfo="skip", showlegend=False, legendgroup=name,
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=at[found], y=middle[found], mode="lines", name=safe(name), legendgroup=name,
                line={"color": color, "width": 2, "dash": "dash" if name == "random" else "solid"},
                hovertemplate="after %{x} evaluations: %{y:.5g}<extra>%{fullData.name}</extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(title="unique evaluations", range=[0, longest])
    figure.update_yaxes(title=safe(result.loss))
    if ends and max(ends) > min(ends):
        room = 0.05 * (max(ends) - min(ends))
        figure.update_yaxes(range=[min(ends) - room, max(ends) + room])
    note = "Best setting of each searcher, chosen after the fact; median and middle half of seeds."
    if nothing:
        note += f" Half of the seeds or more found nothing feasible: {', '.join(nothing)}."
    figure.update_layout(meta={"note": note})
    return finish(figure, height=380)


def front(result: Result) -> go.Figure:
    """Draw the designs of a study over the first and the last metric of its goal.

    With more than two losses the front is drawn as points. Designs of equal losses on the front
    are one point with the list of their trials. At most some thousand designs off the
    front are drawn, evenly spread.

    Raises:
        SpecificationError: a goal of one loss.
    """
    names = result.schema.losses
    if len(names) < 2:
        raise SpecificationError("front: a goal of one loss has none; see convergence")
    across, up = objective(result, names[0]), objective(result, names[-1])
    on_front = np.zeros(len(across.values), dtype=bool)
    on_front[result.front] = True
    equals = {rows[0]: rows for rows in points(result).values()}
    others = np.flatnonzero(~on_front)
    drawn = evenly(others, _OFF_FRONT)
    rows = np.union1d(np.array(list(equals), dtype=np.intp), drawn)
    trial = result.column("trial")
    names = [_trials(trial[equals.get(row, [row])].tolist()) for row in rows.tolist()]
    x, y = across.values[rows], up.values[rows]
    figure = pareto_front(
        x,
        y,
        feasible=np.asarray(result.column("feasible"), dtype=bool)[rows],
        on_front=on_front[rows],
        x_axis=across.name,
        y_axis=up.name,
        hover=[
            f"{name}\n{across.name} {number(a)}\n{up.name} {number(b)}"
            for name, a, b in zip(names, x, y, strict=True)
        ],
        x_better="minimize" if across.sign > 0 else "maximize",
    )
    if len(names) > 2:
        figure.update_traces(mode="markers", selector={"name": "front"})
    left = len(others) - len(drawn)
    note = f"{left:,} designs off the front are left out." if left else ""
    return figure.update_layout(meta={"note": note})


def _trials(numbers: list[int]) -> str:
    """The trials of one point: all of few, the first of many."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    more = f" and {len(numbers) - _EQUALS} more" if len(numbers) > _EQUALS else ""
    return f"trials {', '.join(map(str, numbers[:_EQUALS]))}{more}"


def _reference_note(losses: int) -> str:
    if losses == 1:
        return "Infeasible designs count as designs evaluated but not as best."
    return "Losses scaled so that the front of all runs lies between 0 and 1; reference 1.1."


def compare_fronts(
    runs: Mapping[str, Result], *, x: str | None = None, y: str | None = None
) -> go.Figure:
    """Draw the fronts of several studies over two of their metrics.

    With more than two losses a front is drawn as points, since its projection is no staircase.
    Designs of equal values are one point, the first of them.

    Args:
        runs: names to studies of one goal.
        x, y: metrics of the axes; the first and the last of the goal when not given.

    Raises:
        StudyError: the studies do not share a goal.
        SpecificationError: a goal of one loss and no axes named.
    """
    import plotly.graph_objects as go

    check_goals(runs)
    names = next(iter(runs.values())).schema.losses
    if (x is None or y is None) and len(names) < 2:
        raise SpecificationError("compare_fronts: one loss has no front; name the axes x and y")
    across, up = x or names[0], y or names[-1]
    steps = len(names) == 2 and {across, up} == set(names)
    figure = go.Figure()
    for i, (name, result) in enumerate(runs.items()):
        first, second = objective(result, across), objective(result, up)
        rows = result.front[known(result, first)[result.front] & known(result, second)[
            result.front]]  # fmt: skip
        points = np.column_stack([first.values[rows], second.values[rows]])
        rows = rows[np.unique(points, axis=0, return_index=True)[1]]  # equal ones are one point
        figure.add_trace(
            go.Scatter(
                x=first.values[rows],
                y=second.values[rows],
                mode="lines+markers" if steps else "markers",
                name=safe(name),
                line={"color": COLORS[i % 6], "dash": _DASHES[i // 6 % 4],
                      "shape": "hv" if first.sign > 0 else "vh"},
                marker={"color": COLORS[i % 6], "size": 8, "symbol": i % 6},
                customdata=result.column("trial")[rows],
                hovertemplate="trial %{customdata}: %{x:.4g}, %{y:.4g}"
                "<extra>%{fullData.name}</extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(title=safe(across))
    figure.update_yaxes(title=safe(up))
    figure.update_layout(showlegend=True)
    return finish(figure, height=420)


def timeline(result: Result) -> go.Figure:
    """Draw how many trials of each state a study had over its seconds of evaluation.

    A trial's seconds are laid end to end in trial order; with several workers the study took
    less than their sum.

    Args:
        result: the trials, repeats and replicates included.
    """
    import plotly.graph_objects as go

    table: pa.Table = result.table
    seconds = table["seconds"].to_numpy(zero_copy_only=False).astype(np.float64)
    clock = np.cumsum(np.nan_to_num(seconds))
    state = np.asarray(table["state"].to_numpy(zero_copy_only=False))
    figure = go.Figure()
    for name, color in (("complete", BLUE), ("infeasible", RED), ("repeat", GREY)):
        rows = np.flatnonzero(state == name)
        if not len(rows):
            continue
        count = np.arange(1, len(rows) + 1)
        at = evenly(np.arange(len(rows)), _POINTS)
        end = [float(clock[-1])]
        figure.add_trace(
            go.Scatter(
                x=[0.0, *clock[rows][at].tolist(), *end],
                y=[0, *count[at].tolist(), len(rows)],
                mode="lines",
                name=f"{name} ({len(rows):,})",
                line={"color": color, "width": 2, "shape": "hv"},
                hovertemplate="after %{x:.4g} s: %{y}<extra>" + name + "</extra>",
            )
        )
    figure.update_xaxes(title="seconds of evaluation, summed in trial order")
    figure.update_yaxes(title="trials", rangemode="tozero")
    note = f"{len(state):,} rows, {clock[-1] if len(clock) else 0.0:,.3g} s of evaluation in all."
    figure.update_layout(showlegend=True, meta={"note": note})
    return finish(figure, height=300)
