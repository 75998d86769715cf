"""NSGA-II (Deb et al. 2002), the algorithm of pymoo, driven by ask and tell."""

from __future__ import annotations

from typing import Any

from archwright.search.searchers.pymoo import PymooSearcher

__all__ = ["NSGA2"]


class NSGA2(PymooSearcher):
    """A genetic search for fronts, in generations; one objective is allowed too.

    Works on the unit cube, so every kind of parameter moves; offspring are snapped to legal
    designs, and those asked before are changed until they are new.

    Args:
        population: designs a generation, at least 2.
        crossover_probability: chance that a pair of parents mates.
        crossover_eta: distribution index of simulated binary crossover; larger is more local.
        mutation_probability: chance of each coordinate to mutate; None for one over their number.
        mutation_eta: distribution index of polynomial mutation.
    """

    name = "nsga2"

    def _algorithm(self, losses: int, **operators: Any) -> Any:
        from pymoo.algorithms.moo.nsga2 import NSGA2 as Pymoo  # noqa: N811

        del losses
        return Pymoo(pop_size=self.population, **operators)
