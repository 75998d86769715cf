"""Figures of a front, of one design's panels, and of a single line of progress."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from archwright.explain.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    RED,
    SKY,
    finish,
    safe,
)
from archwright.explain.front import Direction
from archwright.search import amounts

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from archwright.search.panels import Bars, Roofline, Strips

__all__ = [
    "bars",
    "pareto_front",
    "roofline",
    "strips",
]


def pareto_front(
    x: ArrayLike,
    y: ArrayLike,
    *,
    labels: Sequence[str] | None = None,
    feasible: ArrayLike | None = None,
    on_front: ArrayLike | None = None,
    chosen: int | None = None,
    x_axis: str = "",
    y_axis: str = "",
    hover: Sequence[str] | None = None,
    x_better: Direction = "minimize",
) -> go.Figure:
    """Draw designs over two metrics, the front as a staircase, the chosen design marked.

    Args:
        x, y: shape (n,), as people read them. Points with a NaN are not drawn.
        labels: n short names drawn beside points; empty for none.
        feasible, on_front: shape (n,); every design feasible and none on the front if absent.
        chosen: row of the chosen design.
        x_axis, y_axis: names of the axes with units.
        hover: n texts, lines separated by a newline.
        x_better: which way along x is better; the staircase runs through what is attained.
    """
    import plotly.graph_objects as go

    across, up = np.asarray(x, float), np.asarray(y, float)
    n = len(across)
    known = np.isfinite(across) & np.isfinite(up)
    fine = np.ones(n, bool) if feasible is None else np.asarray(feasible, bool)
    front = np.zeros(n, bool) if on_front is None else np.asarray(on_front, bool)
    front = front & known & fine
    names = [_lines(label) for label in labels] if labels else [""] * n
    notes = (
        [safe(text).replace("\n", "<br>") for text in hover]
        if hover
        else [
            f"{safe(x_axis)}: {a:.4g}<br>{safe(y_axis)}: {b:.4g}"
            for a, b in zip(across, up, strict=True)
        ]
    )
    named = np.array([bool(name) for name in names], bool)
    kept = front | named
    if chosen is not None:
        kept[chosen] = True
    spans = (
        _window(across[known], across[known & kept], 0.14 if named.any() else 0.05),
        _window(up[known], up[known & kept], 0.2 if named.any() else 0.05),
    )

    def points(rows: Any, name: str, **style: Any) -> Any:
        picked = rows.tolist()
        return go.Scatter(
            x=across[rows].tolist(),
            y=up[rows].tolist(),
            name=name,
            hovertext=[notes[row] for row in picked],
            hoverinfo="text",
            cliponaxis=False,
            **style,
        )

    figure = go.Figure()
    rows = np.flatnonzero(known & ~fine)
    if len(rows):
        marker = {"symbol": "x-thin", "size": 6, "line": {"color": GREY, "width": 1}}
        figure.add_trace(
            points(rows, "breaks a limit", mode="markers", marker=marker, opacity=0.55)
        )
    rows = np.flatnonzero(known & fine & ~front)
    if len(rows):
        marker = {"size": 6, "color": GREY}
        figure.add_trace(points(rows, "dominated", mode="markers", marker=marker, opacity=0.5))
    rows = np.flatnonzero(front)
    rows = rows[np.lexsort((up[rows], across[rows]))]
    if len(rows):
        figure.add_trace(
            points(
                rows,
                "front",
                mode="lines+markers",
                line={
                    "color": BLUE,
                    "width": 2,
                    "shape": "hv" if x_better == "minimize" else "vh",
                },
                marker={"size": 9, "color": BLUE},
            )
        )
    if chosen is not None and known[chosen]:
        marker = {"symbol": "diamond", "size": 16, "color": RED}
        figure.add_trace(
            points(
                np.array([chosen]),
                "chosen",
                mode="markers",
                marker=marker,
                showlegend=not names[chosen],
            )
        )
    for row in range(n):
        if names[row] and known[row]:
            strong = row == chosen
            place = _label_place(row, names[row], across, up, front, known & fine, spans, x_better)
            figure.add_annotation(
                x=float(across[row]),
                y=float(up[row]),
                text=f"<b>{names[row]}</b>" if strong else names[row],
                showarrow=False,
                align="right" if place[0] < 0 else "left",
                yshift=8 * place[1],
                xshift=8 * place[0],
                yanchor="bottom" if place[1] > 0 else "top",
                xanchor="right" if place[0] < 0 else "left",
                font={"size": 13 if strong else 12, "color": RED if strong else BLUE},
            )
    figure.update_xaxes(title=safe(x_axis), range=spans[0])
    figure.update_yaxes(title=safe(y_axis), range=spans[1])
    return finish(figure, height=440)


def bars(panel: Bars) -> go.Figure:
    """Draw a bar panel: horizontal bars with their values written beside them."""
    import plotly.graph_objects as go

    colors = (BLUE, ORANGE, GREEN, SKY, PINK, RED)
    labels = [safe(label) for label in panel.labels]
    figure = go.Figure()
    last = len(panel.series) - 1
    for number, (name, values) in enumerate(panel.series.items()):
        figure.add_trace(
            go.Bar(
                x=[None if np.isnan(value) else float(value) for value in values],
                y=labels,
                name=safe(name),
                orientation="h",
                marker={"color": colors[number % len(colors)], "cornerradius": 3},
                text=[_amount(float(value), panel.unit) for value in values],
                # of a stack, the last is written beside it, where there is always room
                textposition="inside" if panel.stacked and number < last else "outside",
                textangle=0,
                cliponaxis=False,
                hoverinfo="text",
            )
        )
    thick = 1 if panel.stacked else len(panel.series)
    legend = len(panel.series) > 1
    figure.update_layout(
        barmode="stack" if panel.stacked else "group",
        bargap=0.35,
        showlegend=legend,
        margin={"t": 44 if legend else 8, "r": 90},
        legend={"traceorder": "normal"},
    )
    figure.update_xaxes(visible=False, rangemode="tozero")
    figure.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=8, ticks="")
    return finish(figure, height=60 + 44 * legend + len(labels) * (20 + 26 * thick))


def roofline(panel: Roofline) -> go.Figure:
    """Draw operators under a roofline, both axes logarithmic; a larger mark takes more time."""
    import plotly.graph_objects as go

    figure = go.Figure()
    intensity = np.asarray(panel.intensity, float)
    attained = np.asarray(panel.attained_ops_s, float)
    share = np.asarray(panel.share, float)
    peaks = dict(sorted(panel.peaks_ops_s.items(), key=lambda item: item[1]))
    ridge = max(peaks.values()) / panel.bandwidth_bytes_s
    low = min(float(intensity.min(initial=1.0)), 1.0) / 2
    high = max(float(intensity.max(initial=1.0)), ridge) * 4
    for name, peak in peaks.items():
        corner = peak / panel.bandwidth_bytes_s
        figure.add_trace(
            go.Scatter(
                x=[low, corner, high],
                y=[low * panel.bandwidth_bytes_s / 1e12, peak / 1e12, peak / 1e12],
                mode="lines",
                line={"color": GREY, "width": 1.5},
                hoverinfo="skip",
                showlegend=False,
            )
        )
        figure.add_annotation(
            x=np.log10(high), y=np.log10(peak / 1e12), text=safe(f"{name} peak"),
            showarrow=False, xanchor="right", yanchor="bottom", font={"color": GREY, "size": 12},
        )  # fmt: skip
    groups = np.asarray(panel.groups, dtype=object)
    for color, group in zip((BLUE, ORANGE, GREEN), dict.fromkeys(panel.groups), strict=False):
        at = np.flatnonzero(groups == group)
        figure.add_trace(
            go.Scatter(
                x=intensity[at],
                y=attained[at] / 1e12,
                mode="markers",
                name=safe(group),
                marker={"color": color, "size": 7 + 30 * np.sqrt(share[at]), "opacity": 0.75},
                text=[
                    safe(f"{panel.names[i]}, {group}: {share[i]:.0%} of the time")
                    for i in at.tolist()
                ],
                hovertemplate="%{text}<br>%{x:.3g} operations a byte, %{y:.4g} TFLOP/s"
                "<extra></extra>",
            )
        )
    figure.update_xaxes(type="log", title="operations a byte", range=np.log10([low, high]))
    figure.update_yaxes(type="log", title="TFLOP/s")
    return finish(figure, height=420)


def strips(panel: Strips) -> go.Figure:
    """Draw groups of values as points side by side, with a line of reference."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, values in panel.groups.items():
        label = safe(name)
        figure.add_trace(
            go.Scatter(
                x=[label] * len(values),
                y=list(values),
                mode="markers",
                marker={"color": BLUE, "size": 9, "opacity": 0.55},
                hovertemplate=f"{label}: %{{y:.5g}}<extra></extra>",
                showlegend=False,
            )
        )
    if panel.reference is not None:
        figure.add_hline(
            y=panel.reference,
            line={"color": RED, "dash": "dot", "width": 1.5},
            annotation={"text": safe(panel.reference_name), "font": {"color": RED}},
        )
    figure.update_yaxes(title=safe(panel.unit))
    return finish(figure, height=380)


