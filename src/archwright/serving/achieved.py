"""What a fleet achieves at the load it carries: latency of the worst bucket, power of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from archwright.hardware.energy import power_w
from archwright.serving.profile import Profile

__all__ = ["Achieved", "Interval", "achieved"]

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A value with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Achieved:
    """Latency and power of a fleet.

    Attributes:
        ttft_p99_s: of the worst bucket and type in use.
        tpot_mean_s: of the worst bucket and type in use.
        power_w: of all accelerators, hosts apart; NaN where a TDP is not known.
        accelerators: how many.
    """

    ttft_p99_s: Interval
    tpot_mean_s: Interval
    power_w: Interval
    accelerators: float


def achieved(
    profiles: Sequence[Profile], counts: Floats, arrival: Floats, assignment: Floats
) -> Achieved:
    """Return what a fleet achieves.

    Power: each type works on its buckets in turn, in proportion to the load they make, each at
    the share of its highest rate that the type is loaded to. While nothing decodes or is
    prefilled it takes idle power, a decode step and a prefill their own; see
    :meth:`Profile.operation`.

    Args:
        profiles: the types, in order (G).
        counts: instances of each, shape (G,); they may be fractions.
        arrival: requests/s of each bucket, shape (I, J).
        assignment: share of each bucket that goes to each type, shape (I, J, G).
    """
    worst_ttft, worst_tpot = np.zeros(3), np.zeros(3)
    watts = np.zeros(3)
    accelerators = 0.0
    for g, profile in enumerate(profiles):
        if not counts[g] > 0:
            continue
        accelerators += float(counts[g]) * profile.type.tensor_parallel
        serves = assignment[:, :, g] > 1e-9
        if not serves.any():
            watts += float(counts[g]) * _with_interval(profile, profile.idle_w)
            continue
        load = assignment[:, :, g][serves] * arrival[serves] / profile.max_rate[serves]
        share = float(load.sum() / counts[g])
        at = profile.operation(share if share < 1.0 - 1e-9 else 1.0)
        ttft = (at.ttft_s, at.ttft_low_s, at.ttft_high_s)
        tpot = (at.tpot_s, at.tpot_low_s, at.tpot_high_s)
        worst_ttft = np.maximum(worst_ttft, [end[serves].max() for end in ttft])
        worst_tpot = np.maximum(worst_tpot, [end[serves].max() for end in tpot])
        one = float(at.power_w[serves] @ load / load.sum())
        watts += float(counts[g]) * _with_interval(profile, one)
    return Achieved(
        ttft_p99_s=Interval(*worst_ttft.tolist()),
        tpot_mean_s=Interval(*worst_tpot.tolist()),
        power_w=Interval(*watts.tolist()),
        accelerators=accelerators,
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
