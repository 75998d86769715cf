"""Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.goal import Objectives, Scores
from archwright.search.searcher import BaseSearcher, Trials
from archwright.search.searchers.fronts import merit
from archwright.search.searchers.groups import Group, groups
from archwright.search.searchers.limits import unit_cube, whole
from archwright.search.searchers.memory import Memory
from archwright.search.searchers.parzen import Good, Others
from archwright.search.searchers.steps import Steps
from archwright.search.space import Space, designs_from, plain_designs

__all__ = ["TPE"]

_SHARE = 0.15  # of the trials that count as good, at most _MOST
_MOST = 25
_LEAST = 4  # trials of a group of parameters before its densities are estimated
_OTHERS = 1000  # other trials that a density is made of, the newest
_FLOOR, _FALL = 0.12, 0.5  # least deviation after ten trials, and how it falls with more
Floats = npt.NDArray[np.float64]


class TPE(BaseSearcher):
    """Model good and other designs apart, and ask where good ones are dense and others are not.

    Takes several losses, constraints and conditional parameters: those under one condition are
    modeled together, from the trials in which they were active. Feasible designs are better than
    infeasible ones, and those by their total violation. Candidates are designs of the space, so
    that ``require`` holds and what is compared is what will be measured. Half a millisecond a
    design.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), TPE(),
    ...               budget=Budget(evaluations=100))
    >>> bool(study.run().losses.min() < 0.5)
    True

    Args:
        startup: designs at the beginning: the center, then random ones.
        candidates: points compared for each suggestion.

    Source: Bergstra, Bardenet, Bengio, Kégl: Algorithms for Hyper-Parameter Optimization, NeurIPS
    2011; Watanabe: Tree-Structured Parzen Estimator, arXiv 2304.11127.
    """

    name = "tpe"
    preferred_block = 1
    preferred_window = 1

    def __init__(self, *, startup: int = 7, candidates: int = 24) -> None:
        self.startup = whole("startup", startup, 1)
        self.candidates = whole("candidates", candidates, 1)

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
        self._groups = groups(self._space)
        self._told = space.concatenate([])
        self._scores = Scores(
            losses=np.empty((0, len(objectives.losses))),
            violations=np.empty((0, len(objectives.constraints))),
            feasible=np.empty(0, dtype=bool),
        )
        self._place: npt.NDArray[np.intp] | None = None
        self._first = 0  # designs of the beginning asked so far
        self._flight: deque[Any] = deque()

    def ask(self, n: int) -> Any:
        """Return n suggestions; it never waits."""
        return self._space.concatenate([self._suggest() for _ in range(n)])

    def tell(self, trials: Trials) -> None:
        """Take losses and violations."""
        for _ in range(len(trials)):
            self._flight.popleft()
        self._take(trials)

    def learn(self, trials: Trials) -> None:
        """Take trials known beforehand; they count as the random beginning."""
        self._memory.add(trials.designs)
        self._take(trials)
        self._first = min(self.startup, self._first + len(trials))

    def _take(self, trials: Trials) -> None:
        new, old = trials.scores, self._scores
        self._told = self._space.concatenate([self._told, trials.designs])
        self._scores = Scores(
            losses=np.concatenate([old.losses, new.losses]),
            violations=np.concatenate([old.violations, new.violations]),
            feasible=np.concatenate([old.feasible, new.feasible]),
        )
        self._place = None

    def _suggest(self) -> Any:
        if self._first < self.startup or len(self._told) < _LEAST:
            design = self._begun()
            self._first += 1
        else:
            design = self._modeled()
        self._memory.add(design)
        self._flight.append(design)
        return design

    def _begun(self) -> Any:
        if self._first == 0:
            design = self._space.decode(np.full((1, self._space.width), 0.5))
        else:
            design = self._space.sample(self._rng, 1)
        return self._memory.renew(design, self._change, self._rng, add=False)

    def _modeled(self) -> Any:
        """Return the best new one of some candidates."""
        told, flight = self._told, list(self._flight)
        if self._place is None:
            self._place = merit(self._scores)
        # what is in flight counts as the worst: the next design goes elsewhere
        place = np.concatenate([self._place, len(told) + np.arange(len(flight))])
        if flight:
            told = self._space.concatenate([told, *flight])
        unit, active = self._space.encode(told), _active(told)
        models = [self._densities(group, unit, active, place) for group in self._groups]
        points = self._rng.random((self.candidates, self._space.width))
        for group, model in zip(self._groups, models, strict=True):
            if model is not None:
                group.put(points, *model[0].draw(self._rng, self.candidates))
        designs = self._space.decode(points)
        points, active = self._space.encode(designs), _active(designs)
        value = np.zeros(len(designs))
        for group, model in zip(self._groups, models, strict=True):
            if model is not None:
                parts = group.parts(points)
                ratio = model[0].log_density(*parts) - model[1].log_density(*parts)
                value += np.where(group.active(active), ratio, 0.0)
        best = np.argsort(-value, kind="stable")
        new = self._memory.new(designs.take(best))
        if new.any():
            return designs.take(best[[int(np.argmax(new))]])
        return self._memory.renew(designs.take(best[:1]), self._change, self._rng, add=False)

    def _densities(
        self,
        group: Group,
        unit: Floats,
        active: npt.NDArray[np.bool_],
        place: npt.NDArray[np.intp],
    ) -> tuple[Good, Others] | None:
        """Return the two densities of a group of parameters, from trials where it is active."""
        rows = np.flatnonzero(group.active(active))
        n = len(rows)
        if n < _LEAST:
            return None
        rows = rows[np.argsort(place[rows], kind="stable")]
        count = min(_MOST, max(2, math.ceil(_SHARE * n)))
        rest = rows[count:]
        if len(rest) > _OTHERS:
            rest = np.sort(rest)[-_OTHERS:]
        floor = np.maximum(_FLOOR * (n / 10) ** -_FALL, 0.3 * group.distance)
        weights = math.log(count + 1) - np.log(np.arange(1, count + 1))
        numbers, values = group.parts(unit[rows[:count]])
        good = Good(numbers, values, group.counts, weights=weights, floor=floor)
        return good, Others(*group.parts(unit[rest]), group.counts)

    def _change(self, designs: Any) -> Any:
        return self._steps(self._rng, designs)

    def state(self) -> dict[str, Any]:
        """Return what was told and is in flight; densities follow from it."""
        flight = self._space.concatenate(list(self._flight))
        return {
            "rng": self._rng.bit_generator.state,
            "asked": self._memory.state(),
            "told": plain_designs(self._space, self._told),
            "losses": self._scores.losses.tolist(),
            "violations": self._scores.violations.tolist(),
            "feasible": self._scores.feasible.tolist(),
            "first": self._first,
            "flight": plain_designs(self._space, flight),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self._rng.bit_generator.state = state["rng"]
        self._memory.restore(state["asked"])
        self._told = designs_from(self._space, state["told"])
        n = len(self._told)
        if n:
            self._scores = Scores(
                losses=np.array(state["losses"], dtype=np.float64).reshape(n, -1),
                violations=np.array(state["violations"], dtype=np.float64).reshape(n, -1),
                feasible=np.array(state["feasible"], dtype=bool),
            )
        self._place = None
        self._first = state["first"]
        flight = designs_from(self._space, state["flight"])
        self._flight = deque(flight.take(np.array([i])) for i in range(len(flight)))


def _active(designs: Any) -> npt.NDArray[np.bool_]:
    """Say which coordinates of designs are active; of a space without conditions all are."""
    codes = getattr(designs, "codes", None)
    if codes is None:
        return np.ones((len(designs), 1), dtype=bool)
    return np.asarray(~np.isnan(codes))
