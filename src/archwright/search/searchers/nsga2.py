"""NSGA-II (Deb et al. 2002): fronts and crowding decide who survives and who has children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from archwright.search.goal import Objectives, Scores
from archwright.search.searcher import BaseSearcher, Trials
from archwright.search.searchers.bases import taken
from archwright.search.searchers.fronts import merit
from archwright.search.searchers.limits import share, unit_cube, whole
from archwright.search.searchers.memory import Memory
from archwright.search.searchers.steps import Steps
from archwright.search.searchers.variation import Variation
from archwright.search.space import Space, designs_from, plain_designs

__all__ = ["NSGA2"]

_FEWEST = 16  # designs that survive from the beginning; a smaller population survives whole
_GROWTH = 24  # trials told for each design that survives, until the population is full


class NSGA2(BaseSearcher):
    """A genetic search for fronts; one loss is allowed too.

    Parents are the better of two drawn, by front and then by crowding; of parents and children
    together the best survive: a quarter of ``population`` at first (16, where that is less), more
    as trials are told. It never waits: whatever is told competes at once, so small blocks learn
    sooner and large ones are a classic generation. Children asked before are changed until they
    are new.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost", "time"]), NSGA2(),
    ...               budget=Budget(evaluations=200))
    >>> len(study.run().front) > 1
    True

    Args:
        population: designs that survive in the end, at least 2.
        startup: random designs at the beginning; None for half of the population.
        crossover_probability: chance that a pair of parents mates.
        crossover_eta: distribution index of simulated binary crossover; larger is more local.
        mutation_probability: chance of each parameter to mutate; None for one over their number.
        mutation_eta: distribution index of polynomial mutation.

    Source: Deb, Pratap, Agarwal, Meyarivan: A Fast and Elitist Multiobjective Genetic Algorithm:
    NSGA-II, IEEE Transactions on Evolutionary Computation 2002; children that compete at once:
    Durillo, Nebro, Luna, Alba: On the Effect of the Steady-State Selection Scheme in
    Multi-Objective Genetic Algorithms, EMO 2009.
    """

    name = "nsga2"

    def __init__(
        self,
        *,
        population: int = 64,
        startup: int | None = None,
        crossover_probability: float = 0.9,
        crossover_eta: float = 15.0,
        mutation_probability: float | None = None,
        mutation_eta: float = 8.0,
    ) -> None:
        self.population = whole("population", population, 2)
        self.startup = None if startup is None else whole("startup", startup, 2)
        self.crossover_probability = share("crossover_probability", crossover_probability)
        if mutation_probability is not None:
            share("mutation_probability", mutation_probability)
        self.mutation_probability = mutation_probability
        most = float("inf")
        self.crossover_eta = share("crossover_eta", crossover_eta, high=most, above=True)
        self.mutation_eta = share("mutation_eta", mutation_eta, high=most, above=True)

    @property
    def preferred_block(self) -> int:  # type: ignore[override]
        """Designs to ask together: a part of the population, for what is told competes at once."""
        return max(1, self.population // 4)

    @property
    def preferred_window(self) -> int:  # type: ignore[override]
        """Designs in flight."""
        return self.preferred_block

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
            SpecificationError: the space has no unit cube.
        """
        del capabilities
        self._space = unit_cube(self.name, space)
        self._rng = np.random.default_rng(seed)
        self._memory = Memory(space)
        self._steps = Steps(space)
        self._vary = Variation(
            self._space,
            crossover=self.crossover_probability,
            spread=self.crossover_eta,
            mutation=self.mutation_probability,
            jump=self.mutation_eta,
        )
        self._first = self.startup or max(2, self.population // 2)
        self._count = 0  # trials told
        self._drawn = 0  # random designs asked so far
        self._living = space.concatenate([])
        self._points = np.empty((0, self._space.width))
        self._set_scores(len(objectives.losses), len(objectives.constraints))

    def _set_scores(self, losses: int, constraints: int) -> None:
        self._scores = Scores(
            losses=np.empty((0, losses)),
            violations=np.empty((0, constraints)),
            feasible=np.empty(0, dtype=bool),
        )
        self._place = np.empty(0, dtype=np.intp)

    def ask(self, n: int) -> Any:
        """Return random designs at first, then children."""
        fresh = min(n, self._first - self._drawn)
        if len(self._living) < 2:
            fresh = n  # nobody has parents yet
        self._drawn += fresh
        parts = []
        if fresh > 0:
            parts.append(self._space.sample(self._rng, fresh))
        if fresh < n:
            parts.append(self._space.decode(self._children(n - max(fresh, 0))))
        asked = parts[0] if len(parts) == 1 else self._space.concatenate(parts)
        return self._memory.renew(asked, self._change, self._rng)

    def tell(self, trials: Trials) -> None:
        """Let trials compete with the living."""
        if not len(trials):
            return
        new = trials.scores
        scores = Scores(
            losses=np.concatenate([self._scores.losses, new.losses]),
            violations=np.concatenate([self._scores.violations, new.violations]),
            feasible=np.concatenate([self._scores.feasible, new.feasible]),
        )
        living = self._space.concatenate([self._living, trials.designs])
        points = np.concatenate([self._points, self._space.encode(trials.designs)])
        place = merit(scores)
        self._count += len(trials)
        # few survivors while little is known: a front of 64 after 100 trials selects nothing
        first = max(self.population // 4, _FEWEST)
        room = min(self.population, max(first, self._count // _GROWTH))
        if len(place) > room:
            keep = np.flatnonzero(place < room)
            living, points, place = living.take(keep), points[keep], place[keep]
            scores = taken(scores, keep)
        self._living, self._points, self._scores, self._place = living, points, scores, place

    def learn(self, trials: Trials) -> None:
        """Let trials known beforehand be the beginning."""
        self._memory.add(trials.designs)
        self.tell(trials)
        self._drawn = min(self._first, self._drawn + len(trials))

    def _children(self, n: int) -> Any:
        drawn = self._rng.integers(len(self._place), size=(2 * n, 2))
        better = self._place[drawn].argmin(axis=1)
        parents = self._points[drawn[np.arange(2 * n), better]]
        return self._vary(self._rng, parents[:n], parents[n:])

    def _change(self, designs: Any) -> Any:
        return self._steps(self._rng, designs)

    def state(self) -> dict[str, Any]:
        """Return everything that the asks depend on."""
        return {
            "rng": self._rng.bit_generator.state,
            "asked": self._memory.state(),
            "told": self._count,
            "drawn": self._drawn,
            "living": plain_designs(self._space, self._living),
            "losses": self._scores.losses.tolist(),
            "violations": self._scores.violations.tolist(),
            "feasible": self._scores.feasible.tolist(),
            "place": self._place.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self._rng.bit_generator.state = state["rng"]
        self._memory.restore(state["asked"])
        self._count, self._drawn = state["told"], state["drawn"]
        self._living = designs_from(self._space, state["living"])
        n = len(self._living)
        if not n:
            return
        self._points = self._space.encode(self._living)
        self._scores = Scores(
            losses=np.array(state["losses"], dtype=np.float64).reshape(n, -1),
            violations=np.array(state["violations"], dtype=np.float64).reshape(n, -1),
            feasible=np.array(state["feasible"], dtype=bool),
        )
        # not anew: those that did not survive had a part in the crowding
        self._place = np.array(state["place"], dtype=np.intp)
