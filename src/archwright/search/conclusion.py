"""What a finished study says: the design that answers, and what it could not rank.

An environment may speak for its own designs: ``answer(design)`` gives the answer as plain data,
``family(design)`` names what many designs share, such as their model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from archwright.search.environments import Environment, Metric

if TYPE_CHECKING:
    from archwright.search.study import Result

__all__ = ["chosen", "conclude", "lacking", "unscored"]


def chosen(result: Result, metrics: Sequence[Metric]) -> int | None:
    """Return the row that answers: the best, and among its equals the best in other metrics.

    Designs of equal losses are ranked in each metric of the environment; the least sum of ranks
    is taken, then the earlier trial.
    """
    best = result.best()
    if best is None:
        return None
    equals = np.flatnonzero((result.losses == result.losses[best]).all(axis=1))
    ranks = np.zeros(len(equals))
    for metric in metrics:
        values = result.metric(metric.name)[equals]
        losses = values if metric.better == "lower" else -values
        ranks += (losses[:, None] > losses[None, :]).sum(axis=1)
    return int(equals[int(np.argmin(ranks))])


def unscored(result: Result, environment: Environment, row: int | None) -> list[int]:
    """Return rows that hold every limit that is known, lack a metric, and would cost less.

    Less by the first loss of the goal than the row chosen, cheapest first, one for each family of
    designs that the environment names.

    Args:
        result: the trials.
        environment: what measured them.
        row: the row chosen; None takes all.
    """
    first = result.column(f"loss.{result.schema.losses[0]}").astype(np.float64)
    unknown = lacking(result) & np.isfinite(first)
    if row is not None:
        unknown &= first < first[row] * (1 - 1e-9) if first[row] > 0 else first < first[row]
    family: Any = getattr(environment, "family", None)
    found: dict[Any, int] = {}
    for at in np.flatnonzero(unknown)[np.argsort(first[unknown], kind="stable")]:
        design = result.design(int(at))
        found.setdefault(design if family is None else family(design), int(at))
    return list(found.values())


def conclude(result: Result, environment: Environment) -> dict[str, Any]:
    """Return ``best`` and ``answer`` as plain data; None where nothing is feasible."""
    row = chosen(result, environment.metrics)
    if row is None:
        return {"best": None, "answer": None}
    best = {"trial": int(result.column("trial")[row]), **_plain(result, row)}
    speak: Any = getattr(environment, "answer", None)
    answer = _plain(result, row) if speak is None else speak(result.design(row))
    others = [_plain(result, other) for other in unscored(result, environment, row)]
    return {"best": best, "answer": {**answer, "unscored": others}}


def _plain(result: Result, row: int) -> dict[str, Any]:
    values = {name: float(result.metric(name)[row]) for name in result.schema.metrics}
    return {
        "design": result.design(row).to_json(),
        "metrics": {k: v if np.isfinite(v) else None for k, v in values.items()},
    }


def lacking(result: Result) -> npt.NDArray[np.bool_]:
    """Say which designs can be built, break no known limit, and lack a metric of the goal."""

    def columns(kind: str, names: Sequence[str]) -> npt.NDArray[np.float64]:
        read = [result.column(f"{kind}.{name}") for name in names]
        return np.column_stack([np.zeros(len(result.trials)), *read]).astype(np.float64)

    losses = columns("loss", result.schema.losses)
    excess = columns("constraint", result.schema.constraints)
    built = result.column("constraint.environment") == 0
    unknown = np.isnan(losses).any(axis=1) | np.isnan(excess).any(axis=1)
    return np.asarray(built & ~(excess > 0).any(axis=1) & unknown)
