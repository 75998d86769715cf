"""A genetic algorithm for one loss: tournaments, crossover, mutation; the best survive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archwright.search.goal import Objectives
from archwright.search.searchers.limits import single_loss
from archwright.search.searchers.nsga2 import NSGA2
from archwright.search.space import Space

__all__ = ["Genetic"]


class Genetic(NSGA2):
    """Tournaments, simulated binary crossover and polynomial mutation; the best survive.

    Feasible designs come before infeasible ones, and those by their total violation. NSGA-II with
    one loss, and larger steps.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), Genetic(population=20),
    ...               budget=Budget(evaluations=300))
    >>> bool(study.run().losses.min() < 0.5)
    True

    Args:
        population: designs that survive in the end, at least 2.
        startup: random designs at the beginning; None for half of the population.
        crossover_probability: chance that a pair of parents mates.
        crossover_eta: distribution index of simulated binary crossover; larger is more local.
        mutation_probability: chance of each parameter to mutate; None for one over their number.
        mutation_eta: distribution index of polynomial mutation.
    """

    name = "genetic"

    def __init__(
        self,
        *,
        population: int = 32,
        startup: int | None = None,
        crossover_probability: float = 0.9,
        crossover_eta: float = 3.0,
        mutation_probability: float | None = None,
        mutation_eta: float = 3.0,
    ) -> None:
        super().__init__(
            population=population,
            startup=startup,
            crossover_probability=crossover_probability,
            crossover_eta=crossover_eta,
            mutation_probability=mutation_probability,
            mutation_eta=mutation_eta,
        )

    def start(
        self,
        space: Space,
        objectives: Objectives,
        *,
        seed: int,
        capabilities: Mapping[str, Any],
    ) -> None:
        """Begin.

        Raises:
            SpecificationError: the goal has several losses, or the space has no unit cube.
        """
        single_loss(self.name, objectives)
        super().start(space, objectives, seed=seed, capabilities=capabilities)
