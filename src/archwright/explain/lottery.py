"""The page of a sweep: every setting of every searcher as a point, random search among them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archwright.explain.figures import against_budget
from archwright.explain.report import ReportContent, write_report
from archwright.explain.sections import Section
from archwright.search.panels import Facts, Strips, Table

if TYPE_CHECKING:
    from archwright.search.sweep import SweepResult

__all__ = ["strips_of", "write_lottery"]


def write_lottery(result: SweepResult, path: Path, title: str) -> Path:
    """Write the page: who may be said to be better, and how much a setting matters."""
    contests = result.contests()
    columns, rows = result.table()
    first = contests[0]
    random = next(c for c in contests if c.searcher == "random")
    clear = [c.searcher for c in contests if c.p_best < 0.05 and c.best[0] < random.best[0]]
    answer = (
        f"{first.searcher} has the best setting ({first.best[0]:.4g}); "
        f"{len(clear)} of {len(contests) - 1} searchers beat random search beyond chance."
    )
    spread = {c.searcher: c.worst[0] - c.best[0] for c in contests if c.settings > 1}
    tuned = [c.best[0] for c in contests if c.searcher != "random"]
    evaluations = [run.evaluations for run in result.runs]
    least, most = min(evaluations), max(evaluations)
    facts = [
        f"Between the best settings of the searchers lie "
        f"{max(tuned, default=first.best[0]) - first.best[0]:.3g}; between the best and the "
        f"worst setting of one searcher up to {max(spread.values(), default=0.0):.3g}.",
        "The best setting was chosen after the fact; its probability is corrected for the number "
        "of settings and searchers tried. The median setting is what one gets without tuning.",
        f"Every run had {least if least == most else f'{least} to {most}'} unique evaluations.",
    ]
    content = ReportContent(
        title=f"Sweep of {title}",
        answer=answer,
        subtitle=f"Compared by {result.loss}; less is better.",
        meta=[
            ("searchers", str(len(contests))),
            ("studies", str(len(result.runs))),
            ("evaluations", f"{sum(run.evaluations for run in result.runs):,}"),
            ("seconds", f"{sum(run.seconds for run in result.runs):,.0f}"),
        ],
        panels=[
            strips_of(result),
            Facts(title="What may be said", items=facts),
            Table(title="Searchers", columns=columns, rows=[_plain(row) for row in rows]),
        ],
        sections=[_budget(result)],
    )
    return write_report(content, path)


def strips_of(result: SweepResult) -> Strips:
    return Strips(
        title="Every setting, median over its seeds",
        groups={name: result.medians(name).tolist() for name in result.searchers},
        unit=result.loss,
        reference=float(np.median(result.values("random"))),
        reference_name="random search",
    )


def _budget(result: SweepResult) -> Section:
    figure = against_budget(result)
    drawn = [trace.name for trace in figure.data if trace.mode == "lines"]
    return Section(
        title="Against the budget",
        figure=figure,
        alt=f"Lines of the best found over evaluations, of {', '.join(drawn)}.",
        note=figure.layout.meta["note"],
    )


def _plain(row: list[Any]) -> list[Any]:
    return [
        f"{value[0]:.4g} to {value[1]:.4g}" if isinstance(value, list) else value for value in row
    ]