def _label_place(
    row: int,
    name: str,
    x: Any,
    y: Any,
    front: Any,
    fine: Any,
    spans: tuple[list[float] | None, list[float] | None],
    x_better: Direction,
) -> tuple[int, int]:
    """The corner of a point at which its label hides least: line, front, then other designs."""
    lines = name.split("<br>")
    size = (0.021 * max(map(len, lines)) + 0.02, 0.045 * len(lines) + 0.02)  # on a narrow screen
    (across, at), (up, level) = (
        _unit(values, row, span, fine) for values, span in zip((x, y), spans, strict=True)
    )
    rows = np.flatnonzero(front)
    rows = rows[np.lexsort((up[rows], across[rows]))]
    line = [np.empty((0, 2))]
    for a, b in itertools.pairwise(rows):
        corner = (across[b], up[a]) if x_better == "minimize" else (across[a], up[b])
        for start, end in (((across[a], up[a]), corner), (corner, (across[b], up[b]))):
            line.append(np.linspace(start, end, 25))
    path = np.concatenate(line)
    drawn = np.column_stack((across, up))
    best, least = (1, 1), np.inf
    for right in (1, -1):
        for above in (1, -1):
            low = (at if right > 0 else at - size[0], level if above > 0 else level - size[1])

            def hidden(points: Any, low: tuple[float, float] = low) -> int:
                inside = (points > low) & (points < (low[0] + size[0], low[1] + size[1]))
                return int(inside.all(axis=1).sum())

            outside = (
                max(0.0, -low[0]) + max(0.0, low[0] + size[0] - 1.05)
                + max(0.0, -low[1]) + max(0.0, low[1] + size[1] - 1.1)
            )  # fmt: skip
            bad = 1e4 * outside + 20 * hidden(drawn[front]) + 4 * hidden(path)
            bad += hidden(drawn[fine & ~front])
            if bad < least:
                best, least = (right, above), bad
    return best


