"""What decides about a fleet: the sentence, the box of limits, dollars, and what else there is.

Pure data from an :class:`archwright.serving.fleet_answer.Answer`; nothing is written here that the
answer does not hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archwright.search.amounts import amount, chance, span
from archwright.search.panels import Headline, Table
from archwright.serving.fleet_answer import HOURS_A_MONTH, Answer, LimitHeld

if TYPE_CHECKING:
    from archwright.serving.fleet_planning import Plan

__all__ = [
    "fleet_words",
    "headline",
    "joined",
    "offer_words",
    "percent",
    "rent_words",
    "sentence",
    "signed",
    "today_line",
]

_LITTLE_ROOM = 0.05
"""Headroom below which a plan says so."""
_ENDLESS = "overload"
_LEAD = 3
"""Panels that come before the front: what to rent, the load, who serves what."""


def fleet_words(plan: Plan) -> str:
    """Return the fleet in words, dearest part first: ``3 × H100-SXM and 2 × L4``."""
    counts = list(plan.fleet.counts.items())
    return joined([f"{counts[g][1]} × {counts[g][0]}" for g in plan.used()])


def offer_words(plan: Plan) -> str:
    """Return what is rented, dearest part first: ``2 × p5.48xlarge``."""
    parts = sorted(plan.bill, key=lambda each: -each[0].usd_per_hour * each[1])
    return joined([f"{count} × {offer.name}" for offer, count in parts])


def rent_words(plan: Plan) -> str:
    """Return what is rented and where: ``2 × p5.48xlarge from aws us-east-1``."""
    where = f"{plan.cloud} {plan.region}".strip()
    return f"{offer_words(plan)} from {where}" if where else offer_words(plan)


def sentence(answer: Answer) -> str:
    """Return the answer: what to rent and its price; below, what it holds and how surely.

    One line each: the decision; the fleet with its limits, their interval and chance; what is
    tight about it, where something is.
    """
    plan, design, environment = answer.plan, answer.design, answer.environment
    divided = "; priced by the accelerator, as if nodes could be shared"
    lines = [
        f"Rent {rent_words(plan)} for {amount(plan.cost_per_hour, '$')} an hour "
        f"({_month(plan)} a month{divided if answer.planner.market.divisible else ''}) to serve "
        f"{environment.rate_per_s:.3g} requests/s with {design['model']} in {design['weights']}."
    ]
    holds = [_holds(each) for each in answer.limits]
    kept = float(answer.quality.value)
    if math.isfinite(kept):
        holds.append(f"{environment.specification.benchmark} {kept:.1f}")
    one = sum(plan.fleet.counts.values()) == 1
    verb = ("reach" if holds else "do") + ("es" if one else "")
    reached = f"{verb} {joined(holds) if holds else 'it'}"
    lines.append(f"With the KV cache in {design['kv']}, {fleet_words(plan)} {reached}.")
    tight = []
    if plan.headroom < _LITTLE_ROOM:
        tight.append(
            f"Headroom is {amount(plan.headroom, 'share')}: a little more load breaks the limits. "
            "survive_loss = true keeps them after the loss of any one instance."
        )
    if answer.bursts:
        tight.append(answer.bursts)
    return "\n".join([*lines, *tight])


def _holds(each: LimitHeld) -> str:
    value, low, high = each.value
    return (
        f"{each.rule.words} {_time(value)} ({span(low, high, 's', endless=_ENDLESS)}; "
        f"{chance(each.chance)} to stay within {_time(each.rule.limit_s)})"
    )


def headline(answer: Answer) -> Headline:
    """Return the first screen: dollars, the box of limits, and the alternatives in lines."""
    plan, metrics, environment = answer.plan, answer.metrics, answer.environment
    specification = environment.specification
    figures = [
        ("An hour", amount(plan.cost_per_hour, "$")),
        ("A month", _month(plan)),
        ("A million input tokens", amount(metrics["cost_usd_per_million_input_tokens"], "$")),
        ("A million output tokens", amount(metrics["cost_usd_per_million_output_tokens"], "$")),
        ("A million tokens, blended", amount(metrics["cost_usd_per_million_tokens"], "$")),
        (specification.benchmark, _score(metrics["quality"])),
        ("Power of the GPUs", amount(metrics["power_w"], "W")),
    ]
    safe, clouds = _safe_line(answer), _clouds_line(answer)
    lines = [_single_line(answer), safe, today_line(answer), _flip_line(answer), clouds]
    return Headline(
        figures=[(name, text) for name, text in figures if text != "unknown"],
        table=_limits(answer),
        lines=[line for line in lines if line],
        brief=[line for line in (safe, clouds) if line],
        subject=f"serving {specification.workload} at {environment.rate_per_s:.3g} requests/s",
        lead=_LEAD,
    )


def _limits(answer: Answer) -> Table | None:
    if not answer.limits:
        return None
    rows: list[list[str | float | int | None]] = [
        [
            each.rule.words[:1].upper() + each.rule.words[1:],
            _time(each.rule.limit_s),
            _time(each.value.value),
            span(each.value.low, each.value.high, "s", endless=_ENDLESS),
            chance(each.chance),
        ]
        for each in answer.limits
    ]
    strict = answer.planner.specification.limits.per_bucket
    note = "Over all requests" + (", and held in every bucket." if strict else ".")
    if any(math.isinf(each.value.high) for each in answer.limits):
        note += (
            " Overload: where all steps take as long as the interval allows, requests come "
            "faster than they are served, and the wait grows without end."
        )
    return Table(
        title="Limits",
        columns=["limit", "at most", "planned", "90 % interval", "chance to hold"],
        rows=rows,
        note=note,
    )


def _single_line(answer: Answer) -> str:
    if not answer.singles:
        return "No single accelerator type holds the limits alone."
    device, best = answer.singles[0]
    plan = answer.plan
    if {plan.profiles[g].type.device.name for g in plan.used()} == {device}:
        return f"This is also the best fleet of a single accelerator type, {device}."
    more = best.cost_per_hour / answer.plan.cost_per_hour - 1
    return (
        f"Best fleet of a single accelerator type: {rent_words(best)} for "
        f"{amount(best.cost_per_hour, '$')} an hour ({signed(more)})."
    )


def _safe_line(answer: Answer) -> str:
    if not answer.limits:
        return ""
    if answer.safe is None:
        why = percent(answer.why_not_safe.rstrip("."))
        return f"No plan holds the limits with 90 %: {why}."
    if answer.safe is answer.plan:
        return "Each limit holds with at least 90 %, so this is the safe plan too."
    more = answer.safe.cost_per_hour - answer.plan.cost_per_hour
    design = answer.safe_design or {}
    other = (
        ""
        if design == answer.design
        else f", {design['weights']}, KV cache {design['kv']}, batch {design['max_batch']}"
    )
    sign = "−" if more < 0 else "+"
    return (
        f"Safe plan, every limit with 90 %: {rent_words(answer.safe)} for "
        f"{amount(answer.safe.cost_per_hour, '$')} an hour ({sign}{amount(abs(more), '$')})"
        f"{other}."
    )


def today_line(answer: Answer) -> str:
    """Return what runs today, with its quality beside that of the plan; empty without."""
    today, plan = answer.today, answer.plan
    specification = answer.environment.specification
    if today is None or specification.today is None:
        return ""
    change = plan.cost_per_hour - today.usd_per_hour
    verb = "saves" if change < 0 else "costs"
    more = "" if change < 0 else " more"
    words = joined([f"{n} × {name}" for name, n in specification.today.fleet.items() if n])
    score = f"{_score(float(answer.quality.value))} against {_score(today.quality)} today"
    return (
        f"Today: {words} running {specification.today.model} for "
        f"{amount(today.usd_per_hour, '$')} an hour; the plan {verb} {amount(abs(change), '$')} "
        f"an hour{more} ({signed(change / today.usd_per_hour)}), with {specification.benchmark} "
        f"{score}."
    )


def _flip_line(answer: Answer) -> str:
    if not answer.flips:
        return (
            "Prices, rate, length and busy slots ± 20 %, and another engine, each alone, leave "
            "what is rented as it is, in other numbers."
        )
    first = answer.flips[0]
    then = "no fleet holds the limits" if first.plan is None else f"rent {rent_words(first.plan)}"
    what = percent(first.what)
    return f"The assumption that flips the answer first: {what}; then {then}."


def _clouds_line(answer: Answer) -> str:
    if len(answer.clouds) < 2:
        return ""
    each = [
        f"{plan.cloud} {plan.region} {amount(plan.cost_per_hour, '$')} ({offer_words(plan)})"
        for plan in answer.clouds[:3]
    ]
    return f"Cheapest clouds, dollars an hour: {'; '.join(each)}."


def _month(plan: Plan) -> str:
    return f"${plan.cost_per_hour * HOURS_A_MONTH:,.0f}"


def _time(seconds: float) -> str:
    return _ENDLESS if math.isinf(seconds) else amount(seconds, "s")


def _score(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "unknown"


def joined(parts: Sequence[str]) -> str:
    """Return names in a sentence: ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts) or "nothing"
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def signed(share: float) -> str:
    """Return a relative change, such as ``+23 %`` or ``−61 %``."""
    return percent(f"{share:+.0%}")


def percent(text: str) -> str:
    """Set percentages as the rest of the page has them: a space, a true minus."""
    return re.sub(r"(?<![\d.])-(?=[\d.]+ ?%)", "−", re.sub(r"(?<=\d)%", " %", text))
