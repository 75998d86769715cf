"""Figures of a study's parameters and metrics: parallel coordinates, slices, pairs, importance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError
from archwright.explain.columns import (
    Column,
    evenly,
    known,
    objective,
    objectives,
    parameter,
    parameters,
)
from archwright.explain.figures.style import BLUE, GREY, RED, finish, safe
from archwright.explain.sensitivity import Sensitivity
from archwright.search.study import Result

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["contour", "importance_bars", "parallel_coordinates", "slice_plot"]

_LINES = 250  # designs of one kind in parallel coordinates
_DOTS = 800  # designs in each panel of a slice plot
_PANELS = 12  # panels of a slice plot
_CELLS = 20  # cells of a pair plot along a numeric axis
_LEVELS = 8  # names of levels written on one axis


def importance_bars(sensitivity: Sensitivity, *, most: int = 15) -> go.Figure:
    """Draw the indices of the most important parameters with their intervals and noise floor.

    Args:
        sensitivity: from ``importance``, ``sobol`` or ``morris``.
        most: parameters drawn, at most.
    """
    import plotly.graph_objects as go

    place = {name: i for i, name in enumerate(sensitivity.parameters)}
    names = [n for n in sensitivity.ranked if np.isfinite(sensitivity.index[place[n]])]
    at = [place[name] for name in names[:most]]
    values, low, high = (v[at] for v in (sensitivity.index, sensitivity.low, sensitivity.high))
    labels = [safe(name) for name in names[:most]]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=labels,
            orientation="h",
            marker={"color": BLUE, "cornerradius": 3},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": np.maximum(high - values, 0.0),
                "arrayminus": np.maximum(values - low, 0.0),
                "color": GREY,
                "thickness": 1.2,
                "width": 4,
            },
            name=safe(sensitivity.method),
            hovertemplate="%{y}: %{x:.3g}<extra></extra>",
            showlegend=False,
        )
    )
    floor = sensitivity.floor[at]
    if np.isfinite(floor).any():
        figure.add_trace(
            go.Scatter(
                x=floor,
                y=labels,
                mode="markers",
                name="floor of chance",
                marker={"symbol": "line-ns-open", "size": 16, "color": RED, "line": {"width": 2}},
                hovertemplate="chance reaches %{x:.3g}<extra></extra>",
            )
        )
    titles = {"sobol": "total Sobol index", "morris": "Morris mu*", "forest": "importance"}
    figure.update_xaxes(title=titles.get(sensitivity.method, sensitivity.method))
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    note = sensitivity.note
    if len(names) > most:
        note += f" {most} of {len(names)} parameters are drawn."
    figure.update_layout(showlegend=bool(np.isfinite(floor).any()), meta={"note": note})
    return finish(figure, height=110 + 30 * len(labels))


def parallel_coordinates(
    result: Result, *, columns: Sequence[str] | None = None, most: int = _LINES
) -> go.Figure:
    """Draw designs as lines over parameters and the goal's metrics, the front in color.

    Each axis runs from the least value (or first level) to the greatest; a line is broken where
    a parameter is inactive. A large study is thinned evenly, and the legend says so.

    Args:
        result: the trials of a study; infeasible designs are not drawn.
        columns: parameters and metrics in their order; all parameters and the goal's metrics
            when not given.
        most: designs drawn of the front, and of the others.
    """
    import plotly.graph_objects as go

    if columns is None:
        axes = [*parameters(result), *objectives(result)]
    else:
        axes = [_column(result, name) for name in columns]
    if len(axes) < 2:
        raise SpecificationError(f"parallel_coordinates: needs two columns, found {len(axes)}")
    heights = np.column_stack([_height(axis) for axis in axes])
    feasible = np.asarray(result.column("feasible"), dtype=bool)
    front = np.zeros(len(feasible), dtype=bool)
    front[result.front] = True
    best = result.best()
    trial = result.column("trial")
    figure = go.Figure()

    def lines(rows: Any, name: str, color: str, width: float, opacity: float) -> None:
        drawn = evenly(rows, most)
        if not len(drawn):
            return
        across = np.tile(np.append(np.arange(len(axes), dtype=float), np.nan), len(drawn))
        up = np.column_stack((heights[drawn], np.full(len(drawn), np.nan))).ravel()
        count = f"{len(rows):,}" if len(drawn) == len(rows) else (
            f"{len(drawn):,} of {len(rows):,} drawn")  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=across,
                y=up.round(4),
                mode="lines",
                name=f"{name} ({count})" if len(rows) > 1 else name,
                line={"color": color, "width": width},
                opacity=opacity,
                hoverinfo="skip",
            )
        )

    lines(np.flatnonzero(feasible & ~front), "others", GREY, 0.7, 0.3)
    lines(np.flatnonzero(front), "front", BLUE, 1.0, 0.4)
    if best is not None:
        lines(np.array([best]), f"best, trial {int(trial[best])}", RED, 3, 1.0)
    for i, axis in enumerate(axes):
        figure.add_shape(
            type="line", x0=i, x1=i, y0=0, y1=1, line={"color": "#C6CAD0", "width": 1}
        )
        for height, text in _ticks(axis):
            figure.add_annotation(
                x=i, y=height, text=safe(text), showarrow=False, font={"size": 11, "color": GREY},
                xanchor="left", xshift=3,
            )  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(len(axes))),
        ticktext=[safe(axis.name) for axis in axes],
        range=[-0.4, len(axes) - 0.4],
        showline=False,
        ticks="",
    )
    figure.update_yaxes(visible=False, range=[-0.05, 1.05])
    note = f"{int((~feasible).sum()):,} infeasible designs are not drawn."
    figure.update_layout(showlegend=True, meta={"note": note})
    return finish(figure, height=420)


def slice_plot(
    result: Result, metric: str, *, parameters: Sequence[str] | None = None
) -> go.Figure:
    """Draw a metric over each parameter, one panel each, colored by the number of the trial.

    Args:
        result: the trials of a study; infeasible designs are not drawn.
        metric: a metric, or the name of a combined loss.
        parameters: those to draw; the first 12 when not given.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    every = list(result.schema.parameters)
    names = every[:_PANELS] if parameters is None else list(parameters)
    if not names:
        raise SpecificationError("slice_plot: name at least one parameter")
    column = objective(result, metric)
    good = known(result, column)
    front = np.zeros(len(good), dtype=bool)
    front[result.front] = True
    trial = result.column("trial")
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = make_subplots(
        rows=down, cols=across, shared_yaxes=True, horizontal_spacing=0.03,
        vertical_spacing=0.24 / down,
    )  # fmt: skip
    rng = np.random.default_rng(0)  # only spreads dots of one level sideways
    for i, name in enumerate(names):
        axis = parameter(result, name)
        rows = np.flatnonzero(good & np.isfinite(axis.values))
        kept = rows[front[rows]]
        others = evenly(rows[~front[rows]], _DOTS - min(len(kept), _DOTS // 2))
        drawn = np.union1d(evenly(kept, _DOTS // 2), others).astype(np.intp)
        values = axis.values[drawn]
        if axis.levels:
            values = values + rng.uniform(-0.25, 0.25, len(drawn))
        row, col = divmod(i, across)
        figure.add_trace(
            go.Scatter(
                x=values,
                y=column.values[drawn],
                mode="markers",
                marker={"size": 4.5, "color": trial[drawn], "coloraxis": "coloraxis"},
                customdata=trial[drawn],
                hovertemplate="trial %{customdata}: %{x:.4g}, %{y:.4g}<extra></extra>",
                showlegend=False,
                name=safe(name),
            ),
            row=row + 1,
            col=col + 1,
        )
        figure.update_xaxes(row=row + 1, col=col + 1, **_axis(axis))
        figure.update_yaxes(
            row=row + 1, col=col + 1, type="log" if column.log else "linear",
            title=safe(metric) if col == 0 else None,
        )  # fmt: skip
    figure.update_layout(
        coloraxis={
            "colorscale": "Viridis",
            "colorbar": {"title": {"text": "trial"}, "thickness": 12},
        }
    )
    note = f"{int(good.sum()):,} designs have {metric}"
    note += f"; at most {_DOTS:,} of them a panel are drawn." if good.sum() > _DOTS else "."
    if parameters is None and len(every) > _PANELS:
        note += f" The first {_PANELS} of {len(every)} parameters."
    figure.update_layout(meta={"note": note})
    return finish(figure, height=70 + 210 * down)


def contour(result: Result, x: str, y: str, metric: str) -> go.Figure:
    """Draw a metric over two parameters: its mean over the trials in each cell.

    Cells that no trial fell in stay empty; nothing is interpolated, because what lies between
    the trials of a search was not measured.

    Args:
        result: the trials of a study; infeasible designs are not drawn.
        x, y: two parameters.
        metric: a metric, or the name of a combined loss.
    """
    import plotly.graph_objects as go

    if x == y:
        raise SpecificationError(f"contour: needs two parameters, found {x!r} twice")
    first, second, column = parameter(result, x), parameter(result, y), objective(result, metric)
    good = known(result, column) & np.isfinite(first.values) & np.isfinite(second.values)
    rows = np.flatnonzero(good)
    across, columns = _cells(first.take(rows))
    up, lines = _cells(second.take(rows))
    cell = up * len(columns) + across
    counts = np.bincount(cell, minlength=len(lines) * len(columns))
    values = column.scaled[rows]
    sums = np.bincount(cell, weights=values, minlength=len(counts))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (sums / counts).reshape(len(lines), len(columns))
    shown = 10**means if column.log else means
    figure = go.Figure(
        go.Heatmap(
            x=columns,
            y=lines,
            z=means,
            customdata=np.dstack((shown, counts.reshape(means.shape))),
            colorscale="Viridis",
            reversescale=column.sign > 0,
            colorbar={"title": {"text": safe(("log10 " if column.log else "") + metric)},
                      "thickness": 12},
            hovertemplate="%{customdata[0]:.4g}, mean of %{customdata[1]} designs<extra></extra>",
            hoverongaps=False,
        )
    )  # fmt: skip
    marked = evenly(result.front[good[result.front]], _LINES)
    if len(marked):
        figure.add_trace(
            go.Scatter(
                x=first.values[marked],
                y=second.values[marked],
                mode="markers",
                name="front",
                marker={"symbol": "circle-open", "size": 8, "color": RED, "line": {"width": 1.5}},
                hovertemplate="front: %{x:.4g}, %{y:.4g}<extra></extra>",
            )
        )
    figure.update_xaxes(**_axis(first))
    figure.update_yaxes(showgrid=False, **_axis(second))
    empty = int((counts == 0).sum())
    mean = "geometric mean" if column.log else "mean"
    note = f"{mean.capitalize()} of {len(rows):,} designs in {len(counts) - empty} cells; "
    note += f"{empty} cells without a trial are empty."
    figure.update_layout(showlegend=bool(len(marked)), meta={"note": note})
    return finish(figure, height=420)


def _column(result: Result, name: str) -> Column:
    if name in result.schema.parameters:
        return parameter(result, name)
    return objective(result, name)


def _axis(column: Column) -> dict[str, Any]:
    """The axis of a column: levels by name where there are few, logarithmic where it is wide."""
    axis: dict[str, Any] = {"title": safe(column.name), "nticks": 6}
    if column.log:
        finite = column.values[np.isfinite(column.values)]
        decades = float(np.log10(finite.max() / finite.min()))
        axis |= {"type": "log", "dtick": max(1, round(decades / 4)), "exponentformat": "SI"}
    if column.levels and len(column.levels) <= 2 * _LEVELS:
        axis["tickvals"] = list(range(len(column.levels)))
        axis["ticktext"] = [safe(_short(level)) for level in column.levels]
    return axis


def _cells(column: Column) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Cell of each row along an axis, and the middle of each cell in the axis's own values."""
    values = column.scaled
    distinct = np.unique(values)
    if column.levels or len(distinct) <= _CELLS:
        place = np.searchsorted(distinct, values)
        return place, 10**distinct if column.log else distinct
    edges = np.linspace(distinct[0], distinct[-1], _CELLS + 1)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _CELLS - 1)
    middle = (edges[1:] + edges[:-1]) / 2
    return place, 10**middle if column.log else middle


def _height(column: Column) -> npt.NDArray[np.float64]:
    """Values between 0 and 1 along a vertical axis."""
    values = np.where(np.isfinite(column.values), column.scaled, np.nan)
    if not np.isfinite(values).any():
        return values
    low, high = np.nanmin(values), np.nanmax(values)
    if column.levels:
        low, high = 0.0, float(len(column.levels) - 1)
    return (values - low) / (high - low) if high > low else np.where(np.isnan(values), values, 0.5)


def _ticks(column: Column) -> list[tuple[float, str]]:
    """Height and text of what is written beside a vertical axis."""
    if column.levels:
        count = len(column.levels)
        shown = evenly(np.arange(count), _LEVELS).tolist()
        return [(i / (count - 1) if count > 1 else 0.5, _short(column.levels[i])) for i in shown]
    finite = column.values[np.isfinite(column.values)]
    if not len(finite):
        return []
    low, high = float(finite.min()), float(finite.max())
    return [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")] if high > low else [(0.5, f"{low:.4g}")]


def _short(text: str) -> str:
    return text if len(text) <= 18 else f"{text[:17]}…"
