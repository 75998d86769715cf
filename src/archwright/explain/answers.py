"""Answers of several studies side by side: the fleets that they would rent.

Read from the ``answer`` of each run's ``summary.json``, so that no study is opened again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from archwright.search.amounts import amount, chance, span
from archwright.search.panels import Table
from archwright.search.study import Result

__all__ = ["cheapest_words", "side_by_side", "stored_answers"]

Answers = Mapping[str, Mapping[str, Any] | None]

_LATENCIES = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "end-to-end latency"}


def stored_answers(runs: Mapping[str, Result]) -> dict[str, dict[str, Any] | None]:
    """Return the answer of each run; None where it has none, such as one still running."""
    found: dict[str, dict[str, Any] | None] = {}
    for name, result in runs.items():
        found[name] = None
        if result.folder is not None:
            try:
                summary = json.loads((result.folder / "summary.json").read_text())
            except (OSError, ValueError):
                continue  # it has not ended
            found[name] = summary.get("answer") if isinstance(summary, dict) else None
    return found


def side_by_side(answers: Answers) -> Table | None:
    """Return fleets in columns, one row for each thing to compare; None below two fleets.

    >>> fleet = {"design": {"model": "M"}, "offers": {"p5.4xlarge": 1}, "cloud": "aws",
    ...          "region": "us-east-1", "usd_per_hour": 6.88, "usd_per_month": 5022.4,
    ...          "metrics": {"quality": 63.3}, "limits": [], "safe": None}
    >>> table = side_by_side({"a": fleet, "b": {**fleet, "usd_per_hour": 13.76}})
    >>> table.rows[2]
    ['an hour', '$6.88', '$13.76']
    """
    fleets = {name: found for name, found in answers.items() if found and found.get("offers")}
    if len(fleets) < 2:
        return None
    rows: list[list[str | float | int | None]] = []

    def add(what: str, say: Callable[[Mapping[str, Any]], str | None]) -> None:
        texts = [None if not found else say(found) for found in answers.values()]
        if any(texts):
            rows.append([what, *texts])

    add("rent", lambda found: _counts(found.get("offers")))
    add("from", lambda found: f"{found.get('cloud', '')} {found.get('region', '')}".strip())
    add("an hour", lambda found: _dollars(found.get("usd_per_hour")))
    add("a month", lambda found: _dollars(found.get("usd_per_month"), whole=True))
    add("instances", lambda found: _counts(found.get("instances")))
    for key in dict.fromkeys(key for found in fleets.values() for key in found["design"]):
        add(key.replace("_", " "), lambda found, key=key: _text(found["design"].get(key)))  # type: ignore[misc]
    add("quality", lambda found: _metric(found, "quality", "%"))
    names = [each["name"] for found in fleets.values() for each in found.get("limits", [])]
    for name in dict.fromkeys(names):
        add(_limit_words(name), lambda found, name=name: _limit(found, name))  # type: ignore[misc]
    for name, what in (("input", "a million input tokens"), ("output", "a million output tokens")):
        metric = f"cost_usd_per_million_{name}_tokens"
        add(what, lambda found, metric=metric: _metric(found, metric, "$"))  # type: ignore[misc]
    add("power of the GPUs", lambda found: _metric(found, "power_w", "W"))
    add("safe plan", _safe)
    return Table(
        title="The fleets side by side",
        columns=["", *answers],
        rows=rows,
        note="Limits: what is planned, of at most; the 90 % interval; the chance to hold.",
    )


def cheapest_words(answers: Answers) -> str:
    """Return which fleet costs least, and what the others cost more."""
    costs = {
        name: float(found["usd_per_hour"])
        for name, found in answers.items()
        if found and found.get("offers")
    }
    first, *others = sorted(costs, key=lambda name: costs[name])
    least = costs[first]
    more = [f"{name} {amount(costs[name] - least, '$')} more" for name in others]
    if all(costs[name] == least for name in others):
        return f"The fleets cost the same: {amount(least, '$')} an hour."
    return f"{first} costs least: {amount(least, '$')} an hour; {', '.join(more)}."


def _counts(counts: Any) -> str | None:
    if not counts:
        return None
    return ", ".join(f"{count} × {name}" for name, count in counts.items())


def _dollars(value: Any, *, whole: bool = False) -> str | None:
    if value is None:
        return None
    return f"${value:,.0f}" if whole else amount(float(value), "$")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _metric(found: Mapping[str, Any], name: str, unit: str) -> str | None:
    value = found.get("metrics", {}).get(name)
    return None if value is None else amount(float(value), unit)


def _limit_words(name: str) -> str:
    """``ttft_p99_s`` as people say it: ``P99 TTFT``."""
    latency, _, statistic = name.removesuffix("_s").partition("_")
    if latency not in _LATENCIES:
        return name
    statistic = "P99.9" if statistic == "p999" else statistic.replace("p", "P")
    return f"{statistic} {_LATENCIES[latency]}"


def _limit(found: Mapping[str, Any], name: str) -> str | None:
    each = next((each for each in found.get("limits", []) if each["name"] == name), None)
    if each is None:
        return None
    value, low, high = (_endless(each[key]) for key in ("value", "low", "high"))
    ends = span(low, high, "s", endless="overload")
    planned = "overload" if each["value"] is None else amount(value, "s")
    return f"{planned} of {amount(each['limit'], 's')} ({ends}; {chance(each['chance'])})"


def _endless(value: Any) -> float:
    """An end of an interval as a number: null stands for one without bound."""
    return float("inf") if value is None else float(value)


def _safe(found: Mapping[str, Any]) -> str | None:
    safe = found.get("safe")
    if not safe:
        return "none"
    same = safe.get("offers") == found.get("offers") and safe["design"] == found["design"]
    if same:
        return "the same"
    return f"{_counts(safe.get('offers'))}, {_dollars(safe.get('usd_per_hour'))} an hour"
