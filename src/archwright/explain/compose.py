"""From a study's result to the answer, in a sentence and as a report.

An environment may speak for its own designs; each of these is optional:

- ``describe(design) -> str``: the answer in a sentence,
- ``label(design) -> str``: a short name of a design,
- ``panels(design) -> list[Panel]``: bars, tables and facts about it,
- ``assumptions(design) -> list[tuple[str, str, str, str]]``: what, value, label, source,
- ``runner_up(design) -> str``: the second choice and when it would win,
- ``why_infeasible(designs) -> list[str]``: which limit binds, by how much, what would help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.explain.front import Quantity, best_per_metric
from archwright.explain.report import Assumption, Front, ReportContent, Unranked
from archwright.explain.runs import goal_columns
from archwright.explain.sections import comparison_sections, sections
from archwright.explain.tradeoffs import next_steps
from archwright.search.environments import Environment, Metric
from archwright.search.goal import Goal
from archwright.search.panels import Facts, Table
from archwright.search.space import Design, Expression
from archwright.search.study import Result

__all__ = ["answer", "chosen", "compose", "compose_comparison", "diagnosis"]

_FORMS = {
    "$": "${:,.2f}",
    "$/h": "${:,.2f}/h",
    "$/M tokens": "${:,.3f}/M tokens",
    "W": "{:,.0f} W",
    "%": "{:.1f} %",
    "share": "{:.2f}",
    "s": "{:.3g} s",
}
_STEPS = {"W": 0.10, "%": 0.01}  # how much better counts as a step; others: any improvement


def chosen(result: Result, environment: Environment) -> int | None:
    """Return the row that answers: the best, and among its equals the best in other metrics.

    Designs of equal losses are ranked in each metric of the environment; the least sum of ranks
    is taken, then the earlier trial.
    """
    best = result.best()
    if best is None:
        return None
    equals = np.flatnonzero((result.losses == result.losses[best]).all(axis=1))
    ranks = np.zeros(len(equals))
    for metric in environment.metrics:
        values = result.metric(metric.name)[equals]
        losses = values if metric.better == "lower" else -values
        ranks += (losses[:, None] > losses[None, :]).sum(axis=1)
    return int(equals[int(np.argmin(ranks))])


def answer(result: Result, environment: Environment, goal: Goal) -> str:
    """Return the answer of a study in one sentence."""
    best = chosen(result, environment)
    if best is None:
        n = len(result.trials)
        feasible = int(np.count_nonzero(result.column("feasible")))
        if feasible and len(result.unknown) == feasible:
            return f"All {feasible} designs within the limits lack a metric of the goal."
        return f"None of {n} designs meets the limits."
    design = result.design(best)
    describe: Any = getattr(environment, "describe", None)
    if describe is not None:
        return str(describe(design))
    metrics = {metric.name: metric for metric in environment.metrics}
    values = [
        f"{name} = {_form(metrics[name]).format(float(result.metric(name)[best]))}"
        for name in goal.metrics
    ]
    return f"Best of {len(result.trials)} designs: {_words(design)} with {', '.join(values)}."


def _words(design: Design) -> str:
    """A design as people read it: numbers to six digits, inactive parameters left out."""
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in design.items()
        if value is not None
    )


def diagnosis(result: Result, environment: Environment) -> list[str]:
    """Where nothing meets the limits: which limit binds, by how much, and what would help."""
    why: Any = getattr(environment, "why_infeasible", None)
    if result.best() is not None or not len(result.trials):
        return []
    if why is not None:
        lines: list[str] = why([result.design(row) for row in range(len(result.trials))])
        if lines:
            return lines
    violated = [(name, result.column(f"constraint.{name}")) for name in result.schema.constraints]
    lines = []
    for name, violation in violated:
        broken = violation > 0
        if broken.any():
            nearest = int(np.nanargmin(np.where(broken, violation, np.inf)))
            lines.append(
                f"{name}: broken by {int(broken.sum()):,} of {len(violation):,} designs, least "
                f"{_excess(float(violation[nearest]))}by {result.design(nearest)}"
            )
    return lines


def _excess(violation: float) -> str:
    """A relative excess over a limit in words; nothing where it is not known."""
    if violation <= np.finfo(np.float64).tiny:
        return ""
    if violation < 2:
        return f"({violation:.1%} beyond) "
    return f"({violation:,.3g} times the limit beyond) "


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

    best = chosen(result, environment)
    design = None if best is None else result.design(best)
    quantities = {metric.name: _quantity(metric, result) for metric in environment.metrics}
    feasible = np.asarray(result.column("feasible"), dtype=bool)
    notes: list[str] = diagnosis(result, environment)
    panels = list(_ask(environment, "panels", design) or [])
    if notes:
        panels.insert(0, Facts(title="Why nothing meets the limits", items=notes))
    return ReportContent(
        title=title,
        answer=answer(result, environment, goal),
        subtitle="" if design is None or not hasattr(environment, "describe") else f"{design}",
        meta=_meta(result, environment, best),
        front=_front(result, environment, goal, best, feasible),
        panels=panels,
        trade_offs=_trade_offs(result, environment, goal, quantities, best, feasible),
        runner_up=str(_ask(environment, "runner_up", design) or ""),
        best_per_metric=_best_table(result, environment, quantities, feasible),
        unranked=_unranked(result, environment, goal),
        assumptions=[
            Assumption(what=what, value=value, label=label, source=source)
            for what, value, label, source in _ask(environment, "assumptions", design) or []
        ],
        sections=sections(result),
        command=command,
        versions={"archwright": __version__, "environment": environment.version},
    )


def compose_comparison(runs: Mapping[str, Result], *, command: str) -> ReportContent:
    """Return the content of a page that compares studies of one goal.

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
    answer = "No run has a feasible design."
    if scored:
        score, best = min(scored, key=lambda item: item[0])
        equal = sum(other == score for other, _ in scored)
        who = f"{best[0]} has" if equal == 1 else f"{equal} of {len(runs)} runs share"
        answer = f"{who} the best {table.columns[at]}: {sign * score:.4g}."
    return ReportContent(
        title=f"{len(runs)} runs compared",
        answer=answer,
        subtitle=goal,
        sections=found,
        command=command,
        versions={"archwright": __version__},
    )


