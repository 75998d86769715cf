"""Hyperband (Li et al. 2018): successive halving at several degrees of trust in cheap looks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from archwright.search.searchers.successive_halving import SuccessiveHalving

__all__ = ["Hyperband"]


class Hyperband(SuccessiveHalving):
    """Brackets of successive halving, from many cheap looks to few true ones.

    With r rungs, bracket s = r - 1, …, 0 starts ceil(r · eta^s / (s + 1)) designs s rungs below
    the truest; then the brackets begin again. So cheap fidelities that mislead cost at most a
    factor. A rung stands for ``eta`` times the resource of the one below.

    >>> band = Hyperband(fidelities=["1", "3", "9", "27", "81"])
    >>> from archwright.testing import toy_environment
    >>> from archwright.search import Objectives
    >>> band.start(toy_environment().space, Objectives(("cost",)), seed=0, capabilities={})
    >>> band.plan(1)
    [('3', 34), ('9', 11), ('27', 3), ('81', 1)]

    Args:
        fidelities: names of the rungs, cheapest first; None takes all that the environment has.
        eta: one of so many designs is promoted, above 1.

    Source: Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: Hyperband, JMLR 2018.
    """

    name = "hyperband"

    def __init__(self, *, fidelities: Sequence[str] | None = None, eta: float = 3.0) -> None:
        super().__init__(fidelities=fidelities, eta=eta)

    def plan(self, bracket: int) -> list[tuple[str, int]]:
        """Return (fidelity, designs) of each rung of a bracket, after ``start``."""
        rungs = len(self._rungs)
        below = rungs - 1 - bracket % rungs
        first = math.ceil(rungs * self.eta**below / (below + 1) - 1e-9)
        return self._halved(self._rungs[rungs - 1 - below :], first)
