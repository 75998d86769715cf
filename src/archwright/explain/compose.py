"""From a study's result to the answer, in a sentence and as a report.

An environment may speak for its own designs; each of these is optional:

- ``describe(design) -> str``: the answer. A text that ends with a full stop stands alone: a
  sentence, and what else it takes in further lines. Any other is a phrase after what was asked:
  ``Best of 300 designs for latency: …``.
- ``label(design) -> str``: a short name of a design,
- ``family(design) -> str``: what many designs share, such as their model,
- ``lacks(design) -> str``: what a design without a metric lacks,
- ``headline(design) -> Headline``: what decides, shown first,
- ``panels(design) -> list[Panel]``: bars, tables and facts about it,
- ``assumptions(design) -> list[tuple[str, str, str, str]]``: what, value, label, source,
- ``runner_up(design) -> str``: the second choice and when it would win,
- ``why_infeasible(designs) -> list[str]``: which limit binds, by how much, what would help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.explain.answers import cheapest_words, side_by_side, stored_answers
from archwright.explain.closing import (
    answer,
    ask,
    asked,
    closing,
    counted,
    design_words,
    diagnosis,
    quantity,
)
from archwright.explain.columns import points
from archwright.explain.front import Quantity, best_per_metric
from archwright.explain.report import Assumption, Front, ReportContent, Unranked
from archwright.explain.runs import goal_columns
from archwright.explain.sections import Section, comparison_sections, sections
from archwright.explain.tradeoffs import next_steps
from archwright.search.amounts import amount, in_unit
from archwright.search.conclusion import chosen, lacking
from archwright.search.environments import Environment, Metric
from archwright.search.goal import Goal
from archwright.search.panels import Bars, Facts, Panel, Roofline, Strips, Table
from archwright.search.space import Design, Expression
from archwright.search.study import Result

__all__ = [
    "answer",
    "chosen",
    "closing",
    "compose",
    "compose_comparison",
    "counted",
    "diagnosis",
    "title_of",
]

_EQUALS = 6  # designs of one point that are named
_NAMED = 3  # options of an environment that its title names


def compose(
    result: Result, environment: Environment, goal: Goal, *, command: str, title: str
) -> ReportContent:
    """Return the content of the report of a study.

    Args:
        result: its trials.
        environment: what measured them, asked for its own words about the chosen design.
        goal: what mattered; its first metric is what steps are paid in.
        command: what repeats the study.
        title: name of the study.
    """
    from archwright import __version__

    best = chosen(result, environment.metrics)
    design = None if best is None else result.design(best)
    quantities = {metric.name: quantity(metric, result) for metric in environment.metrics}
    feasible = np.asarray(result.column("feasible"), dtype=bool)
    notes: list[str] = diagnosis(result, environment)
    panels = [panel for panel in ask(environment, "panels", design) or [] if _says(panel)]
    if notes:
        panels.insert(0, Facts(title="Why nothing meets the limits", items=notes))
    headline = ask(environment, "headline", design)
    described = design is not None and hasattr(environment, "describe")
    return ReportContent(
        title=title_of(title, result, environment, goal),
        answer=answer(result, environment, goal),
        subtitle=design_words(design) if design is not None and described else "",
        meta=_meta(result, environment, best),
        headline=headline,
        lead=0 if headline is None else headline.lead,
        front=_front(result, environment, goal, best, feasible),
        panels=panels,
        trade_offs=_trade_offs(result, environment, goal, quantities, best, feasible),
        runner_up=str(ask(environment, "runner_up", design) or ""),
        best_per_metric=_best_table(result, environment, quantities, feasible),
        unranked=_unranked(result, environment, goal),
        assumptions=[
            Assumption(what=what, value=value, label=label, source=source)
            for what, value, label, source in ask(environment, "assumptions", design) or []
        ],
        sections=sections(result),
        command=command,
        versions={"archwright": __version__, "environment": environment.version},
    )


def title_of(name: str, result: Result, environment: Environment, goal: Goal) -> str:
    """Return a title that tells studies apart: the study's name, and what it asks.

    Such as ``chat_fleet: cost and quality of serving builtin:chat at 20 requests/s``.
    """
    best = chosen(result, environment.metrics)
    headline = ask(environment, "headline", None if best is None else result.design(best))
    subject = "" if headline is None else headline.subject
    if not subject:
        options = dict(result.study.get("environment", {}))
        subject = str(options.pop("name", ""))
        told = [
            f"{key.replace('_', ' ')} {f'{value:.6g}' if isinstance(value, float) else value}"
            for key, value in options.items()
            if isinstance(value, str | int | float) and len(str(value)) < 40
        ]
        if subject and told:
            subject += f" ({', '.join(told[:_NAMED])})"
    question = asked(environment, goal) + (f" of {subject}" if subject else "")
    return f"{name}: {question}" if name else question


def _says(panel: Panel) -> bool:
    """Say whether a panel has anything to show; an empty chart is not drawn."""
    if isinstance(panel, Bars):
        values = [value for series in panel.series.values() for value in series]
        return bool(np.isfinite(np.asarray(values, dtype=np.float64)).any())
    if isinstance(panel, Roofline):
        return len(panel.names) > 0
    if isinstance(panel, Strips):
        return any(len(values) for values in panel.groups.values())
    return len(panel.rows if isinstance(panel, Table) else panel.items) > 0


def compose_comparison(runs: Mapping[str, Result], *, command: str) -> ReportContent:
    """Return the content of a page that compares studies of one goal.

    Where the answers of two runs or more are fleets, these stand side by side, first.

    Args:
        runs: names to studies.
        command: what repeats the comparison.
    """
    from archwright import __version__

    found = comparison_sections(runs)
    table = found[0].table
    assert table is not None
    columns = goal_columns(runs)
    goal = ", ".join(
        f"{'minimize' if column.sign > 0 else 'maximize'} {column.name}" for column in columns
    )
    several = "hypervolume" in table.columns
    at = table.columns.index("hypervolume") if several else len(table.columns) - 1
    sign = -1.0 if several else columns[0].sign
    scored = [(sign * v, row) for row in table.rows if isinstance(v := row[at], float)]
    told = "No run has a feasible design."
    if scored:
        score, best = min(scored, key=lambda item: item[0])
        equal = sum(other == score for other, _ in scored)
        who = f"{best[0]} has" if equal == 1 else f"{equal} of {len(runs)} runs share"
        told = f"{who} the best {table.columns[at]}: {sign * score:.4g}."
    answers = stored_answers(runs)
    fleets = side_by_side(answers)
    if fleets is not None:
        found.insert(0, Section(title=fleets.title, table=fleets, note=fleets.note))
        told = f"{cheapest_words(answers)}\n{told}"
    return ReportContent(
        title=f"{_listed(list(runs))} compared",
        answer=told,
        subtitle=goal,
        sections=found,
        command=command,
        versions={"archwright": __version__},
    )


def _listed(names: Sequence[str]) -> str:
    """Names of runs in a title: the last part of each folder where these differ."""
    short = [Path(name).name or name for name in names]
    if len(set(short)) < len(short) or len(short) > _NAMED:
        return f"{len(names)} runs"
    return f"{', '.join(short[:-1])} and {short[-1]}" if len(short) > 1 else short[0]


def _meta(result: Result, environment: Environment, best: int | None) -> list[tuple[str, str]]:
    if best is None:
        return [("Designs tried", f"{len(result.trials):,}")]
    return [
        (metric.meaning or metric.name, amount(value, metric.unit))
        for metric in environment.metrics
        if np.isfinite(value := float(result.metric(metric.name)[best]))
    ]


def _front(
    result: Result,
    environment: Environment,
    goal: Goal,
    best: int | None,
    feasible: npt.NDArray[np.bool_],
) -> Front | None:
    if len(goal.metrics) < 2 or best is None:
        return None
    metrics = {metric.name: metric for metric in environment.metrics}
    first, second = goal.metrics[0], goal.metrics[-1]
    x, y = result.metric(first), result.metric(second)
    on_front = np.zeros(len(x), dtype=bool)
    on_front[result.front] = True
    names = _labels(environment, [result.design(row) for row in range(len(x))])
    groups = _points(result, best)
    shown = np.array(list(groups), dtype=np.intp)

    def words(row: int) -> str:
        equal = [names[other] for other in groups[row]]
        more = f" and {len(equal) - _EQUALS} more" if len(equal) > _EQUALS else ""
        return "; ".join(equal[:_EQUALS]) + more

    axes = [_axis(metrics[name], result.metric(name), result.front) for name in (first, second)]
    return Front(
        x=x[shown] * axes[0][0],
        y=y[shown] * axes[1][0],
        x_axis=axes[0][1],
        y_axis=axes[1][1],
        feasible=feasible[shown],
        on_front=on_front[shown],
        unknown=lacking(result)[shown],
        chosen=int(np.flatnonzero(shown == best)[0]),
        labels=[_beside(names[row], result, row) if row == best else "" for row in shown],
        hover=[
            f"{words(row)}\n{amount(x[row], metrics[first].unit)}\n"
            f"{amount(y[row], metrics[second].unit)}"
            for row in shown
        ],
        designs=[words(row) for row in shown],
        x_better="minimize" if first in goal.minimize else "maximize",
    )


def _axis(
    metric: Metric, values: npt.NDArray[np.float64], front: npt.NDArray[np.intp]
) -> tuple[float, str]:
    """Return the factor and the title of an axis in the unit in which people read its front."""
    factor, unit = in_unit(float(np.median(np.abs(values[front]))), metric.unit)
    return factor, f"{metric.meaning or metric.name}{f' [{unit}]' if unit else ''}"


def _points(result: Result, best: int) -> dict[int, list[int]]:
    """Return the row that stands for each point to all rows of it.

    Designs of equal losses on the front are one point, that of the chosen design where it is
    among them; every other design is a point of its own.
    """
    rows_of = {rows[0]: rows for rows in points(result).values()}
    front = set(result.front.tolist())
    rows_of |= {row: [row] for row in range(len(result.trials)) if row not in front}
    return {best if best in rows else row: rows for row, rows in sorted(rows_of.items())}


def _beside(name: str, result: Result, row: int) -> str:
    """What is written beside a point: the name of the design, or its trial where that is long."""
    return name if len(name) <= 60 else f"trial {int(result.column('trial')[row])}"


def _labels(environment: Environment, designs: Sequence[Design]) -> list[str]:
    label: Any = getattr(environment, "label", design_words)
    return [str(label(design)) for design in designs]


def _trade_offs(
    result: Result,
    environment: Environment,
    goal: Goal,
    quantities: dict[str, Quantity],
    best: int | None,
    feasible: npt.NDArray[np.bool_],
) -> list[str]:
    if best is None or not goal.minimize:
        return []
    limited = [name for text in goal.subject_to for name in Expression(text).names]
    watts = [metric.name for metric in environment.metrics if metric.unit == "W"]
    names = dict.fromkeys([*goal.metrics[1:], *limited, *watts])
    others = [quantities[n] for n in names if n != goal.minimize[0] and n in quantities]
    # only the designs that take the step are named, and there are few of them
    steps = next_steps(quantities[goal.minimize[0]], others, chosen=best, feasible=feasible)
    sentences = []
    for step in steps:
        sentence = step.sentence()
        if step.found is not None:
            name = _labels(environment, [result.design(step.found)])[0]
            sentence = f"{sentence.removesuffix('.')}: {name}."
        sentences.append(sentence)
    return sentences


def _best_table(
    result: Result,
    environment: Environment,
    quantities: dict[str, Quantity],
    feasible: npt.NDArray[np.bool_],
) -> Table | None:
    rows: list[list[str | float | int | None]] = []
    for name, row in best_per_metric(list(quantities.values()), feasible).items():
        if row is None:
            continue
        quantity = next(q for q in quantities.values() if q.name == name)
        label = _labels(environment, [result.design(row)])[0]
        rows.append(
            [
                name[:1].upper() + name[1:],
                quantity.show(float(np.asarray(quantity.values)[row])),
                label,
            ]
        )
    if not rows:
        return None
    return Table(
        title="Best design for each metric", columns=["metric", "best", "design"], rows=rows
    )


def _unranked(result: Result, environment: Environment, goal: Goal) -> list[Unranked]:
    rows = np.flatnonzero(lacking(result))
    if not len(rows):
        return []
    limited = [name for text in goal.subject_to for name in Expression(text).names]
    wanted = [n for n in dict.fromkeys([*goal.metrics, *limited]) if n in result.schema.metrics]
    missing = [name for name in wanted if np.isnan(result.metric(name)[rows]).any()]
    names = _labels(environment, [result.design(int(row)) for row in rows])
    return [
        Unranked(
            reason=f"within the limits, but {' and '.join(missing)} is unknown",
            count=len(rows),
            designs=list(dict.fromkeys(names)),
        )
    ]
