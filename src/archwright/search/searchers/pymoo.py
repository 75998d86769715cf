"""Drives algorithms of pymoo by ask and tell, a generation at a time."""

from __future__ import annotations

import time
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from archwright.errors import MissingExtraError
from archwright.search.goal import Objectives, Scores
from archwright.search.searcher import BaseSearcher, Trials
from archwright.search.searchers.bases import Generations, Replayed, taken
from archwright.search.searchers.fronts import merit
from archwright.search.searchers.limits import share, unit_cube, whole
from archwright.search.searchers.memory import Memory
from archwright.search.searchers.steps import Steps
from archwright.search.space import Space

__all__ = ["PymooSearcher"]

_UNEVALUABLE = 1e9  # constraint violation of a design that nothing is known of


class PymooSearcher(Replayed, Generations, BaseSearcher):
    """Base of the searchers that are algorithms of pymoo.

    They work on the unit cube, so every kind of parameter moves; offspring are snapped to legal
    designs, and those asked before are changed until they are new. A subclass builds its
    algorithm in ``_algorithm``.

    Args:
        population: designs a generation, at least 2.
        crossover_probability: chance that a pair of parents mates.
        crossover_eta: distribution index of simulated binary crossover; larger is more local.
        mutation_probability: chance of each coordinate to mutate; None for one over their number.
        mutation_eta: distribution index of polynomial mutation.
    """

    def __init__(
        self,
        *,
        population: int = 64,
        crossover_probability: float = 0.9,
        crossover_eta: float = 15.0,
        mutation_probability: float | None = None,
        mutation_eta: float = 20.0,
    ) -> None:
        self.population = whole("population", population, 2)
        self.crossover_probability = share("crossover_probability", crossover_probability)
        if mutation_probability is not None:
            share("mutation_probability", mutation_probability)
        self.mutation_probability = mutation_probability
        most = float("inf")
        self.crossover_eta = share("crossover_eta", crossover_eta, high=most, above=True)
        self.mutation_eta = share("mutation_eta", mutation_eta, high=most, above=True)
        self._pymoo_seconds = 0.0

    @property
    def preferred_block(self) -> int:  # type: ignore[override]
        """Designs to ask together: a generation."""
        return self.population

    @property
    def preferred_window(self) -> int:  # type: ignore[override]
        """Designs in flight."""
        return self.population

    @property
    def pymoo_seconds(self) -> float:
        """Seconds spent inside pymoo, for benchmarks."""
        return self._pymoo_seconds

    def start(
        self,
        space: Space,
        objectives: Objectives,
        *,
        seed: int,
        capabilities: Mapping[str, Any],
    ) -> None:
        """Begin with a random generation.

        Raises:
            MissingExtraError: pymoo is not installed.
            SpecificationError: the space has no unit cube, or the goal does not suit.
        """
        del capabilities
        self._space = unit_cube(self.name, space)
        self._check(objectives)
        self._objectives, self._seed = objectives, seed
        self._memory = Memory(space)
        self._rng = np.random.default_rng([seed, 1])
        self._steps = Steps(space)
        self._given: tuple[Any, Scores] | None = None  # known designs of the first generation
        self._clear()
        started = time.perf_counter()
        try:
            import pymoo  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(f"the searcher {self.name}", "pymoo") from error
        self._first = space.sample(np.random.default_rng(seed), self.population)
        self._setup()
        self._pymoo_seconds += time.perf_counter() - started

    def learn(self, trials: Trials) -> None:
        """Put the best of trials known beforehand into the first generation, unmeasured."""
        rows = np.argsort(merit(trials.scores), kind="stable")[: self.population]
        known = trials.designs.take(rows)
        self._memory.add(known)
        drawn = self._first.take(np.flatnonzero(self._memory.new(self._first)))
        drawn = drawn.take(np.arange(min(len(drawn), self.population - len(known))))
        self._first = self._space.concatenate([known, drawn])
        self._given = (known, taken(trials.scores, rows))
        self._setup()

    def _check(self, objectives: Objectives) -> None:
        """Refuse a goal that the algorithm cannot take."""

    @abstractmethod
    def _algorithm(self, losses: int, **operators: Any) -> Any:
        """Return the algorithm of pymoo."""

    def _setup(self) -> None:
        """Make the algorithm, with its first generation."""
        from pymoo.core.problem import Problem
        from pymoo.core.repair import Repair
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM

        searcher, objectives = self, self._objectives

        class Snap(Repair):  # type: ignore[misc]
            def _do(self, problem: Any, x: Any, **_: Any) -> Any:
                del problem
                started = time.perf_counter()
                designs = searcher._space.decode(x)
                if not searcher._begun:
                    return searcher._space.encode(designs)
                designs = searcher._memory.renew(
                    designs, searcher._change, searcher._rng, tries=4, add=False
                )
                snapped = searcher._space.encode(designs)
                searcher._pymoo_seconds -= time.perf_counter() - started  # this part is ours
                return snapped

        problem = Problem(
            n_var=self._space.width,
            n_obj=len(objectives.losses),
            n_ieq_constr=len(objectives.constraints),
            xl=0.0,
            xu=1.0,
        )
        self._begun = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._pymoo = self._algorithm(
                len(objectives.losses),
                sampling=self._space.encode(self._first),
                crossover=SBX(prob=self.crossover_probability, eta=self.crossover_eta),
                mutation=PM(prob=1.0, prob_var=self.mutation_probability, eta=self.mutation_eta),
                repair=Snap(),
            )
            self._pymoo.setup(problem, seed=self._seed % 2**32, termination=("n_gen", 2**31))

    def _breed(self) -> Any:
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._individuals = self._pymoo.infill()
        self._begun = True
        self._pymoo_seconds += time.perf_counter() - started
        if self._individuals is None or not len(self._individuals):
            return self._space.concatenate([])
        designs = self._space.decode(self._individuals.get("X"))
        if self._given is not None:
            fresh = np.flatnonzero(self._memory.new(designs))
            if not len(fresh):
                self._learn(self._space.concatenate([]), _nothing(self._objectives))
                return self._breed()
            designs = designs.take(fresh)
        self._memory.add(designs)
        return designs

    def _learn(self, designs: Any, scores: Scores) -> None:
        if self._given is not None:
            scores = self._with_known(designs, scores)
        losses, violations = scores.losses, scores.violations
        bad = np.asarray(np.isnan(losses).any(axis=1))
        if bad.any() or np.isnan(violations).any():
            violations = np.where(np.isnan(violations), _UNEVALUABLE, violations)
            unknown = bad & (violations.sum(axis=1) == 0)
            violations[unknown, 0] = _UNEVALUABLE
            losses = np.where(bad[:, None], 0.0, losses)
        started = time.perf_counter()
        self._individuals.set("F", losses)
        self._individuals.set("G", violations)
        for individual in self._individuals:
            individual.evaluated.update(("F", "G"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._pymoo.advance(infills=self._individuals)
        self._pymoo_seconds += time.perf_counter() - started

    def _with_known(self, designs: Any, scores: Scores) -> Scores:
        """Return the scores of the first generation: those known and those just told."""
        assert self._given is not None
        known, its = self._given
        self._given = None
        every = self._space.decode(self._individuals.get("X"))
        keys = self._space.keys(self._space.concatenate([known, designs]))
        place = {key: i for i, key in enumerate(keys)}
        rows = np.array([place[key] for key in self._space.keys(every)], dtype=np.intp)
        joined = Scores(
            losses=np.concatenate([its.losses, scores.losses]),
            violations=np.concatenate([its.violations, scores.violations]),
            feasible=np.concatenate([its.feasible, scores.feasible]),
        )
        return taken(joined, rows)

    def _change(self, designs: Any) -> Any:
        return self._steps(self._rng, designs)


def _nothing(objectives: Objectives) -> Scores:
    return Scores(
        losses=np.empty((0, len(objectives.losses))),
        violations=np.empty((0, len(objectives.constraints))),
        feasible=np.empty(0, dtype=bool),
    )
