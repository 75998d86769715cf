"""A genetic algorithm for one loss, the one of pymoo, driven by ask and tell."""

from __future__ import annotations

from typing import Any

from archwright.search.goal import Objectives
from archwright.search.searchers.limits import single_loss
from archwright.search.searchers.pymoo import PymooSearcher

__all__ = ["Genetic"]


class Genetic(PymooSearcher):
    """Tournaments, simulated binary crossover and polynomial mutation; the best survive.

    Feasible designs come before infeasible ones, and those by their total violation.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), Genetic(population=20),
    ...               budget=Budget(evaluations=300))
    >>> bool(study.run().losses.min() < 0.5)
    True

    Args:
        population: designs a generation, at least 2.
        crossover_probability: chance that a pair of parents mates.
        crossover_eta: distribution index of simulated binary crossover; larger is more local.
        mutation_probability: chance of each coordinate to mutate; None for one over their number.
        mutation_eta: distribution index of polynomial mutation.
    """

    name = "genetic"

    def __init__(
        self,
        *,
        population: int = 32,
        crossover_probability: float = 0.9,
        crossover_eta: float = 3.0,
        mutation_probability: float | None = None,
        mutation_eta: float = 3.0,
    ) -> None:
        super().__init__(
            population=population,
            crossover_probability=crossover_probability,
            crossover_eta=crossover_eta,
            mutation_probability=mutation_probability,
            mutation_eta=mutation_eta,
        )

    def _check(self, objectives: Objectives) -> None:
        single_loss(self.name, objectives)

    def _algorithm(self, losses: int, **operators: Any) -> Any:
        from pymoo.algorithms.soo.nonconvex.ga import GA

        del losses
        return GA(pop_size=self.population, **operators)
