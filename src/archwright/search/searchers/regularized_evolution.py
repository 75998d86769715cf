"""Regularized evolution (Real et al. 2019): the oldest dies, not the worst."""

from __future__ import annotations

from typing import Any

import numpy as np

from archwright.search.goal import by_standing, standing
from archwright.search.searcher import Trials
from archwright.search.searchers.bases import Stateful
from archwright.search.searchers.limits import share, whole
from archwright.search.searchers.selection import tournament
from archwright.search.searchers.steps import Steps
from archwright.search.space import designs_from, plain_designs

__all__ = ["RegularizedEvolution"]


class RegularizedEvolution(Stateful):
    """Evolution by mutation alone, with removal by age.

    The population is the trials told last. A child is a neighbor of the best of a random sample
    of it, changed further until it is a design not asked before. It never waits: children come
    from what is told.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]),
    ...               RegularizedEvolution(population=20), budget=Budget(evaluations=300))
    >>> bool(study.run().losses.min() < 0.5)
    True

    Args:
        population: designs alive, at least 2.
        sample: designs drawn for each tournament, at most the population.
        scale: typical step of an ordered parameter, as a share of its range.

    Source: Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier Architecture
    Search, AAAI 2019.
    """

    name = "regularized_evolution"

    def __init__(self, *, population: int = 32, sample: int = 8, scale: float = 0.1) -> None:
        self.population = whole("population", population, 2)
        self.sample = whole("sample", sample, 1)
        if sample > population:
            whole("population", population, sample)
        self.scale = share("scale", scale, above=True)

    preferred_block = 8
    preferred_window = 8

    def learn(self, trials: Trials) -> None:
        """Let the best of trials known beforehand be the first population, the best youngest."""
        self._memory.add(trials.designs)
        best = by_standing(standing(trials.scores))[: self.population][::-1]
        self._living = trials.designs.take(best)
        self._standing = standing(trials.scores)[best]
        self._first = len(best)

    def _begin(self) -> None:
        self._steps = Steps(self._space, scale=self.scale)
        self._living = self._space.concatenate([])
        self._standing = np.empty((0, 2))
        self._first = 0  # designs of the first, random population asked so far

    def ask(self, n: int) -> Any:
        """Return random designs until there is a population, then children."""
        fresh = min(n, self.population - self._first)
        self._first += fresh
        asked = self._space.sample(self._rng, fresh)
        if fresh < n and len(self._living):
            asked = self._space.concatenate([asked, self._children(n - fresh)])
        return self._memory.renew(asked, self._change, self._rng)

    def tell(self, trials: Trials) -> None:
        """Let the trials in, and the oldest out."""
        living = self._space.concatenate([self._living, trials.designs])
        keep = np.arange(max(0, len(living) - self.population), len(living))
        self._living = living.take(keep)
        self._standing = np.concatenate([self._standing, standing(trials.scores)])[keep]

    def _children(self, n: int) -> Any:
        parents = tournament(self._rng, self._standing, n, self.sample)
        return self._change(self._living.take(parents))

    def _change(self, designs: Any) -> Any:
        return self._steps(self._rng, designs)

    def _save(self) -> dict[str, Any]:
        return {
            "living": plain_designs(self._space, self._living),
            "standing": self._standing.tolist(),
            "first": self._first,
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._living = designs_from(self._space, state["living"])
        self._standing = np.array(state["standing"], dtype=np.float64).reshape(-1, 2)
        self._first = state["first"]
