"""What a study ends with, in a terminal and first in its report: the answer, or why none is.

See :mod:`archwright.explain.compose` for what an environment may say of its own designs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from archwright.explain.columns import points
from archwright.explain.front import Quantity
from archwright.search.amounts import amount
from archwright.search.conclusion import chosen, unscored
from archwright.search.environments import Environment, Metric
from archwright.search.goal import Goal
from archwright.search.panels import Headline
from archwright.search.space import Design
from archwright.search.study import Result

__all__ = [
    "Closing",
    "answer",
    "ask",
    "asked",
    "closing",
    "counted",
    "design_words",
    "diagnosis",
    "quantity",
]  # fmt: skip

_UNSCORED = 3  # cheaper designs without a score that the answer names
_STEPS = {"W": 0.10, "%": 0.01}  # how much better counts as a step; others: any improvement
_SHORT = 2  # words of a meaning that is used as a name
_SUFFIX = re.compile(
    r"_(s|ms|us|ns|[munp]?j|m?w|bytes|bytes_(per_)?s|usd|usd_per_hour|percent|hz|[mg]hz)$"
)


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What is printed when a study has ended.

    Attributes:
        counts: designs, points on the front, and why the study ended.
        notes: why nothing meets the limits; empty where something does.
        answer: the sentence, and more in further lines.
        headline: the limits and alternatives, where the environment has them.
    """

    counts: str
    notes: Sequence[str]
    answer: str
    headline: Headline | None


def closing(result: Result, environment: Environment, goal: Goal) -> Closing:
    """Return what a study ends with."""
    best = chosen(result, environment.metrics)
    design = None if best is None else result.design(best)
    return Closing(
        counts=f"{counted(result)}; {result.stopped}",
        notes=diagnosis(result, environment),
        answer=answer(result, environment, goal),
        headline=ask(environment, "headline", design),
    )


def counted(result: Result) -> str:
    """Return how many designs were tried, and how many points their front has."""
    n = len(result.trials)
    text = f"{n:,} {'design' if n == 1 else 'designs'}"
    if len(result.schema.losses) < 2:
        return text
    return f"{text}, {len(points(result)):,} on the front"


def answer(result: Result, environment: Environment, goal: Goal) -> str:
    """Return the answer of a study: a sentence, and what else it takes in further lines."""
    best = chosen(result, environment.metrics)
    if best is None:
        n = len(result.trials)
        feasible = int(np.count_nonzero(result.column("feasible")))
        if not n:
            return "No design was tried."
        if feasible and len(result.unknown) == feasible:
            return f"All {feasible} designs within the limits lack a metric of the goal."
        if n == 1:
            return "The only design tried does not meet the limits."
        return f"None of {n:,} designs meets the limits."
    design = result.design(best)
    described = ask(environment, "describe", design)
    others = _unscored_words(result, environment, goal, best)
    found = f"Best of {len(result.trials):,} designs"
    if described is not None and str(described).endswith("."):
        return "\n".join([str(described), *others])
    if described is not None:
        return "\n".join([f"{found} for {asked(environment, goal)}: {described}.", *others])
    metrics = {metric.name: metric for metric in environment.metrics}
    values = [
        f"{name} = {amount(float(result.metric(name)[best]), metrics[name].unit)}"
        for name in goal.metrics
    ]
    words = design_words(design)
    return "\n".join([f"{found}: {words} with {', '.join(values)}.", *others])


def _unscored_words(result: Result, environment: Environment, goal: Goal, best: int) -> list[str]:
    """Name the designs that would cost less, were what they lack known; one line or none."""
    rows = unscored(result, environment, best)
    if not rows or not goal.minimize:
        return []
    first = next(m for m in environment.metrics if m.name == goal.minimize[0])
    texts = []
    for row in rows[:_UNSCORED]:
        design = result.design(row)
        family = ask(environment, "family", design) or design_words(design)
        why = ask(environment, "lacks", design) or "is not fully known"
        price = amount(float(result.metric(first.name)[row]), first.unit)
        texts.append(f"{family} meets the limits at {price} but {why}.")
    more = len(rows) - len(texts)
    if more:
        texts.append("So does 1 more." if more == 1 else f"So do {more} more.")
    return [" ".join(texts)]


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
                f"{_excess(float(violation[nearest]))}by {design_words(result.design(nearest))}"
            )
    return lines


def _excess(violation: float) -> str:
    """A relative excess over a limit in words; nothing where it is not known."""
    if violation <= np.finfo(np.float64).tiny:
        return ""
    if violation < 2:
        return f"({violation:.1%} beyond) "
    return f"({violation:,.3g} times the limit beyond) "


def ask(environment: Environment, method: str, design: Design | None) -> Any:
    """Return what an environment says of a design; None where it says nothing."""
    speak: Any = getattr(environment, method, None)
    return None if speak is None or design is None else speak(design)


def asked(environment: Environment, goal: Goal) -> str:
    """Return the metrics of a goal as people say them.

    >>> from archwright.testing import toy_environment
    >>> asked(toy_environment(), Goal(minimize=["cost", "time"]))
    'cost and time'
    """
    known = {metric.name: metric for metric in environment.metrics}
    names = [_short(known[name]) if name in known else name for name in goal.metrics]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _short(metric: Metric) -> str:
    """A name of few words: the meaning where it is short, else the metric's without its unit."""
    name = metric.meaning
    if not name or len(name.split()) > _SHORT:
        name = _plain(_SUFFIX.sub("", metric.name))
    return _lower(name)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _lower(name: str) -> str:
    """A name inside a sentence: a small first letter, save that of an acronym."""
    acronym = len(name) > 1 and not name[1].islower() and name[1] != " "
    return name if acronym else name[:1].lower() + name[1:]


def quantity(metric: Metric, result: Result) -> Quantity:
    """Return a metric of all trials, with how people name and write it."""
    return Quantity(
        name="watts" if metric.unit == "W" else _lower(metric.meaning) or _plain(metric.name),
        values=result.metric(metric.name),
        direction="minimize" if metric.better == "lower" else "maximize",
        form=partial(amount, unit=metric.unit),
        share=_STEPS.get(metric.unit, 0.0),
    )


def design_words(design: Design) -> str:
    """A design as people read it: numbers to six digits, inactive parameters left out."""
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in design.items()
        if value is not None
    )
