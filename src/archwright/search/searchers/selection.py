"""How evolutionary searchers choose parents."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from archwright.search.goal import by_standing

__all__ = ["tournament"]


def tournament(
    rng: np.random.Generator, stood: npt.NDArray[np.float64], n: int, contestants: int
) -> npt.NDArray[np.intp]:
    """Return ``n`` rows, each the best of some drawn with replacement.

    Args:
        rng: what draws.
        stood: what :func:`archwright.search.goal.standing` returned, shape (m, 2).
        n: parents wanted.
        contestants: rows drawn for each.
    """
    rank = np.empty(len(stood), dtype=np.intp)
    rank[by_standing(stood)] = np.arange(len(stood))
    drawn = rng.integers(len(stood), size=(n, contestants))
    return np.asarray(drawn[np.arange(n), rank[drawn].argmin(axis=1)])