def _ask(environment: Environment, method: str, design: Design | None) -> Any:
    speak: Any = getattr(environment, method, None)
    return None if speak is None or design is None else speak(design)


def _form(metric: Metric) -> str:
    if metric.unit in _FORMS:
        return _FORMS[metric.unit]
    return "{:.4g} " + metric.unit if metric.unit else "{:.4g}"


def _quantity(metric: Metric, result: Result) -> Quantity:
    return Quantity(
        name=_plain_name(metric),
        values=result.metric(metric.name),
        direction="minimize" if metric.better == "lower" else "maximize",
        form=_form(metric),
        share=_STEPS.get(metric.unit, 0.0),
    )


def _plain_name(metric: Metric) -> str:
    if metric.unit == "W":
        return "watts"
    return metric.meaning or metric.name.replace("_", " ")


def _meta(result: Result, environment: Environment, best: int | None) -> list[tuple[str, str]]:
    if best is None:
        return [("Designs tried", f"{len(result.trials):,}")]
    return [
        (metric.meaning or metric.name, _form(metric).format(value))
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
    forms = _form(metrics[first]), _form(metrics[second])
    return Front(
        x=x,
        y=y,
        x_axis=f"{metrics[first].meaning or first} [{metrics[first].unit}]",
        y_axis=f"{metrics[second].meaning or second} [{metrics[second].unit}]",
        feasible=feasible,
        on_front=on_front,
        chosen=best,
        labels=[
            _beside(name, result, row) if row == best else "" for row, name in enumerate(names)
        ],
        hover=[
            f"{name}\n{forms[0].format(a)}\n{forms[1].format(b)}"
            for name, a, b in zip(names, x, y, strict=True)
        ],
        x_better="minimize" if first in goal.minimize else "maximize",
    )


def _beside(name: str, result: Result, row: int) -> str:
    """What is written beside a point: the name of the design, or its trial where that is long."""
    return name if len(name) <= 60 else f"trial {int(result.column('trial')[row])}"


def _labels(environment: Environment, designs: Sequence[Design]) -> list[str]:
    label: Any = getattr(environment, "label", _words)
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
    others = [quantities[name] for name in names if name != goal.minimize[0]]
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
) -> Table:
    rows: list[list[str | float | int | None]] = []
    for name, row in best_per_metric(list(quantities.values()), feasible).items():
        if row is None:
            continue
        quantity = next(q for q in quantities.values() if q.name == name)
        label = _labels(environment, [result.design(row)])[0]
        rows.append([name, quantity.show(float(np.asarray(quantity.values)[row])), label])
    return Table(
        title="Best design for each metric", columns=["metric", "best", "design"], rows=rows
    )


def _unranked(result: Result, environment: Environment, goal: Goal) -> list[Unranked]:
    rows = result.unknown
    if not len(rows):
        return []
    missing = [name for name in goal.metrics if np.isnan(result.metric(name)[rows]).any()]
    names = _labels(environment, [result.design(row) for row in rows])
    return [
        Unranked(
            reason=f"within the limits, but {' and '.join(missing)} is unknown",
            count=len(rows),
            designs=list(dict.fromkeys(names)),
        )
    ]
