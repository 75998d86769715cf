"""Why no fleet carries a load: the bucket, and whether counts, offers or a budget are short."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError
from archwright.serving.plan_inputs import LATE
from archwright.solve.allocation import Problem, least_taken, unserved

__all__ = ["over_budget", "refuse_unservable", "shortage"]

Floats = npt.NDArray[np.float64]
Buckets = npt.NDArray[np.intp]

BEYOND = 1 + 1e-9


def refuse_unservable(load: Floats, buckets: Buckets, arrival: Floats) -> None:
    """Refuse a bucket that no type may serve.

    Raises:
        InfeasibleError: it names the bucket with most requests.
    """
    stuck = np.isinf(load).all(axis=1)
    if stuck.any():
        b = int(np.argmax(np.where(stuck, arrival, -1)))
        i, j = buckets[b]
        raise InfeasibleError(
            f"bucket ({i}, {j}): {arrival[b]:.4g} requests/s, but no type that is available may "
            "serve it"
        )


def over_budget(problem: Problem, buckets: Buckets, budgets: list[str]) -> str | None:
    """Return which budget no fleet holds, however large; None where one does."""
    for r, name in enumerate(budgets):
        least = np.where(np.isfinite(problem.load), problem.takes[r], np.inf).min(axis=1)
        if least.sum() > problem.at_most[r] * BEYOND:
            return _beyond(name, problem.at_most[r], least, buckets, "")
    for r, name in enumerate(budgets if len(budgets) > 1 else ()):
        taken = least_taken(problem, r, counts=False)
        if taken is not None and taken.sum() > problem.at_most[r] * BEYOND:
            return _beyond(name, problem.at_most[r], taken, buckets, " within the other budgets")
    return None


def shortage(
    problem: Problem,
    buckets: Buckets,
    arrival: Floats,
    budgets: list[str],
    *,
    what: str = "the counts allowed",
) -> str:
    """Return why nothing was found: a budget, or too little of what is allowed."""
    if (message := over_budget(problem, buckets, budgets)) is not None:
        return message
    missing = unserved(problem, arrival)
    b = int(np.argmax(missing))
    i, j = buckets[b]
    if missing[b] > 1e-9 * arrival[b]:
        return (
            f"bucket ({i}, {j}): {what} leave {missing[b]:.4g} of its {arrival[b]:.4g} "
            "requests/s unserved"
        )
    for r, name in enumerate(budgets):
        taken = least_taken(problem, r)
        if taken is not None and taken.sum() > problem.at_most[r] * BEYOND:
            return _beyond(name, problem.at_most[r], taken, buckets, f" with {what}")
    why = " after the loss of one instance" if problem.survive_loss else ""
    return f"bucket ({i}, {j}): {what} cannot carry the load{why}"


def _beyond(name: str, at_most: float, taken: Floats, buckets: Buckets, when: str) -> str:
    i, j = buckets[int(np.argmax(taken))]
    least = float(taken.sum())
    if name == LATE:
        return (
            f"bucket ({i}, {j}): at most {at_most * 100:.4g} % of the requests may be late; at "
            f"least {least * 100:.4g} % would be{when}"
        )
    return (
        f"bucket ({i}, {j}): budget {name!r} allows {at_most:.6g} a request; at least "
        f"{least:.6g} would be taken{when}"
    )
