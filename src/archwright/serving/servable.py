"""Whether anything that may be rented can serve a model within the limits, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError
from archwright.llm import Transformer
from archwright.serving.latency import Latency
from archwright.serving.limits import Limits, Rule
from archwright.serving.profile import Profile
from archwright.serving.workload import Workload

__all__ = ["check_servable", "infeasible"]

Floats = npt.NDArray[np.float64]


def check_servable(
    model: Transformer,
    weights: str,
    profiles: Sequence[Profile],
    workload: Workload,
    limits: Limits,
) -> None:
    """Refuse a model that no type, or no set of types, can serve within the limits.

    Raises:
        InfeasibleError: the message says which limit binds and by how much; ``violation`` is how
            far it is, relative, and ``binding`` the limit with the best value, where there is one.
    """
    able = [p for p in profiles if not p.refusal]
    if not able:
        short = np.array([p.memory_short for p in profiles])
        best = int(np.nanargmin(short)) if not np.isnan(short).all() else 0
        raise infeasible(
            f"{model.name} in {weights} fits no allowed type; nearest is "
            f"{profiles[best].type.name}: {profiles[best].refusal}",
            short[best],
        )
    slots = np.stack([p.slots for p in able])
    _check_room(model, slots, workload)
    if limits.per_bucket:
        _check_buckets(able, slots, workload, limits.rules)
        return
    broken = [rule for rule in limits.rules if not _reachable(able, slots, workload, rule)]
    found = [(_fastest(able, slots, rule), rule) for rule in broken]
    values = [(fastest.value(rule, workload.shares), fastest, rule) for fastest, rule in found]
    over = [value / rule.limit_s - 1 for value, _, rule in values]
    if over and max(over) > 1e-9:
        value, fastest, rule = values[int(np.argmax(over))]
        weight = workload.shares if rule.quantile is not None else workload.shares > 0
        slow = fastest.takes(rule) * weight
        i, j = np.unravel_index(int(np.argmax(slow)), slow.shape)
        raise _out_of_reach(rule, value, workload, int(i), int(j))


def _check_room(model: Transformer, slots: Floats, workload: Workload) -> None:
    """Refuse requests that no type has positions or memory for."""
    stuck = (workload.shares > 0) & (slots < 1).all(axis=0)
    if not stuck.any():
        return
    i, j = (int(axis[0]) for axis in np.nonzero(stuck))
    bucket = workload.bucket_name(i, j)
    positions = model.max_position
    context = float(workload.mean_input[i, j] + workload.mean_output[i, j])
    if context > positions:
        raise infeasible(
            f"{bucket}: {context:,.0f} tokens are beyond the {positions:,} positions of "
            f"{model.name}",
            context / positions - 1,
        )
    raise infeasible(f"{bucket}: no allowed type has memory for one such request", np.nan)


def _check_buckets(
    able: Sequence[Profile], slots: Floats, workload: Workload, rules: Sequence[Rule]
) -> None:
    """Refuse the bucket that is farthest from holding the limits by itself."""
    stuck = (workload.shares > 0) & (np.stack([p.max_rate for p in able]) <= 0).all(axis=0)
    worst: tuple[float, Rule, float, int, int] | None = None
    for i, j in np.argwhere(stuck):
        one = np.zeros(stuck.shape)
        one[i, j] = 1.0
        values = [(_fastest(able, slots, rule).value(rule, one), rule) for rule in rules]
        value, rule = max(values, key=lambda found: found[0] / found[1].limit_s)
        over = value / rule.limit_s - 1
        if worst is None or over > worst[0]:
            worst = (over, rule, value, int(i), int(j))
    if worst is not None:
        _, rule, value, i, j = worst
        raise _out_of_reach(rule, value, workload, i, j)


def _reachable(able: Sequence[Profile], slots: Floats, workload: Workload, rule: Rule) -> bool:
    """Say whether idle instances, each bucket on the best, hold a rule over all requests."""
    least = np.where(slots >= 1, _least(able, rule), np.inf).min(axis=0)
    used = workload.shares > 0
    late = least > rule.limit_s * (1 + 1e-9) if rule.quantile is not None else least
    return float((late[used] * workload.shares[used]).sum()) <= rule.budget * (1 + 1e-9)


def _least(able: Sequence[Profile], rule: Rule) -> Floats:
    """Return a rule's value of each idle type and bucket by itself, shape (T, I, J)."""
    return np.stack([p.least(rule) for p in able])


def _fastest(able: Sequence[Profile], slots: Floats, rule: Rule) -> Latency:
    """Return for each bucket the latency of the idle type that is best by a rule."""
    idle = [p.idle for p in able if p.idle is not None]
    by = _least(able, rule)
    best = np.where(slots >= 1, by, np.inf).argmin(axis=0)
    return Latency(
        **{
            name: np.take_along_axis(
                np.stack([getattr(each, name) for each in idle]), best[None], axis=0
            )[0]
            for name in Latency.__dataclass_fields__
        }
    )


def _out_of_reach(rule: Rule, value: float, workload: Workload, i: int, j: int) -> Any:
    error = infeasible(
        f"{rule.words} is at best {value:.3g} s with nothing else to do, the limit is "
        f"{rule.limit_s:g} s; what keeps it there: {workload.bucket_name(i, j)} "
        f"({100 * workload.shares[i, j]:.3g} % of the requests)",
        value / rule.limit_s - 1,
    )
    error.binding = (rule, float(value))
    return error


def infeasible(text: str, violation: float) -> Any:
    """Return an :class:`InfeasibleError` that says how far a design is, relative."""
    error: Any = InfeasibleError(text)
    error.violation = float(violation)
    error.binding = None
    return error
