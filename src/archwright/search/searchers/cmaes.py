"""CMA-ES (Hansen and Ostermeier 2001) on the unit cube, the implementation of ``cma``."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from archwright.search.goal import Scores, ranks, standing
from archwright.search.searchers.axes import Axes
from archwright.search.searchers.bases import Generations, Replayed, SingleLoss
from archwright.search.searchers.limits import share, unit_cube, whole

__all__ = ["CMAES"]


class CMAES(Replayed, SingleLoss, Generations):
    """Adapt a normal distribution over the unit cube to where the good designs lie.

    A choice has one coordinate a value and takes the value of the largest. Best where parameters
    are reals or long ranges of numbers. Only the order of designs counts, so feasible ones come
    first, then those that violate little. The deviation of a coordinate with few values never
    falls below a share of their distance, so that it keeps moving (the margin of Hamano et al.
    2022); a generation without a new design, or a distribution that has collapsed, begins anew at
    a random point with twice the population.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), CMAES(),
    ...               budget=Budget(evaluations=300))
    >>> bool(study.run().losses.min() < 0.4)
    True

    Args:
        population: designs a generation; None for 4 + 3 ln(width of the cube).
        sigma: deviation at the start, as a share of the cube.
        margin: least deviation of a coordinate, as a share of the distance of its values.

    Source: Hansen, Ostermeier: Completely Derandomized Self-Adaptation in Evolution Strategies,
    Evolutionary Computation 2001.
    """

    name = "cmaes"

    def __init__(
        self, *, population: int | None = None, sigma: float = 0.3, margin: float = 0.4
    ) -> None:
        self.population = None if population is None else whole("population", population, 3)
        self.sigma = share("sigma", sigma, above=True)
        self.margin = share("margin", margin)

    def _begin(self) -> None:
        self._cube = unit_cube(self.name, self._space)
        self._axes = Axes(self._cube)
        # the library needs two coordinates; a lone one gets a companion that is not used
        self._width = max(2, self._axes.width)
        self._size = self.population or 4 + int(3 * math.log(self._width))
        self._restart()
        self._clear()

    def _restart(self) -> None:
        import cma

        floor = np.zeros(self._width)
        floor[: self._axes.width] = self.margin * self._axes.distance
        options = {
            "bounds": [0.0, 1.0],
            "popsize": self._size,
            "minstd": floor,
            "maxstd": 1.0,
            "seed": np.nan,  # the library's way to leave the global generator alone
            "randn": lambda *shape: self._rng.standard_normal(shape),
            "verbose": -9,
            "verb_log": 0,
            "verb_disp": 0,
        }
        start = np.full(self._width, 0.5)
        drawn = self._axes.points(self._cube.encode(self._space.sample(self._rng, 1)))[0]
        start[: self._axes.width] = np.where(self._axes.of_choice, 0.5, drawn)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._strategy = cma.CMAEvolutionStrategy(
                np.clip(start, 0.02, 0.98), self.sigma, options
            )

    def _breed(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._points = self._strategy.ask()
        designs = self._cube.decode(self._axes.unit(np.array(self._points)))
        self._fresh = bool(self._memory.new(designs).any())
        self._memory.add(designs)
        return designs

    def _learn(self, designs: Any, scores: Scores) -> None:
        del designs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._strategy.tell(self._points, (-ranks(standing(scores))).tolist())
            stop = self._strategy.stop()
        # its other criteria compare values of the loss, and it only sees ranks
        collapsed = {"conditioncov", "noeffectaxis", "noeffectcoord", "tolx"} & set(stop)
        if collapsed or not self._fresh:
            self._size *= 2
            self._restart()
