"""Which designs survive when several losses count: fronts, crowding, constraints."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from archwright.search.goal import Scores

__all__ = ["crowding", "front_numbers", "merit"]

Floats = npt.NDArray[np.float64]


def front_numbers(losses: Floats) -> npt.NDArray[np.intp]:
    """Return the front of each row: 0 where nothing dominates it, 1 once those are gone, ...

    >>> front_numbers(np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 3.0], [2.0, 2.0]])).tolist()
    [0, 0, 1, 0]
    """
    if losses.shape[1] == 1:
        return np.unique(losses[:, 0], return_inverse=True)[1].reshape(-1).astype(np.intp)
    import moocore

    return np.asarray(moocore.pareto_rank(losses), dtype=np.intp)


def crowding(losses: Floats, front: npt.NDArray[np.intp]) -> Floats:
    """Return the crowding distance of each row within its front; infinite at the ends.

    Equal rows of a front count once: a copy gets 0, so that it goes before anything else does.

    >>> front = np.zeros(3, dtype=np.intp)
    >>> crowding(np.array([[0.0, 4.0], [1.0, 1.0], [4.0, 0.0]]), front).tolist()
    [inf, 2.0, inf]
    """
    n, k = losses.shape
    distance = np.zeros(n)
    alone = np.ones(n, dtype=bool)
    count = int(front.max()) + 1 if n else 0
    for column in range(k):
        value = losses[:, column]
        others = [losses[:, i] for i in range(k) if i != column]
        at = np.lexsort((*others, value, front))
        group, sorted_value = front[at], value[at]
        first = np.ones(n, dtype=bool)
        first[1:] = group[1:] != group[:-1]
        if column == 0 and n > 1:
            same = ~first[1:] & (losses[at[1:]] == losses[at[:-1]]).all(axis=1)
            alone[at[1:][same]] = False
        last = np.roll(first, -1)
        low = np.empty(count)
        span = np.empty(count)
        low[group[first]] = sorted_value[first]
        span[group[last]] = sorted_value[last]
        span -= low
        gap = np.full(n, np.inf)
        inner = np.flatnonzero(~(first | last))
        width = np.where(span > 0, span, 1.0)[group[inner]]
        gap[inner] = (sorted_value[inner + 1] - sorted_value[inner - 1]) / width
        distance[at] += gap
    return np.where(alone, distance, 0.0)


def merit(scores: Scores) -> npt.NDArray[np.intp]:
    """Return the place of each design among all, 0 for the best.

    Feasible designs by front and then by crowding, then infeasible ones by total violation, then
    those that nothing is known of.

    >>> scores = Scores(losses=np.array([[1.0, 1.0], [0.0, 2.0], [0.0, 0.0]]),
    ...                 violations=np.array([[0.0], [0.0], [0.3]]),
    ...                 feasible=np.array([True, True, False]))
    >>> merit(scores).tolist()
    [0, 1, 2]
    """
    n = len(scores)
    known = scores.feasible & ~np.isnan(scores.losses).any(axis=1)
    good = np.flatnonzero(known)
    major = np.full(n, np.inf)
    minor = np.zeros(n)
    if len(good):
        losses = scores.losses[good]
        front = front_numbers(losses)
        major[good] = front
        if losses.shape[1] > 1:
            with np.errstate(invalid="ignore"):
                minor[good] = -np.nan_to_num(crowding(losses, front), nan=0.0, posinf=np.inf)
    bad = np.flatnonzero(~scores.feasible)
    if len(bad):
        far = scores.violations[bad].sum(axis=1)
        major[bad] = n
        minor[bad] = np.where(np.isnan(far), np.inf, far)
        major[bad[np.isnan(far)]] = np.inf
    place = np.empty(n, dtype=np.intp)
    place[np.lexsort((minor, major))] = np.arange(n)
    return place
