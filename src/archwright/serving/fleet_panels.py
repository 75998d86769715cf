"""What ``serving/fleet`` says about a design: panels and assumptions, below its headline.

Pure data from an :class:`archwright.serving.fleet_answer.Answer`; nothing is written here that the
answer does not hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from archwright.llm import assumptions as memory_assumptions
from archwright.search.amounts import amount
from archwright.search.panels import Bars, Facts, Panel, Table
from archwright.serving.fleet_answer import HOURS_A_MONTH, Answer
from archwright.serving.fleet_headline import (
    fleet_words,
    headline,
    joined,
    offer_words,
    percent,
    rent_words,
    sentence,
    today_line,
)

if TYPE_CHECKING:
    from archwright.serving.fleet_planning import Plan

__all__ = ["assumptions", "fleet_words", "headline", "panels", "rent_words", "sentence"]

_SHOWN = 8


def panels(answer: Answer) -> list[Panel]:
    """Return nodes, load, who serves what, what binds, misses, what flips, clouds, workload."""
    found: list[Panel] = [_nodes(answer), _load(answer.plan), _serves(answer), _binds(answer)]
    misses = _misses(answer)
    if misses is not None:
        found.append(misses)
    found.append(_flips(answer))
    if len(answer.clouds) > 1:
        found.append(_clouds(answer))
    found.append(_singles(answer))
    if answer.today is not None:
        found.append(_today(answer))
    found += [_bursts(answer), _prices(answer)]
    return found


def assumptions(answer: Answer) -> list[tuple[str, str, str, str]]:
    """Return (what, value, label, source) of what the answer stands on."""
    environment, plan, kept = answer.environment, answer.plan, answer.quality
    specification = environment.specification
    rows = [
        (
            "rate planned for",
            f"{environment.rate_per_s:.4g} requests/s ({environment.rate_meaning})",
            "assumed",
            "study file",
        ),
        ("workload", specification.workload, "measured", environment.workload.source),
        (
            "variation of arrivals",
            f"index of dispersion {environment.workload.arrival_cv2:.3g} over ten seconds of the "
            "busiest five minutes",
            "measured",
            environment.workload.source,
        ),
        (
            "quality",
            f"{kept.value:.1f} % (interval {kept.low:.1f} to {kept.high:.1f})"
            if np.isfinite(kept.value)
            else f"unknown: {kept.reason}",
            kept.label,
            "; ".join(str(source) for source in kept.sources[:2]),
        ),
        *_settings(answer),
        (
            "step times",
            f"kernel-time laws, engine {specification.engine}",
            "fitted",
            str(answer.planner.engine.source),
        ),
        (
            "chance that a limit holds",
            "all types slower or faster together, along the 90 % interval of their step times",
            "assumed",
            "",
        ),
        (
            "power",
            "power law at the load of each type, GPU only: hosts and cooling are not counted",
            environment.power_label,
            "measured on H100 and B200 boards; carried by TDP to other devices",
        ),
        (
            "queue",
            "wait by Erlang C with Kimura's correction for the variation of arrivals and of "
            "service, servers = batch slots, at most "
            f"{100 * specification.utilization:.0f} % busy",
            "analytic",
            "Workload-Router-Pool paper, fleet simulator",
        ),
    ]
    if answer.planner.market.divisible:
        rows.append(
            (
                "price of an instance",
                "accelerator-hours times its width",
                "assumed",
                "clouds sell fixed sizes; check that this one exists",
            )
        )
    for offer, _ in plan.bill:
        source = "" if offer.source is None else str(offer.source)
        label = "assumed" if "recalled" in source else "table"
        rows.append((f"price of {offer.name}", f"${offer.usd_per_hour:,.3f}/h", label, source))
    for one in {p.type.device.name: p.type.device for p in _in_use(plan)}.values():
        weak = [f for f in ("tdp_w", "memory_bandwidth_bytes_s") if one.origin(f) != "sourced"]
        note = f"; {', '.join(weak)} {one.origin(weak[0])}" if weak else ""
        rows.append((f"peaks of {one.name}", "data sheet", "table", f"{one.source}{note}"))
    rows += [
        (f"memory: {name.replace('_', ' ')}", f"{value:g}", source.flag, source.source)
        for name, (value, source) in memory_assumptions().items()
    ]
    return rows


def _settings(answer: Answer) -> list[tuple[str, str, str, str]]:
    """Say how the scores were taken, and warn where one front holds several settings."""
    benchmark, kept = answer.environment.specification.benchmark, answer.quality
    settings = answer.environment.settings()
    rows = [(f"setting of {benchmark}", kept.setting, "table", "")] if kept.setting else []
    if len(settings) > 1:
        others = f"{len(settings)} settings meet on this front, so small differences mean little"
        rows.append((f"scores of {benchmark}", others, "assumed", "; ".join(settings)))
    return rows


def _nodes(answer: Answer) -> Table:
    plan = answer.plan
    rows: list[list[str | float | int | None]] = [
        [
            offer.name,
            count,
            f"{offer.accelerators} × {offer.device}",
            f"${offer.usd_per_hour:,.2f}",
            f"${offer.usd_per_hour * count:,.2f}",
        ]
        for offer, count in sorted(plan.bill, key=lambda each: -each[0].usd_per_hour * each[1])
    ]
    idle = answer.metrics["idle_accelerators"]
    working = answer.metrics["accelerators"]
    stands = f"{idle:.0f} of {idle + working:.0f} accelerators stand idle." if idle else ""
    return Table(
        title="What to rent",
        columns=["offer", "count", "holds", "an hour each", "an hour"],
        rows=rows,
        note=f"{plan.cloud} {plan.region}, {HOURS_A_MONTH:g} hours a month. {stands}".strip(),
    )


def _load(plan: Plan) -> Bars:
    used = plan.used()
    names = [plan.profiles[g].type.name for g in used]
    headroom = [100 * plan.fleet.headroom[name] for name in names]
    return Bars(
        title="Load of each type",
        labels=[f"{plan.fleet.counts[name]} × {name}" for name in names],
        series={"used": [100 - h for h in headroom], "headroom": headroom},
        unit="%",
        stacked=True,
    )


def _serves(answer: Answer) -> Table:
    plan, workload = answer.plan, answer.environment.workload
    names = [plan.profiles[g].type.name for g in plan.used()]
    given = [np.asarray(plan.fleet.shares[name]).sum(axis=0) for name in names]
    rows: list[list[str | float | int | None]] = []
    order = np.argsort(-workload.shares, axis=None)[: 2 * _SHOWN]
    for i, j in zip(*np.unravel_index(order, workload.shares.shape), strict=True):
        if workload.shares[i, j] > 0:
            parts = [_part(float(share[i, j])) for share in given]
            bucket = workload.bucket_name(int(i), int(j))
            rows.append([bucket, f"{100 * workload.shares[i, j]:.1f} %", *parts])
    return Table(
        title="Who serves what",
        columns=["tokens of a request", "of requests", *names],
        rows=rows,
        note=f"The {len(rows)} largest of {int((workload.shares > 0).sum())} buckets.",
    )


def _part(share: float) -> str | None:
    """A share of a bucket in percent; nothing where it is none of it."""
    if share < 5e-4:
        return None
    return "under 1 %" if share < 0.005 else f"{100 * share:.0f} %"


def _binds(answer: Answer) -> Facts:
    """Say what keeps an instance from carrying more, weighted by the load it carries."""
    plan, environment = answer.plan, answer.environment
    weights: dict[tuple[str, str], float] = {}
    for p in _in_use(plan):
        share = np.asarray(plan.fleet.shares[p.type.name]).sum(axis=0)
        share = share * environment.workload.shares
        for i, j in np.argwhere(share > 1e-12):
            key = (p.type.name, p.limit_name(int(i), int(j)))
            weights[key] = weights.get(key, 0.0) + float(share[i, j])
    items = [
        f"{name}: {limit} stops a higher rate for {100 * share:.0f} % of all requests."
        for (name, limit), share in sorted(weights.items(), key=lambda item: -item[1])
        if share >= 0.005
    ]
    every = environment.planner.profiles(answer.design)
    refused = list(dict.fromkeys(_refusal(p) for p in every if p.refusal))
    if environment.market.unpriced:
        refused.append(f"Left out for lack of a price: {', '.join(environment.market.unpriced)}.")
    return Facts(title="What binds", items=items + refused[:_SHOWN])


def _refusal(profile: Any) -> str:
    """Say why a type was refused; what does not depend on its width is said of the device."""
    refusal = percent(str(profile.refusal))
    if refusal.startswith(profile.type.device.name):
        return f"{refusal}."
    return f"{profile.type.name}: {refusal}."


def _misses(answer: Answer) -> Table | None:
    """Return the buckets that miss a limit, with their share of all requests."""
    workload = answer.environment.workload
    rows: list[list[str | float | int | None]] = []
    for each in answer.limits:
        missed = answer.plan.achieved.misses(each.rule, workload.shares.shape)
        for at in np.argsort(-missed, axis=None)[:_SHOWN]:
            i, j = (int(x) for x in np.unravel_index(at, missed.shape))
            if missed[i, j] >= 5e-6:
                rows.append(
                    [
                        each.rule.words,
                        workload.bucket_name(i, j),
                        f"{100 * missed[i, j]:.3f} %",
                        f"{100 * missed[i, j] / workload.shares[i, j]:.1f} %",
                    ]
                )
    if not rows:
        return None
    return Table(
        title="Who misses a limit",
        columns=["limit", "tokens of a request", "of all requests", "of the bucket"],
        rows=rows,
        note="A percentile allows it: P99 leaves 1 % of all requests. For a mean, buckets whose "
        "own mean is above it.",
    )


def _flips(answer: Answer) -> Table:
    rows: list[list[str | float | int | None]] = [
        [
            percent(flip.what),
            "nothing holds the limits" if flip.plan is None else rent_words(flip.plan),
            None if flip.plan is None else amount(flip.plan.cost_per_hour, "$/h"),
        ]
        for flip in answer.flips
    ]
    return Table(
        title="What would change the answer",
        columns=["if", "then rent", "cost"],
        rows=rows,
        note="Prices, rate, length and busy slots up and down by 5, 10 and 20 %, and the other "
        "engines, each alone; only changes of what is rented, not of how much, are listed.",
    )


def _clouds(answer: Answer) -> Table:
    return Table(
        title="Clouds",
        columns=["cloud", "region", "rent", "cost"],
        rows=[
            [plan.cloud, plan.region, offer_words(plan), amount(plan.cost_per_hour, "$/h")]
            for plan in answer.clouds[:3]
        ],
        note="The three cheapest with dated prices; a fleet stays inside one region.",
    )


def _singles(answer: Answer) -> Table:
    return Table(
        title="Fleets of one accelerator type",
        columns=["device", "rent", "cost"],
        rows=[
            [device, rent_words(plan), amount(plan.cost_per_hour, "$/h")]
            for device, plan in answer.singles
        ],
    )


def _today(answer: Answer) -> Facts:
    today = answer.today
    assert today is not None
    items = [today_line(answer)]
    if today.plan is not None:
        rules = answer.planner.rules
        got = today.plan.achieved
        held = joined([f"{r.words} {amount(got.value(r), 's')}" for r in rules])
        items.append(f"It holds the limits{': ' if held else ''}{held}.")
    else:
        items.append(f"It does not carry the load within the limits: {percent(today.why)}.")
    return Facts(title="Against today", items=items)


def _bursts(answer: Answer) -> Table:
    shape = answer.environment.workload
    rows: list[list[str | float | int | None]] = [
        [
            f"{window} s",
            f"{peak:,.3g}",
            f"{shape.dispersion[window]:.3g}" if window in shape.dispersion else None,
        ]
        for window, peak in answer.peaks.items()
    ]
    capacity = answer.capacity_per_s
    note = (
        f"Planned for {answer.environment.rate_per_s:.3g} requests/s "
        f"({answer.environment.rate_meaning}); the fleet serves at most {capacity:,.3g}. Peaks "
        "are the trace's own, at the rate planned for. Source: "
    )
    return Table(
        title="The workload and its bursts",
        columns=["busiest", "requests/s", "index of dispersion"],
        rows=rows,
        note=note + "; ".join([shape.source, *shape.notes]) + ".",
    )


def _prices(answer: Answer) -> Table:
    """Return the offers of the region, of equal accelerators the cheapest."""
    region = next(
        r
        for r in answer.planner.market.regions
        if (r.cloud, r.region) == (answer.plan.cloud, answer.plan.region)
    )
    cheapest: dict[tuple[str, int], Any] = {}
    rented = {offer.name for offer, _ in answer.plan.bill}
    for offer in sorted(region.offers, key=lambda o: (o.name not in rented, o.usd_per_hour)):
        cheapest.setdefault((offer.device, offer.accelerators), offer)
    shown = [cheapest[key] for key in sorted(cheapest)]
    sources = list(dict.fromkeys(str(offer.source) for offer in shown if offer.source))
    columns = ["offer", "holds", "an hour"]
    limited = any(offer.available is not None for offer in shown)
    columns += ["to be had"] * limited + ["source"] * (len(sources) > 1)
    rows: list[list[str | float | int | None]] = []
    for offer in shown:
        price = amount(offer.usd_per_hour, "$")
        row: list[str | float | int | None] = [
            offer.name, f"{offer.accelerators} × {offer.device}", price
        ]  # fmt: skip
        row += [offer.available] * limited
        row += [str(offer.source) if offer.source else None] * (len(sources) > 1)
        rows.append(row)
    off = answer.environment.specification.discount
    notes = [region.name, *(sources if len(sources) == 1 else [])]
    if len(shown) < len(region.offers):
        notes.append(
            f"of {len(region.offers)} offers the cheapest of equal accelerators is listed"
        )
    if off:
        notes.append(f"after your discount of {100 * off:.0f} %")
    return Table(title="Prices", columns=columns, rows=rows, note=f"{'; '.join(notes)}.")


def _in_use(plan: Plan) -> list[Any]:
    return [plan.profiles[g] for g in plan.used()]
