"""A portfolio: several searchers share a budget, and those that find more get more of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search.goal import Objectives, Scores, standing
from archwright.search.searcher import BaseSearcher, Proposals, Searcher, Trials, make_searcher
from archwright.search.searchers.bases import taken
from archwright.search.searchers.limits import share
from archwright.search.space import Space

__all__ = ["Portfolio"]


class Portfolio(BaseSearcher):
    """Ask several searchers in turn, more often those that improved the result of late.

    An improvement is a trial better than every one before, or with several losses one that no
    trial before dominates. Each searcher's improvements are forgotten by ``forgetting`` per trial
    of its own; its share of the asks is in proportion to improvements a trial, but never less
    than ``floor`` of an equal share. A searcher is told of its own trials only.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> search = Portfolio(searchers=["regularized_evolution", "random"])
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), search,
    ...               budget=Budget(evaluations=300))
    >>> found = study.run()
    >>> asked = dict(zip(search.searchers, search.asked, strict=True))
    >>> asked["regularized_evolution"] > asked["random"]
    True

    Args:
        searchers: registered names, or ``package.module:object``.
        options: name to the options of that searcher.
        forgetting: how fast improvements fade, above 0 and below 1.
        floor: least part of an equal share, above 0 to 1.
    """

    name = "portfolio"
    preferred_block = 4
    preferred_window = 8

    def __init__(
        self,
        *,
        searchers: Sequence[str] = ("regularized_evolution", "genetic", "local"),
        options: Mapping[str, Mapping[str, Any]] | None = None,
        forgetting: float = 0.05,
        floor: float = 0.3,
    ) -> None:
        if isinstance(searchers, str) or len(set(searchers)) < max(2, len(searchers)):
            raise SpecificationError(
                f"searchers: expected two or more different names, found {searchers!r}"
            )
        self.searchers = tuple(searchers)
        for name in options or {}:
            if name not in self.searchers:
                raise SpecificationError(f"options: {unknown('searcher', name, self.searchers)}")
        self.options = {name: dict(table) for name, table in (options or {}).items()}
        self.forgetting = share("forgetting", forgetting, high=0.9999, above=True)
        self.floor = share("floor", floor, above=True)
        self._made = [self._make(name) for name in self.searchers]

    def _make(self, name: str) -> Searcher:
        from archwright.registry import resolve

        return make_searcher(resolve("searchers", name), self.options.get(name, {}), name=name)

    def start(
        self,
        space: Space,
        objectives: Objectives,
        *,
        seed: int,
        capabilities: Mapping[str, Any],
    ) -> None:
        """Start each searcher with a seed of its own.

        Raises:
            SpecificationError: one of them cannot take the space or the goal.
        """
        self._space = space
        seeds = np.random.SeedSequence(seed).generate_state(len(self._made), dtype=np.uint32)
        for searcher, own in zip(self._made, seeds.tolist(), strict=True):
            searcher.start(space, objectives, seed=own, capabilities=capabilities)
        count = len(self._made)
        self._asked = [0] * count
        self._due = np.zeros(count)
        self._gain = np.full(count, 0.1)  # improvements a trial, until there are some
        self._flight: deque[list[int]] = deque()  # [searcher, trials] of each ask
        self._best: npt.NDArray[np.float64] = np.empty((0, len(objectives.losses)))
        self._best_standing = (np.inf, np.inf)

    @property
    def asked(self) -> list[int]:
        """Designs asked of each searcher so far."""
        return list(self._asked)

    def ask(self, n: int) -> Any:
        """Return what the searcher most in arrears asks; another's where it waits."""
        portion = np.maximum(self._gain / self._gain.sum(), self.floor / len(self._made))
        portion = portion / portion.sum()
        for index in np.argsort(-(self._due + portion * n), kind="stable").tolist():
            found = self._made[index].ask(n)
            count = len(found.designs if isinstance(found, Proposals) else found)
            if count:
                self._due += portion * count
                self._due[index] -= count
                self._asked[index] += count
                self._flight.append([index, count])
                return found
        return self._space.concatenate([])

    def tell(self, trials: Trials) -> None:
        """Credit improvements, and tell each searcher of its trials."""
        better = self._improvements(trials.scores)
        first = 0
        while first < len(trials):
            index, count = self._flight[0]
            stop = min(first + count, len(trials))
            rows = np.arange(first, stop)
            self._gain[index] *= (1.0 - self.forgetting) ** len(rows)
            self._gain[index] += self.forgetting * (better[rows] & ~trials.repeats[rows]).sum()
            self._made[index].tell(_part(trials, rows))
            self._flight[0][1] -= len(rows)
            if not self._flight[0][1]:
                self._flight.popleft()
            first = stop

    def learn(self, trials: Trials) -> None:
        """Let every searcher learn trials known beforehand."""
        self._improvements(trials.scores)
        for searcher in self._made:
            learn = getattr(searcher, "learn", None)
            if learn is not None:
                learn(trials)

    def step(self) -> bool:
        """Let the first searcher that has work of its own do one unit."""
        return any(searcher.step() for searcher in self._made)

    def state(self) -> dict[str, Any] | None:
        """Return the states of all searchers, or None if one of them has none."""
        states = [searcher.state() for searcher in self._made]
        if any(state is None for state in states):
            return None
        return {
            "searchers": states,
            "asked": self.asked,
            "due": self._due.tolist(),
            "gain": self._gain.tolist(),
            "flight": [list(pair) for pair in self._flight],
            "best": self._best.tolist(),
            "best_standing": list(self._best_standing),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        for searcher, own in zip(self._made, state["searchers"], strict=True):
            searcher.restore(own)
        self._asked = list(state["asked"])
        self._due, self._gain = np.array(state["due"]), np.array(state["gain"])
        self._flight = deque(list(pair) for pair in state["flight"])
        self._best = np.array(state["best"], dtype=np.float64).reshape(-1, self._best.shape[1])
        group, value = state["best_standing"]
        self._best_standing = (float(group), float(value))

    def _improvements(self, scores: Scores) -> npt.NDArray[np.bool_]:
        n = len(scores)
        better = np.zeros(n, dtype=bool)
        if scores.losses.shape[1] == 1:
            for i, (group, value) in enumerate(standing(scores).tolist()):
                if (group, value) < self._best_standing:
                    better[i], self._best_standing = True, (group, value)
            return better
        usable = scores.feasible & ~np.isnan(scores.losses).any(axis=1)
        for i in np.flatnonzero(usable).tolist():
            row = scores.losses[i]
            if (self._best <= row).all(axis=1).any():
                continue
            better[i] = True
            beaten = (row <= self._best).all(axis=1)
            self._best = np.concatenate([self._best[~beaten], row[None, :]])
        return better


def _part(trials: Trials, rows: npt.NDArray[np.intp]) -> Trials:
    return Trials(
        numbers=trials.numbers[rows],
        designs=trials.designs.take(rows),
        scores=taken(trials.scores, rows),
        fidelity=tuple(trials.fidelity[i] for i in rows),
        parents=trials.parents[rows],
        repeats=trials.repeats[rows],
    )
