"""What a fleet must hold: means and percentiles of latency over all requests of a workload."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from archwright.errors import SpecificationError
from archwright.specification import option

__all__ = ["Limits", "Quantity", "Rule", "rule"]

Quantity = Literal["ttft", "tpot", "e2e"]

_WORDS = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "end-to-end latency"}
_MEANING = {
    "ttft": "time to first token, queueing included",
    "tpot": "a request's mean time per output token",
    "e2e": "time from arrival to the last token",
}


def _limit(quantity: Quantity, statistic: str) -> float | None:
    doc = f"{statistic} of {_MEANING[quantity]}, over all requests"
    found: float | None = option(None, unit="s", low=1e-6, doc=doc)
    return found


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One limit.

    Attributes:
        name: its key, such as ``ttft_p99_s``; the metric that must not be above it has the same.
        quantity: what is timed.
        quantile: share of the requests that must be within; None for the mean.
        limit_s: seconds; inf where nothing is demanded.
    """

    name: str
    quantity: Quantity
    quantile: float | None
    limit_s: float = float("inf")

    @property
    def words(self) -> str:
        """What is limited, as people say it: ``P99 TTFT``, ``mean TPOT``."""
        statistic = "mean" if self.quantile is None else f"P{100 * self.quantile:g}"
        return f"{statistic} {_WORDS[self.quantity]}"

    @property
    def budget(self) -> float:
        """What the mean over all requests of :meth:`Latency.takes` may be."""
        return self.limit_s if self.quantile is None else 1.0 - self.quantile


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the fleet itself must hold; None is no limit.

    A percentile is over all requests of the workload: those that nothing rented can answer in
    time and those that wait too long are, together, at most the share that it leaves. A mean is
    over all requests, too.

    >>> [r.words for r in Limits(ttft_p95_s=0.5, tpot_mean_s=0.05).rules]
    ['mean TPOT', 'P95 TTFT']
    """

    ttft_p99_s: float | None = _limit("ttft", "P99")
    ttft_mean_s: float | None = _limit("ttft", "mean")
    tpot_mean_s: float | None = _limit("tpot", "mean")
    tpot_p99_s: float | None = _limit("tpot", "P99")
    e2e_p99_s: float | None = _limit("e2e", "P99")
    e2e_mean_s: float | None = _limit("e2e", "mean")
    ttft_p50_s: float | None = _limit("ttft", "P50")
    ttft_p75_s: float | None = _limit("ttft", "P75")
    ttft_p90_s: float | None = _limit("ttft", "P90")
    ttft_p95_s: float | None = _limit("ttft", "P95")
    ttft_p98_s: float | None = _limit("ttft", "P98")
    ttft_p999_s: float | None = _limit("ttft", "P99.9")
    tpot_p50_s: float | None = _limit("tpot", "P50")
    tpot_p75_s: float | None = _limit("tpot", "P75")
    tpot_p90_s: float | None = _limit("tpot", "P90")
    tpot_p95_s: float | None = _limit("tpot", "P95")
    tpot_p98_s: float | None = _limit("tpot", "P98")
    tpot_p999_s: float | None = _limit("tpot", "P99.9")
    e2e_p50_s: float | None = _limit("e2e", "P50")
    e2e_p75_s: float | None = _limit("e2e", "P75")
    e2e_p90_s: float | None = _limit("e2e", "P90")
    e2e_p95_s: float | None = _limit("e2e", "P95")
    e2e_p98_s: float | None = _limit("e2e", "P98")
    e2e_p999_s: float | None = _limit("e2e", "P99.9")
    per_bucket: bool = option(
        False, doc="strict: every bucket of request sizes must hold each limit by itself"
    )

    def __post_init__(self) -> None:
        for each in self.rules:
            if not math.isfinite(each.limit_s):
                raise SpecificationError(
                    f"limits.{each.name}: {each.limit_s}, expected seconds; leave it out for none"
                )

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The limits that are set."""
        return tuple(
            rule(spec.name, getattr(self, spec.name))
            for spec in fields(self)
            if spec.name != "per_bucket" and getattr(self, spec.name) is not None
        )


def rule(name: str, limit_s: float = float("inf")) -> Rule:
    """Return the rule of a name of :class:`Limits`.

    >>> rule("ttft_p999_s").quantile
    0.999
    """
    quantity, statistic, _ = name.split("_")
    digits = statistic.removeprefix("p")
    quantile = None if statistic == "mean" else float(f"0.{digits}")
    return Rule(name=name, quantity=quantity, quantile=quantile, limit_s=limit_s)  # type: ignore[arg-type]