def _unit(values: Any, row: int, span: list[float] | None, fine: Any) -> tuple[Any, float]:
    """Values, and that of one row, as shares of the axis."""
    low, high = span or (float(values[fine].min()), float(values[fine].max()))
    width = high - low if high > low else 1.0
    shares = (values - low) / width
    return shares, float(shares[row])


def _window(values: Any, kept: Any, before: float) -> list[float] | None:
    """The axis range of the first view: the front with room around it, not what is far from it."""
    if len(kept) < 2 or not kept.max() > kept.min():
        return None
    room = 0.3 * (kept.max() - kept.min())
    low, high = max(values.min(), kept.min() - room), min(values.max(), kept.max() + room)
    return [float(low - before * (high - low)), float(high + 0.05 * (high - low))]


def _lines(label: str) -> str:
    """A label in short lines, broken before a plus or after a comma, for narrow screens."""
    broken = label.replace(" + ", "\n+ ").replace(", ", ",\n") if len(label) > 16 else label
    return safe(broken).replace("\n", "<br>")


def _amount(value: float, unit: str) -> str:
    """A value beside its bar: all bars of a chart keep one unit, so that they compare."""
    if np.isnan(value) or unit == "%":
        return amounts.amount(value, unit)
    return safe(f"{amounts.number(value)} {unit}".rstrip())
