"""Latency of requests: of one instance at work on each bucket, and of a mixture of such.

A request waits, is prefilled, and decodes. Its wait is 0 with probability 1 - C and else
exponential with mean θ (Kimura's approximation, :func:`archwright.serving.queueing.wait`);
prefill and decode take what the instance takes. So the chance that a request is later than a
limit, and a percentile over a mixture of buckets, types and operating points, are closed forms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from archwright.serving.limits import Quantity, Rule

__all__ = ["Latency", "mixed"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Latency of requests, one entry a group of them; all arrays broadcast to one shape.

    A bucket's longest request decides what a percentile counts as late, its mean one what a mean
    counts.

    Attributes:
        waits: probability C that a request waits.
        wait_s: mean wait θ of those that do; inf where the queue grows without end.
        first_s: prefill and first decode step of the longest prompt.
        mean_first_s: of the mean prompt.
        tpot_s: mean time per output token.
        output: output tokens after the first of the longest request.
        mean_output: of the mean request.
    """

    waits: Floats
    wait_s: Floats
    first_s: Floats
    mean_first_s: Floats
    tpot_s: Floats
    output: Floats
    mean_output: Floats

    def row(self, place: int, shape: tuple[int, ...]) -> Latency:
        """Return one row of groups (T, B) in a shape of their own."""
        full = self.tpot_s.shape
        names = self.__dataclass_fields__
        return Latency(
            **{n: np.broadcast_to(getattr(self, n), full)[place].reshape(shape) for n in names}
        )

    def late(self, quantity: Quantity, limit_s: float | Floats) -> Floats:
        """Return the probability that a request takes longer than a limit."""
        if quantity == "tpot":
            return np.asarray(self.tpot_s > limit_s, dtype=np.float64)
        spare = limit_s - self._fixed(quantity)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            tail = self.waits * np.exp(-np.maximum(spare, 0.0) / self.wait_s)
        return np.where(spare < 0, 1.0, np.where(np.isinf(self.wait_s), self.waits, tail))

    def mean(self, quantity: Quantity) -> Floats:
        """Return the mean over requests."""
        if quantity == "tpot":
            return self.tpot_s
        with np.errstate(invalid="ignore"):
            wait = np.where(self.waits > 0, self.waits * self.wait_s, 0.0)
        first = wait + self.mean_first_s
        return first if quantity == "ttft" else first + self.mean_output * self.tpot_s

    def takes(self, rule: Rule) -> Floats:
        """Return what a request takes of a rule's budget: lateness, or its mean seconds."""
        if rule.quantile is None:
            return self.mean(rule.quantity)
        return self.late(rule.quantity, rule.limit_s)

    def holds(self, rule: Rule) -> npt.NDArray[np.bool_]:
        """Say where a group holds a rule by itself."""
        return np.asarray(self.takes(rule) <= rule.budget)

    def least(self, rule: Rule) -> Floats:
        """Return what a rule's value is at best, of a group by itself without waiting."""
        if rule.quantile is None:
            return self.mean(rule.quantity)
        return self.tpot_s if rule.quantity == "tpot" else self._fixed(rule.quantity)

    def value(self, rule: Rule, share: Floats) -> float:
        """Return the mean or percentile of a mixture, share of the requests by group, sum 1."""
        used = share > 0
        if rule.quantile is None:
            return float((self.mean(rule.quantity)[used] * share[used]).sum())
        return self._quantile(rule.quantity, rule.quantile, share)

    def _fixed(self, quantity: Quantity) -> Floats:
        return self.first_s if quantity == "ttft" else self.first_s + self.output * self.tpot_s

    def _quantile(self, quantity: Quantity, quantile: float, share: Floats) -> float:
        used = np.flatnonzero(share.ravel() > 0)
        weight = share.ravel()[used]
        left = (1.0 - quantile) * weight.sum()
        if quantity == "tpot":
            values = self.tpot_s.ravel()[used]
            order = np.argsort(values, kind="stable")
            above = weight.sum() - np.cumsum(weight[order])  # share that is slower
            return float(values[order][int(np.argmax(above <= left * (1 + 1e-9) + 1e-15))])
        group = self._at(used)
        if (weight * np.where(np.isinf(group.wait_s), group.waits, 0.0)).sum() > left:
            return float("inf")
        fixed = group._fixed(quantity)
        finite = np.where(np.isinf(group.wait_s), 0.0, group.wait_s)
        low, high = 0.0, float(fixed.max() + finite.max() * np.log(max(1.0 / left, 2.0)))
        for _ in range(80):
            middle = (low + high) / 2
            late = float(weight @ group.late(quantity, middle))
            low, high = (middle, high) if late > left * (1 + 1e-9) else (low, middle)
            if high - low <= 1e-12 * high:
                break
        return high

    def _at(self, index: npt.NDArray[np.intp]) -> Latency:
        return Latency(**{n: getattr(self, n).ravel()[index] for n in self.__dataclass_fields__})


def mixed(parts: list[Latency]) -> Latency:
    """Return the groups of several latencies as one flat latency."""
    return Latency(
        **{
            name: np.concatenate([getattr(part, name).ravel() for part in parts])
            for name in Latency.__dataclass_fields__
        }
    )
