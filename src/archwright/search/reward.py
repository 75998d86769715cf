"""One design measured and judged, as the environments of Gymnasium and PettingZoo report it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from archwright.search.environments import Environment
from archwright.search.executors import Block, measure
from archwright.search.goal import Goal
from archwright.search.seeds import trial_seeds

__all__ = ["INFEASIBLE_REWARD", "Judged", "judge"]

INFEASIBLE_REWARD = -1000.0
"""Reward of a design that is infeasible or unknown, where none is given."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was measured of a design, and what that is worth.

    Attributes:
        metrics: by name, NaN where unknown.
        feasible: whether the environment and the limits of the goal allow it.
        known: whether it has a loss.
        reason: why there is no loss, in one sentence; None where there is one.
        reward: the negative of the loss.
        seed: the seed it was measured under.
    """

    metrics: Mapping[str, float]
    feasible: bool
    known: bool
    reason: str | None
    reward: float
    seed: np.uint64


def judge(
    environment: Environment,
    goal: Goal,
    designs: Any,
    *,
    trial: int,
    seed: int,
    infeasible_reward: float,
) -> Judged:
    """Measure a batch of one at the truest fidelity.

    Args:
        environment: what measures.
        goal: has one loss.
        designs: the batch.
        trial: its number; it is measured under the seed of that trial of a study.
        seed: the study's seed.
        infeasible_reward: reward without a loss; a warning tells where a feasible design has less.

    Raises:
        EnvironmentFault: the environment is broken.
    """
    seeds = trial_seeds(seed, [trial])
    fidelity = environment.fidelities[-1].name
    block = Block(first=trial, designs=designs, seeds=seeds, fidelity=fidelity)
    measured, _ = measure(environment, block)
    scores = goal.score(measured)
    loss, feasible = float(scores.losses[0, 0]), bool(scores.feasible[0])
    known = feasible and not np.isnan(loss)
    if known and -loss <= infeasible_reward:
        warnings.warn(
            f"a feasible design has the reward {-loss:g}, which is no better than "
            f"infeasible_reward = {infeasible_reward:g}; lower that",
            stacklevel=3,
        )
    reason = None
    if measured.reason is not None and measured.reason[0]:
        reason = str(measured.reason[0])
    else:
        limits = zip(goal.objectives.constraints, scores.violations[0], strict=True)
        why = [f"{name} does not hold" for name, far in limits if not far <= 0]
        why += [f"{goal.objectives.losses[0]} is unknown"] if np.isnan(loss) else []
        reason = "; ".join(why) or None
    return Judged(
        metrics={name: float(column[0]) for name, column in measured.metrics.items()},
        feasible=feasible,
        known=known,
        reason=reason,
        reward=-loss if known else infeasible_reward,
        seed=seeds[0],
    )
