"""NSGA-II (Deb et al. 2002), the algorithm of pymoo, driven by ask and tell."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from archwright.errors import SpecificationError
from archwright.search.goal import Objectives
from archwright.search.searcher import Trials
from archwright.search.space import Space

__all__ = ["NSGA2"]

_UNEVALUABLE = 1e9  # constraint violation of a design that nothing is known of


class NSGA2:
    """A genetic search for fronts, in generations.

    Works on the unit cube, so every kind of parameter moves; offspring are snapped to legal
    designs before duplicates are dropped. One objective is allowed too.

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
        if not isinstance(population, int) or population < 2:
            raise SpecificationError(f"population: expected at least 2, found {population!r}")
        for name, value in (
            ("crossover_probability", crossover_probability),
            ("mutation_probability", mutation_probability),
        ):
            if value is not None and not 0 <= value <= 1:
                raise SpecificationError(f"{name}: expected 0 to 1, found {value!r}")
        for name, value in (("crossover_eta", crossover_eta), ("mutation_eta", mutation_eta)):
            if not value > 0:
                raise SpecificationError(f"{name}: expected more than 0, found {value!r}")
        self.population = population
        self.crossover_probability = crossover_probability
        self.crossover_eta = crossover_eta
        self.mutation_probability = mutation_probability
        self.mutation_eta = mutation_eta
        self.library_seconds = 0.0
        """Seconds spent inside pymoo, for benchmarks."""

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
            SpecificationError: the space has no unit cube.
        """
        del capabilities
        if not hasattr(space, "encode") or not hasattr(space, "decode"):
            raise SpecificationError("nsga2 needs a space with encode and decode; use random")
        started = time.perf_counter()
        from pymoo.algorithms.moo.nsga2 import NSGA2 as Pymoo  # noqa: N811
        from pymoo.core.problem import Problem
        from pymoo.core.repair import Repair
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM

        cube: Any = space
        self._space = cube

        searcher = self

        class Snap(Repair):  # type: ignore[misc]
            def _do(self, problem: Any, x: Any, **_: Any) -> Any:
                del problem
                started = time.perf_counter()
                snapped = cube.encode(cube.decode(x))
                searcher.library_seconds -= time.perf_counter() - started  # this part is ours
                return snapped

        problem = Problem(
            n_var=cube.width,
            n_obj=len(objectives.losses),
            n_ieq_constr=len(objectives.constraints),
            xl=0.0,
            xu=1.0,
        )
        first = cube.encode(space.sample(np.random.default_rng(seed), self.population))
        self._algorithm = Pymoo(
            pop_size=self.population,
            sampling=first,
            crossover=SBX(prob=self.crossover_probability, eta=self.crossover_eta),
            mutation=PM(prob=1.0, prob_var=self.mutation_probability, eta=self.mutation_eta),
            repair=Snap(),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._algorithm.setup(problem, seed=seed % 2**32, termination=("n_gen", 2**31))
        self._generation: Any = None
        self._designs: Any = None
        self._asked = self._told = 0
        self._losses: list[Any] = []
        self._violations: list[Any] = []
        self.library_seconds += time.perf_counter() - started

    def ask(self, n: int) -> Any:
        """Return up to n designs of this generation; none while it is being evaluated."""
        if self._generation is None:
            started = time.perf_counter()
            self._generation = self._algorithm.infill()
            size = 0 if self._generation is None else len(self._generation)
            self.library_seconds += time.perf_counter() - started
            if size:
                self._designs = self._space.decode(self._generation.get("X"))
            else:
                self._generation = None
                return self._space.concatenate([])
        stop = min(self._asked + n, len(self._generation))
        part = self._designs.take(np.arange(self._asked, stop))
        self._asked = stop
        return part

    def tell(self, trials: Trials) -> None:
        """Take losses and violations; a full generation advances the algorithm."""
        scores = trials.scores
        losses, violations = scores.losses, scores.violations
        bad = np.asarray(np.isnan(losses).any(axis=1))
        if bad.any() or np.isnan(violations).any():
            violations = np.where(np.isnan(violations), _UNEVALUABLE, violations)
            unknown = bad & (violations.sum(axis=1) == 0)
            violations = violations.copy()
            violations[unknown, 0] = _UNEVALUABLE
            losses = np.where(bad[:, None], 0.0, losses)
        self._losses.append(losses)
        self._violations.append(violations)
        self._told += len(trials)
        if self._generation is None or self._told < len(self._generation):
            return
        started = time.perf_counter()
        self._generation.set("F", np.concatenate(self._losses))
        self._generation.set("G", np.concatenate(self._violations))
        for individual in self._generation:
            individual.evaluated.update(("F", "G"))
        self._algorithm.advance(infills=self._generation)
        self.library_seconds += time.perf_counter() - started
        self._generation = None
        self._asked = self._told = 0
        self._losses, self._violations = [], []

    def step(self) -> bool:
        """There is no work of its own."""
        return False

    def state(self) -> None:
        """Return None: the state of pymoo only pickles, so trials are replayed."""

    def restore(self, state: dict[str, Any]) -> None:
        """Never called: there is no state."""
        raise AssertionError(state)
