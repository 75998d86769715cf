"""The sections that explain a search: one list that the report, a notebook and a page draw."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from archwright.errors import InfeasibleError
from archwright.explain.columns import known, objectives
from archwright.explain.interactions import interactions
from archwright.explain.runs import comparison, progress
from archwright.explain.sensitivity import Sensitivity, importance
from archwright.search.panels import Table
from archwright.search.study import Result

__all__ = ["Section", "comparison_sections", "sections", "show"]

_GOALS = 3  # metrics of the goal whose importance is shown, at most
_BARS = 8  # parameters in a bar chart
_SLICED = 8  # parameters of the slice plot
_AXES = 12  # parameters of the parallel coordinates


@dataclass(frozen=True, kw_only=True)
class Section:
    """A figure or table with what it says.

    Attributes:
        title: heading.
        figure: a Plotly figure, or None where the table is all.
        alt: what the figure shows, in words.
        table: the same as numbers.
        note: what it was made from and what is left out.
        details: whether it is folded away in the report.
    """

    title: str
    figure: Any = None
    alt: str = ""
    table: Table | None = None
    note: str = ""
    details: bool = False

    def _repr_mimebundle_(self, *arguments: Any, **options: Any) -> Any:
        """Draw itself in a notebook."""
        if self.figure is not None:
            return self.figure._repr_mimebundle_(*arguments, **options)
        return {"text/html": _html(self), "text/plain": self.title}


def sections(result: Result) -> list[Section]:
    """Return what explains a study: importance, slices, pairs, progress, timeline.

    A section that the trials cannot carry is left out: the importance of parameters in fewer than
    20 feasible designs, the progress of a search that found nothing feasible.

    >>> from archwright.search import Budget, Goal, RandomSearch, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost", "time"]), RandomSearch(),
    ...               budget=Budget(evaluations=100))
    >>> [section.title for section in sections(study.run())][:2]
    ['What cost depends on', 'What time depends on']
    """
    from archwright.explain import figures

    if not len(result.trials):
        return []
    goals = [c for c in objectives(result) if known(result, c).any()]
    tables = _importance(result, [column.name for column in goals[:_GOALS]])
    found = []
    for table in tables:
        view = figures.importance_bars(table, most=_BARS)
        values = zip(table.parameters, table.index, strict=True)
        size = dict(values)
        alt = "Bar chart. " + ", ".join(f"{n}: {size[n]:.3g}" for n in table.ranked[:6])
        found.append(_section(f"What {table.metric} depends on", view, alt, table.table()))
    if goals:
        found += _parameter_views(result, goals[0].name, tables)
    found += _progress_sections({"": result})
    view = figures.timeline(result)
    found.append(_section("Trials over time", view, "Line chart of trials by state over the "
                          "seconds of evaluation.", None, details=True))  # fmt: skip
    return found


def comparison_sections(runs: Mapping[str, Result]) -> list[Section]:
    """Return what compares studies of one goal: a table, their fronts, their progress.

    Raises:
        StudyError: the studies do not share a goal.
    """
    from archwright.explain import figures

    table = comparison(runs)
    found = [Section(title=table.title, table=table, note=table.note)]
    several = len(next(iter(runs.values())).schema.losses) > 1
    if several and any(len(result.front) for result in runs.values()):
        view = figures.compare_fronts(runs)
        found.append(_section("The fronts", view, f"Fronts of {len(runs)} runs.", None))
    return [*found, *_progress_sections(runs)]


def show(result: Result | Mapping[str, Result]) -> None:
    """Show the front and every section of a study, or the comparison of several.

    Plotly's renderer draws: in a notebook the figures appear below the cell, elsewhere a browser
    opens.

    Args:
        result: a study, or names to studies of one goal.
    """
    from archwright.explain import figures

    found = comparison_sections(result) if isinstance(result, Mapping) else sections(result)
    if not isinstance(result, Mapping) and len(result.schema.losses) > 1 and len(result.front):
        found.insert(0, _section("The front", figures.front(result), "", None))
    for section in found:
        if section.figure is not None:
            section.figure.update_layout(title={"text": html.escape(section.title), "y": 0.98})
            section.figure.update_layout(margin={"t": 90})
            section.figure.show()


def _parameter_views(result: Result, metric: str, tables: list[Sensitivity]) -> list[Section]:
    """Pairs, slices and parallel coordinates of the parameters that matter most."""
    from archwright.explain import figures

    ranked = tables[0].ranked if tables else list(result.schema.parameters)
    if tables:
        index = dict(zip(tables[0].parameters, tables[0].index, strict=True))
        ranked = [name for name in ranked if np.isfinite(index[name])]
    found = []
    if len(ranked) > 1:
        view = figures.contour(result, ranked[0], ranked[1], metric)
        title = f"{metric} over {ranked[0]} and {ranked[1]}"
        found.append(_section(title, view, f"Heat map of {title}.", None, details=True))
    if tables and len(ranked) > 1:
        with contextlib.suppress(InfeasibleError):  # too few designs: left out, as documented
            pairs = interactions(result, metric)
            found.append(Section(title=pairs.title, table=pairs, note=pairs.note, details=True))
    if ranked:
        view = figures.slice_plot(result, metric, parameters=ranked[:_SLICED])
        alt = f"Scatter charts of {metric} over {', '.join(ranked[:_SLICED])}."
        found.append(_section(f"{metric} over each parameter", view, alt, None, details=True))
        columns = [*ranked[:_AXES], *result.schema.losses]
        view = figures.parallel_coordinates(result, columns=list(dict.fromkeys(columns)))
        alt = f"Designs as lines over {', '.join(columns)}."
        found.append(_section("Designs in parallel coordinates", view, alt, None, details=True))
    return found


def _importance(result: Result, metrics: list[str]) -> list[Sensitivity]:
    found = []
    for metric in metrics:
        try:
            table = importance(result, metric)
        except InfeasibleError:
            continue  # too few designs: the section is left out, as documented
        if np.isfinite(table.index).any():
            found.append(table)
    return found


def _progress_sections(runs: Mapping[str, Result]) -> list[Section]:
    """Return how the searches went; nothing where none has found anything."""
    from archwright.explain import figures

    if not any(known(run, c).any() for run in runs.values() for c in objectives(run)):
        return []
    curves = progress(runs)
    several = len(next(iter(runs.values())).schema.losses) > 1
    what = "hypervolume" if several else "best so far"
    shares = (0.1, 0.25, 0.5, 0.75, 1.0)
    rows: list[list[str | float | int | None]] = [
        [curve.name or "this study", *(curve.at(share) for share in shares)] for curve in curves
    ]
    table = Table(
        title=f"{what.capitalize()} after a share of the designs",
        columns=["run", *(f"{100 * share:.0f} %" for share in shares)],
        rows=rows,
    )
    alt = f"Line chart of the {what} over the designs evaluated."
    return [_section("How the search went", figures.convergence(runs), alt, table)]


def _section(
    title: str, figure: Any, alt: str, table: Table | None, *, details: bool = False
) -> Section:
    meta = figure.layout.meta or {}
    return Section(
        title=title, figure=figure, alt=alt, table=table, note=meta.get("note", ""),
        details=details,
    )  # fmt: skip


def _html(section: Section) -> str:
    if section.table is None:
        return f"<p>{html.escape(section.note)}</p>"
    return replace(section.table, title=section.title, note=section.note)._repr_html_()
