"""What ``serving/fleet`` says about a design: the sentence, the panels, the second choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from archwright.errors import InfeasibleError
from archwright.llm import assumptions as memory_assumptions
from archwright.search.panels import Bars, Facts, Panel, Table

if TYPE_CHECKING:
    from archwright.serving.fleet_environment import FleetEnvironment, Plan

__all__ = ["assumptions", "panels", "runner_up", "sentence", "why_infeasible"]

Design = Mapping[str, Any]
_SHOWN = 8
_RAISES = (1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0)
"""Multiples of the best value at which a limit that is missed is tried."""


def fleet_words(plan: Plan) -> str:
    """Return the fleet in words, dearest part first: ``3 × H100-SXM and 2 × L4``."""
    counts = list(plan.fleet.counts.items())
    parts = [f"{counts[g][1]} × {counts[g][0]}" for g in plan.used()]
    if len(parts) < 2:
        return "".join(parts) or "no instance"
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def sentence(environment: FleetEnvironment, design: Design) -> str:
    """Return the answer: counts, dollars, what it holds."""
    plan = environment.plan(design)
    kept = environment.quality(design)
    benchmark = environment.specification.benchmark
    score = f" and {benchmark} {kept.value:.1f}" if np.isfinite(kept.value) else ""
    return (
        f"{fleet_words(plan)} running {design['model']} in {design['weights']} (KV cache "
        f"{design['kv']}) serve {environment.rate_per_s:.3g} requests/s for "
        f"${plan.fleet.cost_per_hour:,.2f} an hour, with P99 TTFT {plan.ttft_p99_s:.3g} s, mean "
        f"TPOT {plan.tpot_mean_s * 1e3:.3g} ms{score}."
    )


def panels(environment: FleetEnvironment, design: Design) -> list[Panel]:
    """Return the fleet as bars, its load, what binds, who serves what, prices, today's fleet."""
    plan = environment.plan(design)
    found: list[Panel] = [*_bars(plan), _binds(environment, plan), _serves(environment, plan)]
    found.append(_prices(environment))
    if environment.specification.today is not None:
        found.append(_today(environment, plan))
    found.append(_workload(environment))
    return found


def assumptions(environment: FleetEnvironment, design: Design) -> list[tuple[str, str, str, str]]:
    """Return (what, value, label, source) of what the answer stands on."""
    specification = environment.specification
    plan = environment.plan(design)
    kept = environment.quality(design)
    rows = [
        (
            "rate planned for",
            f"{environment.rate_per_s:.4g} requests/s ({environment.rate_meaning})",
            "assumed",
            "study file",
        ),
        ("workload", specification.workload, "measured", environment.workload.source),
        (
            "quality",
            f"{kept.value:.1f} % (interval {kept.low:.1f} to {kept.high:.1f})"
            if np.isfinite(kept.value)
            else f"unknown: {kept.reason}",
            kept.label,
            "; ".join(str(source) for source in kept.sources[:2]),
        ),
        *_settings(environment, kept),
        (
            "step times",
            f"kernel-time laws, engine {specification.engine}",
            "fitted",
            str(environment.engine.source),
        ),
        (
            "power",
            "power law at the load of each type, GPU only: hosts and cooling are not counted",
            environment.power_label,
            "measured on H100 and B200 boards; carried by TDP to other devices",
        ),
        (
            "queue",
            "P99 wait by Erlang C with Kimura's correction, servers = batch slots, at most 85 % "
            "busy",
            "analytic",
            "Workload-Router-Pool paper, fleet simulator",
        ),
        (
            "price of a wide instance",
            "accelerator-hours times its width",
            "assumed",
            "clouds sell fixed sizes; check that this one exists",
        ),
    ]
    for g in plan.used():
        one = plan.profiles[g].type.device
        price = environment.prices[one.name]
        label = "assumed" if "recalled" in str(price.source) else "table"
        rows.append((f"price of {one.name}", f"${price.usd_per_hour:.3f}/h", label, _where(price)))
        weak = [f for f in ("tdp_w", "memory_bandwidth_bytes_s") if one.origin(f) != "sourced"]
        note = f"; {', '.join(weak)} {one.origin(weak[0])}" if weak else ""
        rows.append((f"peaks of {one.name}", "data sheet", "table", f"{one.source}{note}"))
    rows += [
        (f"memory: {name.replace('_', ' ')}", f"{value:g}", source.flag, source.source)
        for name, (value, source) in memory_assumptions().items()
    ]
    return rows


def _settings(environment: FleetEnvironment, kept: Any) -> list[tuple[str, str, str, str]]:
    """Say how the scores were taken, and warn where one front holds several settings."""
    benchmark = environment.specification.benchmark
    settings = environment.settings()
    rows = [(f"setting of {benchmark}", kept.setting, "table", "")] if kept.setting else []
    if len(settings) > 1:
        others = f"{len(settings)} settings meet on this front, so small differences mean little"
        rows.append((f"scores of {benchmark}", others, "assumed", "; ".join(settings)))
    return rows


