"""The report: one HTML file that answers first, then shows why.

It opens without a network: the figure library, style and data are inside, and a content security
policy in the file forbids every request. Without JavaScript all texts and tables still read.
Equal content gives an equal file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from archwright.errors import SpecificationError
from archwright.explain.columns import evenly
from archwright.explain.front import Direction
from archwright.explain.sections import Section
from archwright.search import amounts
from archwright.search.panels import Bars, Headline, Panel, Roofline, Strips, Table
from archwright.search.store import Disk

__all__ = [
    "Assumption",
    "Front",
    "ReportContent",
    "Unranked",
    "render",
    "write_report",
]

_ASSETS = Path(__file__).parent / "assets"
_DRAWN = 1500  # dominated and infeasible points in the figure, at most
_LISTED = 12  # names of unranked designs, at most
_WIDE = 66  # letters of the longest row of a table that half the page holds
# A number as panels write it: "$6.88", "27.1 %", "1.30 kW", "under 1 %".
_NUMBER = re.compile(r"(under |over )?[−+]?\$?[\d,.]*\d ?(%|/h|[a-zA-Zµ]{1,2}(/s)?)?")
_CHANCE = re.compile(r"(?:(under) )?(\d+) %")
# The only addresses in the bundle that it could ask for or link to.
_OUTSIDE = re.compile(r"https://(?:cdn\.plot\.ly|cloud\.plotly\.com|plotly\.com)[^\"'`\s)]*")


@dataclass(frozen=True, kw_only=True)
class Front:
    """Evaluated designs over two metrics; the arguments of `figures.pareto_front`.

    ``designs`` names each point in the table, by default the first line of ``hover``; ``unknown``
    says where a metric is not known, which is neither dominated nor infeasible.
    """

    x: ArrayLike
    y: ArrayLike
    x_axis: str
    y_axis: str
    feasible: ArrayLike
    on_front: ArrayLike
    chosen: int | None = None
    labels: Sequence[str] = ()
    hover: Sequence[str] = ()
    designs: Sequence[str] = ()
    unknown: ArrayLike | None = None
    x_better: Direction = "minimize"


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """A figure that the answer stands on.

    Attributes:
        what, value: what it is and its value with unit, as text.
        label: how it was obtained, a label of `archwright.provenance`.
        source: where it comes from.
    """

    what: str
    value: str
    label: str
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Unranked:
    """Designs kept apart from the front, such as those of unknown quality."""

    reason: str
    count: int
    designs: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything that a report says, as plain data.

    Attributes:
        title: what was asked.
        answer: the answer in one sentence; further lines are set smaller, below it.
        subtitle: one line below the answer.
        meta: (name, value) pairs, shown as the headline figures where there is no headline.
        headline: what decides, in the place of ``meta``.
        lead: how many of the panels come before the front.
        front: the designs over two metrics.
        panels: what the environment says about the chosen design, in order.
        trade_offs: sentences; what a step costs.
        runner_up: the second choice and when it would win.
        best_per_metric: the best design for each metric.
        unranked: designs listed apart.
        assumptions: what the answer stands on, with provenance.
        sections: what explains the search, in order.
        command: what repeats the study.
        versions: name to version.
    """

    title: str
    answer: str
    subtitle: str = ""
    meta: Sequence[tuple[str, str]] = ()
    headline: Headline | None = None
    lead: int = 0
    front: Front | None = None
    panels: Sequence[Panel] = ()
    trade_offs: Sequence[str] = ()
    runner_up: str = ""
    best_per_metric: Table | None = None
    unranked: Sequence[Unranked] = ()
    assumptions: Sequence[Assumption] = ()
    sections: Sequence[Section] = ()
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def render(content: ReportContent) -> str:
    """Return the report as one self-contained HTML page."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    environment.filters["numeric"] = _numeric
    environment.filters["doubtful"] = _doubtful
    environment.tests["wide"] = _wide
    figures = _figures(content)
    # The bundle is ours, not the reader's: it goes in as it is, without addresses.
    bundle = _OUTSIDE.sub("", (_ASSETS / "plotly-cartesian.min.js").read_text("utf-8"))
    page = environment.get_template("report.html.j2").render(
        content=content,
        answer=content.answer.split("\n"),
        panels=list(enumerate((type(panel).__name__.lower(), panel) for panel in content.panels)),
        figures=figures,
        plotly=Markup(bundle) if figures else "",
        listed=_LISTED,
    )
    return page.rstrip() + "\n"


def write_report(content: ReportContent, path: str | os.PathLike[str]) -> Path:
    """Write the report; a reader sees the old file or the new one, never half of it."""
    target = Path(path)
    Disk().replace(target, render(content).encode())
    return target


def _figures(content: ReportContent) -> dict[str, dict[str, Any]]:
    """Each figure of the page: its data, what it shows in words, its table."""
    from archwright.explain import figures as draw

    views: dict[str, dict[str, Any]] = {}

    def add(name: str, figure: Any, alt: str, table: Table | None, note: str = "") -> None:
        views[name] = {
            "json": _script_safe(figure.to_json()),
            "height": figure.layout.height,
            "alt": alt,
            "table": table,
            "note": note,
        }

    if content.front is not None:
        add("front", *_front_view(content.front))
    for number, panel in enumerate(content.panels):
        if isinstance(panel, Bars):
            series = list(panel.series)
            rows: list[list[str | float | int | None]] = [
                [label, *(panel.series[name][row] for name in series)]
                for row, label in enumerate(panel.labels)
            ]
            unit = f" ({panel.unit})" if panel.unit else ""
            table = Table(title=panel.title, columns=["", *(s + unit for s in series)], rows=rows)
            alt = "; ".join(
                f"{row[0]}: " + ", ".join(_cell(value) for value in row[1:]) for row in rows
            )
            add(f"panel-{number}", draw.bars(panel), f"Bar chart. {alt}", table, panel.note)
        elif isinstance(panel, Roofline):
            add(f"panel-{number}", draw.roofline(panel), *_roofline_view(panel))
        elif isinstance(panel, Strips):
            add(f"panel-{number}", draw.strips(panel), *_strips_view(panel))
    for number, section in enumerate(content.sections):
        if section.figure is not None:
            name = f"section-{number}"
            add(name, section.figure, section.alt, section.table, section.note)
    return views


def _strips_view(panel: Strips) -> tuple[str, Table, str]:
    columns = ["", "values", "least", "median", "most"]
    rows: list[list[str | float | int | None]] = [
        [name, len(v), float(min(v)), float(np.median(v)), float(max(v))]
        for name, v in panel.groups.items()
    ]
    alt = "; ".join(f"{row[0]}: {_cell(row[2])} to {_cell(row[4])}" for row in rows)
    return (
        f"Points of each group. {alt}",
        Table(title=panel.title, columns=columns, rows=rows),
        panel.note,
    )


def _roofline_view(panel: Roofline) -> tuple[str, Table, str]:
    columns = ["operator", "step", "operations a byte", "TFLOP/s", "share of time, %"]
    numbers = zip(panel.intensity, panel.attained_ops_s, panel.share, strict=True)
    rows: list[list[str | float | int | None]] = [
        [name, group, float(x), float(y) / 1e12, 100 * float(s)]
        for name, group, (x, y, s) in zip(panel.names, panel.groups, numbers, strict=True)
    ]
    alt = f"Roofline of {len(rows)} operators: operations a second over operations a byte."
    return alt, Table(title=panel.title, columns=columns, rows=rows), panel.note


def _front_view(front: Front) -> tuple[Any, str, Table, str]:
    from archwright.explain.figures import pareto_front

    x, y = np.asarray(front.x, float), np.asarray(front.y, float)
    n = len(x)
    fine, best = np.asarray(front.feasible, bool), np.asarray(front.on_front, bool)
    labels = list(front.labels) or [""] * n
    hover = list(front.hover) or None
    lengths = [len(y), len(fine), len(best), len(labels), len(hover or x)]
    if lengths != [n] * 5:
        raise SpecificationError(f"a front of {n} designs needs {n} of each, got {lengths}")
    if front.chosen is not None and not 0 <= front.chosen < n:
        raise SpecificationError(f"chosen row {front.chosen} is not among {n} designs")

    named = np.array([bool(label) for label in labels], dtype=bool)
    always = best | named
    if front.chosen is not None:
        always[front.chosen] = True
    rest = np.flatnonzero(~always)
    drawn = evenly(rest, _DRAWN)
    rows = np.sort(np.concatenate((np.flatnonzero(always), drawn)))
    figure = pareto_front(
        x[rows],
        y[rows],
        labels=[labels[row] for row in rows],
        feasible=fine[rows],
        on_front=best[rows],
        chosen=None if front.chosen is None else int(np.searchsorted(rows, front.chosen)),
        x_axis=front.x_axis,
        y_axis=front.y_axis,
        hover=[hover[row] for row in rows] if hover else None,
        x_better=front.x_better,
    )
    unknown = np.zeros(n, bool) if front.unknown is None else np.asarray(front.unknown, bool)
    beaten = int((fine & ~best & ~unknown).sum())
    what = "points" if front.designs else "designs"  # a point may stand for several designs
    counts = f"{n:,} {what}: {int(best.sum()):,} on the front, {beaten:,} dominated, "
    counts += f"{int((~fine & ~unknown).sum()):,} that break a limit"
    counts += f", {int(unknown.sum()):,} not drawn for want of a metric." if unknown.any() else "."
    if len(rows) < n:
        counts += f" {len(drawn):,} of the {len(rest):,} off the front are drawn."
    outside, drawn_at = (
        np.zeros(len(rows), dtype=bool),
        np.isfinite(x[rows]) & np.isfinite(y[rows]),
    )
    for values, axis in ((x[rows], figure.layout.xaxis), (y[rows], figure.layout.yaxis)):
        if axis.range:
            outside |= drawn_at & ((values < axis.range[0]) | (values > axis.range[1]))
    if outside.any():
        counts += f" {int(outside.sum()):,} lie outside this view; a double click shows all."
    order = np.flatnonzero(best)
    order = order[np.lexsort((y[order], x[order]))]
    table = Table(
        title="Designs on the front",
        columns=[front.x_axis, front.y_axis, "design"],
        rows=[
            [float(x[row]), float(y[row]), _name(int(row), front, labels, hover)] for row in order
        ],
    )
    alt = f"Scatter chart of {front.y_axis} over {front.x_axis}. {counts}"
    if front.chosen is not None:
        alt += f" Chosen: {_cell(x[front.chosen])} and {_cell(y[front.chosen])}."
    return figure, alt, table, counts


def _name(row: int, front: Front, labels: Sequence[str], hover: Sequence[str] | None) -> str:
    name = front.designs[row] if front.designs else ""
    name = name or (hover[row].split("\n")[0] if hover else "") or labels[row]
    return f"{name} (chosen)".lstrip() if row == front.chosen else name


def _numeric(table: Table) -> list[bool]:
    """Which columns hold numbers only, with their units or without, and are set flush right."""
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    return [
        any(value is not None for value in column)
        and all(not isinstance(value, str) or _NUMBER.fullmatch(value) for value in column)
        for column in columns
    ]


def _doubtful(value: Any) -> bool:
    """Whether a chance is below nine in ten, as the panels write it."""
    found = _CHANCE.fullmatch(value) if isinstance(value, str) else None
    return found is not None and (found[1] is not None or int(found[2]) < 90)


def _wide(panel: tuple[str, Any]) -> bool:
    """Whether a panel takes the whole width: many columns, or long texts in several."""
    kind, data = panel
    if kind != "table":
        return False
    longest = [
        max((len(_cell(row[i])) for row in data.rows), default=0) for i in range(len(data.columns))
    ]
    return len(data.columns) > 6 or sum(longest) > _WIDE


def _script_safe(text: str) -> str:
    """JSON that can stand inside a script element, whatever its strings hold."""
    json.loads(text)
    return re.sub(r"[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _cell(value: Any) -> str:
    """A table cell as people read it."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return amounts.number(float(value))
