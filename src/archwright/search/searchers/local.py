"""Local search: climb over neighbors, and begin again."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search.goal import by_standing, standing
from archwright.search.searcher import Trials
from archwright.search.searchers.bases import Stateful
from archwright.search.searchers.limits import whole
from archwright.search.space import designs_from, plain_designs

__all__ = ["LocalSearch"]

Improvement = Literal["best", "first"]
_NOWHERE = (np.inf, np.inf)


class LocalSearch(Stateful):
    """Hill climbing over ``space.neighbors``, with restarts.

    A climb draws ``starts`` random designs, begins at the best of them, and asks the neighbors
    that were not asked before. It moves to the best neighbor once all are told, or to the first
    that is better. Where none is, it begins again. A real moves by a twentieth of its range, an
    integer by one step, so long ranges are better searched by ``annealing`` or
    ``regularized_evolution``.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), LocalSearch(),
    ...               budget=Budget(evaluations=300))
    >>> bool(study.run().losses.min() < 0.7)
    True

    Args:
        improvement: ``best`` or ``first``.
        starts: random designs drawn at the beginning of each climb.
        climbs: climbs at the same time; several fill large batches.
    """

    name = "local"

    def __init__(
        self, *, improvement: Improvement = "first", starts: int = 16, climbs: int = 1
    ) -> None:
        if improvement not in get_args(Improvement):
            raise SpecificationError(
                f"improvement: {unknown('rule', improvement, get_args(Improvement))}"
            )
        self.improvement = improvement
        self.starts = whole("starts", starts, 1)
        self.climbs = whole("climbs", climbs, 1)

    @property
    def preferred_block(self) -> int:  # type: ignore[override]
        """Designs to ask together: one of each climb."""
        return self.climbs

    @property
    def preferred_window(self) -> int:  # type: ignore[override]
        """Designs in flight."""
        return self.climbs

    def learn(self, trials: Trials) -> None:
        """Begin the climbs at the best of trials known beforehand."""
        stood = standing(trials.scores)
        self._memory.add(trials.designs)
        best = by_standing(stood)[: self.climbs]
        for climb, at in zip(self._climbs, best, strict=False):
            climb.begin(trials.designs.take(np.array([at])), stood[at])

    def _begin(self) -> None:
        self._climbs = [_Climb(self) for _ in range(self.climbs)]
        self._flight: deque[list[int]] = deque()  # [climb, neighborhood, trials] of each part

    def ask(self, n: int) -> Any:
        """Return neighbors not asked before; none while the last of them are in flight."""
        parts = []
        for index, climb in enumerate(self._climbs):
            part = climb.ask(n)
            if not len(part):
                continue
            self._flight.append([index, climb.neighborhood, len(part)])
            n -= len(part)
            parts.append(part)
            if not n:
                break
        asked = self._space.concatenate(parts)
        self._memory.add(asked)
        return asked

    def tell(self, trials: Trials) -> None:
        """Move up, where a way was found."""
        scores = standing(trials.scores)
        first = 0
        while first < len(trials):
            part = self._flight[0]
            stop = min(first + part[2], len(trials))
            climb, rows = self._climbs[part[0]], np.arange(first, stop)
            now = len(rows) if part[1] == climb.neighborhood else 0
            climb.tell(trials.designs.take(rows), scores[rows], now)
            part[2] -= len(rows)
            if not part[2]:
                self._flight.popleft()
            first = stop

    def _save(self) -> dict[str, Any]:
        return {
            "flight": [list(part) for part in self._flight],
            "climbs": [climb.save() for climb in self._climbs],
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._flight = deque(list(part) for part in state["flight"])
        for climb, saved in zip(self._climbs, state["climbs"], strict=True):
            climb.load(saved)


class _Climb:
    """One hill climber: where it is, the best it was told, and the neighbors still to ask."""

    _queue: Any
    _here: Any
    _found: Any
    _here_score: tuple[float, float]
    _found_score: tuple[float, float]
    _open: int

    def __init__(self, search: LocalSearch) -> None:
        self._space, self._rng, self._memory = search._space, search._rng, search._memory
        self._starts = search.starts
        self._first = search.improvement == "first"
        self._none = self._space.concatenate([])
        self.neighborhood = 0
        self._restart()

    def ask(self, n: int) -> Any:
        if not len(self._queue) and not self._open:
            if self._improved:
                self._move()
            if not len(self._queue):
                self._restart()
        count = min(n, len(self._queue))
        asked = self._queue.take(np.arange(count))
        self._queue = self._queue.take(np.arange(count, len(self._queue)))
        self._open += count
        return asked

    def tell(self, designs: Any, scores: npt.NDArray[np.float64], now: int) -> None:
        """Take scores; ``now`` of them are of the neighborhood being asked."""
        self._open -= now
        at = int(by_standing(scores)[0])
        found = (float(scores[at, 0]), float(scores[at, 1]))
        if found < self._found_score:
            self._found, self._found_score = designs.take(np.array([at])), found
        if self._first and len(self._here) and self._improved:
            self._move()

    def begin(self, design: Any, score: npt.NDArray[np.float64]) -> None:
        """Climb from a design that is known."""
        self._found, self._found_score = design, (float(score[0]), float(score[1]))
        self._move()

    @property
    def _improved(self) -> bool:
        return self._found_score < self._here_score

    def _move(self) -> None:
        self._here, self._here_score = self._found, self._found_score
        near = self._space.neighbors(self._here)
        near = near.take(np.flatnonzero(self._memory.new(near)))
        self._queue = near.take(self._rng.permutation(len(near)))
        self._begin_neighborhood()

    def _restart(self) -> None:
        self._here, self._here_score = self._none, _NOWHERE
        self._found, self._found_score = self._none, _NOWHERE
        self._queue = self._space.sample(self._rng, self._starts)
        self._begin_neighborhood()

    def _begin_neighborhood(self) -> None:
        self.neighborhood += 1
        self._open = 0  # trials in flight of this neighborhood

    def save(self) -> dict[str, Any]:
        return {
            "neighborhood": self.neighborhood,
            "open": self._open,
            "here": plain_designs(self._space, self._here),
            "here_score": list(self._here_score),
            "found": plain_designs(self._space, self._found),
            "found_score": list(self._found_score),
            "queue": plain_designs(self._space, self._queue),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.neighborhood, self._open = state["neighborhood"], state["open"]
        self._here = designs_from(self._space, state["here"])
        self._found = designs_from(self._space, state["found"])
        self._queue = designs_from(self._space, state["queue"])
        (a, b), (c, d) = state["here_score"], state["found_score"]
        self._here_score, self._found_score = (float(a), float(b)), (float(c), float(d))
