"""What a fleet achieves at the load it carries: latency over all requests, and power."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from archwright.hardware.energy import power_w
from archwright.serving.instances import NINETY
from archwright.serving.latency import Latency, mixed
from archwright.serving.limits import Rule
from archwright.serving.profile import Operation, Profile

__all__ = ["Achieved", "Interval", "achieved"]

Floats = npt.NDArray[np.float64]

_FAR = 4.0  # standard deviations beyond which nothing is told apart
_HALVINGS = 9  # of the deviation at which a limit breaks: to a hundredth


class Interval(NamedTuple):
    """A value with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Achieved:
    """Latency and power of a fleet at the load planned for.

    How wrong step times may be is one number for the whole fleet, in standard deviations of their
    law: all types are slower or faster together, which is the careful case. At slower steps the
    same requests arrive, so more of them run and wait.

    Attributes:
        power_w: of all accelerators, hosts apart; NaN where a TDP is not known.
        accelerators: how many.
        prefill_share: share of the busy time, weighted by cost, that prompts take.
    """

    power_w: Interval
    accelerators: float
    prefill_share: float
    _parts: Sequence[_Part] = ()
    _requests: Floats = field(default_factory=lambda: np.zeros(0))
    _mixtures: dict[float, Latency] = field(default_factory=dict)

    def latency(self, error: float = 0.0) -> Latency:
        """Return the latency of each group of requests at step times so many deviations off."""
        if error not in self._mixtures:
            if not self._parts:
                nothing = np.zeros(0)
                names = Latency.__dataclass_fields__
                self._mixtures[error] = Latency(**dict.fromkeys(names, nothing))
            else:
                self._mixtures[error] = mixed([part.latency(error) for part in self._parts])
        return self._mixtures[error]

    @cached_property
    def share(self) -> Floats:
        """Share of all requests in each group of :meth:`latency`."""
        total = self._requests.sum()
        return self._requests / total if total > 0 else self._requests

    def value(self, rule: Rule, error: float = 0.0) -> float:
        """Return a mean or percentile over all requests; 0 without any."""
        return self.latency(error).value(rule, self.share) if len(self.share) else 0.0

    def interval(self, rule: Rule) -> Interval:
        """Return the value with its 90 % interval; the upper end may be inf, an endless queue."""
        low, high = self.value(rule, -NINETY), self.value(rule, NINETY)
        value = self.value(rule)
        return Interval(value, min(low, value), max(high, value))

    def chance(self, rule: Rule) -> float:
        """Return the probability that a limit holds, given how well step times are known."""

        def holds(error: float) -> bool:
            return self.value(rule, error) <= rule.limit_s * (1 + 1e-6)

        low, high = -_FAR, _FAR
        if holds(high):
            return 1.0
        if not holds(low):
            return 0.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if holds(middle) else (low, middle)
        return 0.5 * (1.0 + math.erf(low / math.sqrt(2.0)))

    def misses(self, rule: Rule, shape: tuple[int, int]) -> Floats:
        """Return the share of all requests that miss a limit, by bucket, shape (I, J).

        For a mean, of the buckets whose own mean is above it.
        """
        late = np.zeros(shape)
        place = 0
        latency = self.latency()
        takes = (
            np.asarray(latency.takes(rule) > rule.limit_s, dtype=np.float64)
            if rule.quantile is None
            else latency.takes(rule)
        )
        missed = takes * self.share
        for part in self._parts:
            size = part.requests.size
            late += missed[place : place + size].reshape(part.requests.shape).sum(axis=0)
            place += size
        return late


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One type of a fleet: its requests/s by way and bucket (M, I, J), and how loaded it is."""

    profile: Profile
    requests: Floats
    load: float

    def operation(self, error: float = 0.0) -> Operation:
        # a share on the last digits of 1 is full load, so that plans share its tables
        full = self.load >= 1.0 - 1e-9
        return self.profile.operation(1.0 if full else self.load, error=error)

    def latency(self, error: float) -> Latency:
        return self.operation(error).latency


def achieved(
    profiles: Sequence[Profile],
    counts: Floats,
    arrival: Floats,
    shares: Mapping[str, Floats],
) -> Achieved:
    """Return what a fleet achieves.

    Each type works on its buckets in turn, in proportion to the load they make, each at the share
    of its rate that the type is loaded to. While nothing decodes or is prefilled it takes idle
    power, a decode step and a prefill their own; see :meth:`Profile.operation`.

    Args:
        profiles: the types (G).
        counts: instances of each, shape (G,); they may be fractions.
        arrival: requests/s of each bucket, shape (I, J).
        shares: type to the share of each bucket that it serves in each way, shape (M, I, J).
    """
    watts = np.zeros(3)
    accelerators = prompts = busy = 0.0
    parts = []
    for g, profile in enumerate(profiles):
        if not counts[g] > 0:
            continue
        accelerators += float(counts[g]) * profile.type.tensor_parallel
        given = np.where(shares[profile.type.name] > 1e-9, shares[profile.type.name], 0.0)
        requests = given * arrival
        if not requests.any():
            watts += float(counts[g]) * _with_interval(profile, profile.idle_w)
            continue
        load = np.divide(requests, profile.rate, out=np.zeros_like(requests), where=requests > 0)
        part = _Part(profile=profile, requests=requests, load=float(load.sum() / counts[g]))
        at = part.operation()
        parts.append(part)
        one = float((at.power_w * load).sum() / load.sum())
        watts += float(counts[g]) * _with_interval(profile, one)
        weight = profile.type.tensor_parallel * load
        prompts += float((at.prefill_share * weight).sum())
        busy += float(weight.sum())
    empty: Floats = np.zeros(0)
    return Achieved(
        power_w=Interval(*watts.tolist()),
        accelerators=accelerators,
        prefill_share=prompts / busy if busy else 0.0,
        _parts=parts,
        _requests=np.concatenate([p.requests.ravel() for p in parts]) if parts else empty,
    )


def _with_interval(profile: Profile, watts: float) -> Floats:
    """Return power with the relative interval of the power law, at most the TDP."""
    device = profile.type.device
    if device.tdp_w is None:
        return np.full(3, np.nan)
    idle = power_w(device, 0.0, 0.0, return_interval=True)  # far below the TDP, which cuts it
    most = device.tdp_w * profile.type.tensor_parallel
    low, high = watts * idle.low / idle.watts, watts * idle.high / idle.watts
    return np.array([watts, low, min(high, most)])