def runner_up(environment: FleetEnvironment, design: Design) -> str:
    """Return the best fleet without the main device, and the price at which it would win."""
    plan = environment.plan(design)
    if not plan.used():
        return ""
    main = plan.profiles[plan.used()[0]].type.device.name
    others = tuple(p for p in plan.profiles if p.type.device.name != main)
    if not others:
        return f"No other device than {main} is allowed, so there is no runner-up."
    try:
        second = environment._solve(others)
    except InfeasibleError as error:
        return f"Without {main} no fleet holds the limits: {error}."
    cost, least = second.fleet.cost_per_hour, plan.fleet.cost_per_hour
    lead = second.profiles[second.used()[0]].type.device
    more = (cost - least) / least
    text = (
        f"Runner-up, without {main}: {fleet_words(second)} at ${cost:,.2f} an hour (+{more:.1%})."
    )
    # both bills are linear in the price of one accelerator of the runner-up's main device
    mine = _accelerators(plan, lead.name)
    gain = _accelerators(second, lead.name) - mine
    now = environment.prices[lead.name].usd_per_hour * (1 - environment.specification.discount)
    break_even = now - (cost - least) / gain if gain > 0 else 0.0
    if break_even > 0:
        text += (
            f" It would win if {lead.name} cost below ${break_even:.2f} an hour (now ${now:.2f})."
        )
    else:
        text += f" No price of {lead.name} alone would make it win."
    return text


def why_infeasible(environment: FleetEnvironment, designs: Sequence[Design]) -> list[str]:
    """Return the limit that binds, by how much, and the smallest change that helps.

    It speaks of the nearest design, of known quality where there is one: others are on no front
    over quality.
    """
    known = [d for d in designs if np.isfinite(environment.quality(d).value)]
    nearest: Any = None
    for design in known or designs:
        try:
            environment.plan(design)
        except InfeasibleError as error:
            over = getattr(error, "violation", np.nan)
            if nearest is None or (np.isfinite(over) and not over >= nearest[0]):
                nearest = (over, design, error)
        else:
            return []  # it can be served; a limit of the goal is what fails
    if nearest is None:
        return []
    over, design, problem = nearest
    lines = [f"Nearest design: {environment.label(design)}: {problem}."]
    binding = getattr(problem, "binding", None)
    if binding is not None:
        what, value, limit = binding
        key = "ttft_p99_s" if what == "P99 TTFT" else "tpot_mean_s"
        helps = _smallest_limit(environment, design, key, float(value))
        change = (
            f"Smallest change that helps: environment.limits.{key} = {helps:.3g}."
            if helps is not None
            else "Raising this limit alone does not help, tried up to "
            f"{_RAISES[-1] * value:.3g} s."
        )
        lines.append(f"What binds: {what}, {over:.0%} over its limit of {limit:g} s. {change}")
    elif np.isfinite(over):
        lines.append(
            f"What binds: memory, {over:.0%} short. A smaller weight format, a wider instance or "
            "a device with more memory would help."
        )
    return lines


def _smallest_limit(
    environment: FleetEnvironment, design: Design, key: str, least: float
) -> float | None:
    """Return a value of one limit, to three digits, at which the design can be served.

    The smallest of those tried, ``_RAISES`` times the least; None where none of them helps.
    """
    from dataclasses import replace

    from archwright.serving.fleet_environment import FleetEnvironment

    for factor in _RAISES:
        value = float(np.format_float_positional(least * factor, precision=3, fractional=False))
        specification = environment.specification
        limits = replace(specification.limits, **{key: value})
        relaxed = FleetEnvironment(
            replace(specification, limits=limits),
            vary=environment.space.parameters,
            folder=environment.folder,
        )
        try:
            relaxed.plan(design)
        except InfeasibleError:
            continue
        return value
    return None


def _accelerators(plan: Plan, device: str) -> int:
    return sum(
        plan.fleet.counts[p.type.name] * p.type.tensor_parallel
        for p in plan.profiles
        if p.type.device.name == device
    )


def _bars(plan: Plan) -> list[Panel]:
    used = plan.used()
    names = [plan.profiles[g].type.name for g in used]
    counts = [plan.fleet.counts[name] for name in names]
    money = [n * plan.prices[g] for n, g in zip(counts, used, strict=True)]
    note = "; ".join(f"{name} ${m:,.2f}/h" for name, m in zip(names, money, strict=True))
    headroom = [plan.fleet.headroom[name] for name in names]
    return [
        Bars(title="The fleet", labels=names, series={"instances": counts}, note=note),
        Bars(
            title="Load of each type",
            labels=names,
            series={"used": [1 - h for h in headroom], "headroom": headroom},
            unit="share",
            stacked=True,
        ),
    ]


