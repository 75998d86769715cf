"""NSGA-III (Deb and Jain 2014), the algorithm of pymoo: fronts of three goals and more."""

from __future__ import annotations

from math import comb
from typing import Any

from archwright.errors import SpecificationError
from archwright.search.goal import Objectives
from archwright.search.searchers.pymoo import PymooSearcher

__all__ = ["NSGA3"]


class NSGA3(PymooSearcher):
    """A genetic search that spreads its designs along reference directions.

    The directions are those of Das and Dennis, as many as fit the population.

    Args:
        population: designs a generation, at least 2.
        crossover_probability: chance that a pair of parents mates.
        crossover_eta: distribution index of simulated binary crossover; larger is more local.
        mutation_probability: chance of each coordinate to mutate; None for one over their number.
        mutation_eta: distribution index of polynomial mutation.
    """

    name = "nsga3"

    def _check(self, objectives: Objectives) -> None:
        losses = len(objectives.losses)
        if losses < 2:
            raise SpecificationError(
                "nsga3 takes two losses or more, the goal has one; use genetic or nsga2"
            )
        if losses > self.population:
            raise SpecificationError(
                f"population: {losses} losses need at least {losses} directions, found "
                f"{self.population}"
            )

    def _algorithm(self, losses: int, **operators: Any) -> Any:
        from pymoo.algorithms.moo.nsga3 import NSGA3 as Pymoo  # noqa: N811
        from pymoo.util.ref_dirs import get_reference_directions

        partitions = 1
        while comb(partitions + losses, losses - 1) <= self.population:
            partitions += 1
        directions = get_reference_directions("das-dennis", losses, n_partitions=partitions)
        return Pymoo(ref_dirs=directions, pop_size=self.population, **operators)
