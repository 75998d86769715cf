"""Whether anything that may be rented can serve a model within the limits, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError
from archwright.llm import Transformer
from archwright.serving.profile import Limits, Profile
from archwright.serving.workload import Workload

__all__ = ["check_servable"]

Floats = npt.NDArray[np.float64]


def check_servable(
    model: Transformer,
    weights: str,
    profiles: Sequence[Profile],
    workload: Workload,
    limits: Limits,
) -> None:
    """Refuse a model that no type, or no set of types, can serve.

    Raises:
        InfeasibleError: the message says which limit binds and by how much; ``violation`` is how
            far it is, relative, and ``binding`` the limit with the best value, where there is one.
    """
    if all(p.refusal for p in profiles):
        short = np.array([p.memory_short for p in profiles])
        best = int(np.nanargmin(short)) if not np.isnan(short).all() else 0
        raise _infeasible(
            f"{model.name} in {weights} fits no allowed type; nearest is "
            f"{profiles[best].type.name}: {profiles[best].refusal}",
            short[best],
        )
    used = workload.shares > 0
    rates = np.stack([p.max_rate for p in profiles])
    stuck = used & (rates <= 0).all(axis=0)
    if not stuck.any():
        return
    ttft = np.stack([p.least_ttft_s for p in profiles])
    tpot = np.stack([p.least_tpot_s for p in profiles])
    over_ttft = _excess(ttft, limits.ttft_p99_s)
    over_tpot = _excess(tpot, limits.tpot_mean_s)
    over = np.where(stuck, np.maximum(over_ttft, over_tpot).min(axis=0), -np.inf)
    i, j = np.unravel_index(int(np.argmax(over)), over.shape)
    g = int(np.argmin(np.maximum(over_ttft, over_tpot)[:, i, j]))
    what, value, limit = (
        ("P99 TTFT", ttft[g, i, j], limits.ttft_p99_s)
        if over_ttft[g, i, j] >= over_tpot[g, i, j]
        else ("mean TPOT", tpot[g, i, j], limits.tpot_mean_s)
    )
    bucket = workload.bucket_name(int(i), int(j))
    positions = model.max_position
    context = float(workload.mean_input[i, j] + workload.mean_output[i, j])
    if context > positions:
        raise _infeasible(
            f"{bucket}: {context:,.0f} tokens are beyond the {positions:,} positions of "
            f"{model.name}",
            context / positions - 1,
        )
    if limit is None or not np.isfinite(value):
        raise _infeasible(f"{bucket}: no allowed type has memory for one such request", np.nan)
    error = _infeasible(
        f"{bucket}: {what} is at best {value:.3g} s ({profiles[g].type.name}, idle), the "
        f"limit is {limit:g} s",
        float(over[i, j]),
    )
    error.binding = (what, float(value), float(limit))
    raise error


def _excess(least: Floats, limit: float | None) -> Floats:
    """Return how far the least values are over a limit, relative; inf where there is no memory."""
    if limit is None:
        return np.where(np.isinf(least), np.inf, -1.0)
    return least / limit - 1


def _infeasible(text: str, violation: float) -> Any:
    error: Any = InfeasibleError(text)
    error.violation = float(violation)
    error.binding = None
    return error