def _binds(environment: FleetEnvironment, plan: Plan) -> Facts:
    """Say what keeps an instance from carrying more, weighted by the load it carries."""
    weights: dict[tuple[str, str], float] = {}
    for g in plan.used():
        p = plan.profiles[g]
        share = plan.fleet.assignment[:, :, g] * environment.workload.shares
        for i, j in np.argwhere(share > 1e-12):
            key = (p.type.name, p.limit_name(int(i), int(j)))
            weights[key] = weights.get(key, 0.0) + float(share[i, j])
    items = [
        f"{name}: {limit} stops a higher rate for {share:.0%} of all requests."
        for (name, limit), share in sorted(weights.items(), key=lambda item: -item[1])
        if share >= 0.005
    ]
    refused = list(dict.fromkeys(_refusal(p) for p in plan.profiles if p.refusal))
    if environment.unpriced:
        refused.append(f"Left out for lack of a price: {', '.join(environment.unpriced)}.")
    return Facts(title="What binds", items=items + refused[:_SHOWN])


def _refusal(profile: Any) -> str:
    """Say why a type was refused; what does not depend on its width is said of the device."""
    refusal = str(profile.refusal)
    if refusal.startswith(profile.type.device.name):
        return f"{refusal}."
    return f"{profile.type.name}: {refusal}."


def _serves(environment: FleetEnvironment, plan: Plan) -> Table:
    names = [plan.profiles[g].type.name for g in plan.used()]
    shares = environment.workload.shares
    rows: list[list[str | float | int | None]] = []
    order = np.argsort(-shares, axis=None)[: 2 * _SHOWN]
    for i, j in zip(*np.unravel_index(order, shares.shape), strict=True):
        if shares[i, j] > 0:
            parts = [f"{plan.fleet.assignment[i, j, g]:.0%}" for g in plan.used()]
            bucket = environment.workload.bucket_name(int(i), int(j))
            rows.append([bucket, f"{shares[i, j]:.1%}", *parts])
    return Table(
        title="Who serves what",
        columns=["bucket", "of requests", *names],
        rows=rows,
        note=f"The {len(rows)} largest of {int((shares > 0).sum())} buckets.",
    )


def _prices(environment: FleetEnvironment) -> Table:
    rows: list[list[str | float | int | None]] = [
        [name, f"${price.usd_per_hour:.3f}", _where(price), environment.available.get(name)]
        for name, price in environment.prices.items()
    ]
    off = environment.specification.discount
    return Table(
        title="Prices",
        columns=["device", "list price an hour", "where and when", "to be had"],
        rows=rows,
        note=f"Before your discount of {off:.0%}." if off else "",
    )


def _where(price: Any) -> str:
    return ", ".join(
        str(p) for p in (price.cloud, price.region, price.instance, price.source) if p
    )


def _today(environment: FleetEnvironment, plan: Plan) -> Facts:
    today = environment.specification.today
    assert today is not None
    design = {
        "model": today.model,
        "weights": today.weights,
        "kv": today.kv,
        "max_batch": today.max_batch,
        "devices": "all",
    }
    profiles = environment.profiles(design)
    fixed = {p.type.name: today.fleet.get(p.type.name, 0) for p in profiles}
    bill = sum(environment.price(p.type) * fixed[p.type.name] for p in profiles)
    words = " and ".join(f"{n} × {name}" for name, n in today.fleet.items())
    change = plan.fleet.cost_per_hour - bill
    verb = "saves" if change < 0 else "costs"
    items = [
        f"Today: {words} running {today.model} in {today.weights}, ${bill:,.2f} an hour.",
        f"The plan {verb} ${abs(change):,.2f} an hour against it ({change / bill:+.0%}).",
    ]
    try:
        now = environment._solve(profiles, fixed=fixed, survive_loss=False)
        items.append(
            f"It holds the limits: P99 TTFT {now.ttft_p99_s:.3g} s, mean TPOT "
            f"{now.tpot_mean_s * 1e3:.3g} ms."
        )
    except InfeasibleError as error:
        items.append(f"It does not carry the load within the limits: {error}.")
    return Facts(title="Against today", items=items)


def _workload(environment: FleetEnvironment) -> Facts:
    shape = environment.workload
    items = [
        f"Source: {shape.source}.",
        f"Mean rate {shape.mean_rate_per_s:.3g} requests/s, busiest five minutes "
        f"{shape.peak_rate_per_s:.3g}; planned for {environment.rate_per_s:.3g} "
        f"({environment.rate_meaning}).",
        *shape.notes,
    ]
    return Facts(title="The workload", items=items)
