"""Bases of searchers: one loss and a memory of designs, states, whole generations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.goal import Objectives, Scores
from archwright.search.searcher import BaseSearcher, Trials
from archwright.search.searchers.limits import single_loss
from archwright.search.searchers.memory import Memory
from archwright.search.space import Space, designs_from, plain_designs

__all__ = ["Generations", "Replayed", "SingleLoss", "Stateful", "taken"]


class SingleLoss(BaseSearcher, ABC):
    """Base of searchers with one loss, one generator and a memory of what they asked.

    A subclass begins in ``_begin``. Its state is stored (``Stateful``) or replayed (``Replayed``).
    """

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
            SpecificationError: the goal has several losses, or the space does not suit.
        """
        del capabilities
        single_loss(self.name, objectives)
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._memory = Memory(space)
        self._begin()

    @abstractmethod
    def _begin(self) -> None: ...


class Stateful(SingleLoss):
    """Base of those whose state is plain data: it is stored, and they continue from it.

    A subclass gives and takes what is its own in ``_save`` and ``_load``.
    """

    def state(self) -> dict[str, Any] | None:
        """Return everything that the asks depend on."""
        return {
            "rng": self._rng.bit_generator.state,
            "asked": self._memory.state(),
            **self._save(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self._rng.bit_generator.state = state["rng"]
        self._memory.restore(state["asked"])
        self._load(state)

    @abstractmethod
    def _save(self) -> dict[str, Any]: ...

    @abstractmethod
    def _load(self, state: dict[str, Any]) -> None: ...


class Replayed:
    """Base of those whose library has no state to store: their trials are replayed."""

    def state(self) -> None:
        """Return None: there is no plain state to store."""

    def restore(self, state: dict[str, Any]) -> None:
        """Never called: there is no state."""
        raise AssertionError(state)


class Generations(ABC):
    """Base of searchers that ask a generation, wait for all of it, and learn.

    A subclass gives ``_breed() -> designs``, none where it has finished, and
    ``_learn(designs, scores)``.
    """

    _space: Any
    _generation: Any
    _asked: int
    _told: list[Scores]

    def ask(self, n: int) -> Any:
        """Return up to n designs of this generation; none while it is being evaluated."""
        if self._generation is None:
            bred = self._breed()
            if not len(bred):
                return bred
            self._generation = bred
        stop = min(self._asked + n, len(self._generation))
        part = self._generation.take(np.arange(self._asked, stop))
        self._asked = stop
        return part

    def tell(self, trials: Trials) -> None:
        """Take scores; the last of a generation completes it."""
        self._told.append(trials.scores)
        if sum(len(scores.losses) for scores in self._told) < len(self._generation):
            return
        designs, told = self._generation, self._told
        self._clear()
        self._learn(designs, _joined(told))

    @abstractmethod
    def _breed(self) -> Any: ...

    @abstractmethod
    def _learn(self, designs: Any, scores: Scores) -> None: ...

    def _clear(self) -> None:
        self._generation = None
        self._asked = 0
        self._told = []

    def _save_generation(self) -> dict[str, Any]:
        if self._generation is None:
            return {"generation": None}
        return {
            "generation": plain_designs(self._space, self._generation),
            "out": self._asked,
            "told": [
                {
                    "losses": scores.losses.tolist(),
                    "violations": scores.violations.tolist(),
                    "feasible": scores.feasible.tolist(),
                }
                for scores in self._told
                if len(scores.losses)
            ],
        }

    def _load_generation(self, state: dict[str, Any]) -> None:
        self._clear()
        if state["generation"] is None:
            return
        self._generation = designs_from(self._space, state["generation"])
        self._asked = state["out"]
        for part in state["told"]:
            scores = Scores(
                losses=np.array(part["losses"], dtype=np.float64),
                violations=np.array(part["violations"], dtype=np.float64),
                feasible=np.array(part["feasible"], dtype=bool),
            )
            self._told.append(scores)


def taken(scores: Scores, rows: npt.NDArray[np.intp]) -> Scores:
    """Return the scores of some designs."""
    return Scores(
        losses=scores.losses[rows],
        violations=scores.violations[rows],
        feasible=scores.feasible[rows],
    )


def _joined(parts: list[Scores]) -> Scores:
    return Scores(
        losses=np.concatenate([part.losses for part in parts]),
        violations=np.concatenate([part.violations for part in parts]),
        feasible=np.concatenate([part.feasible for part in parts]),
    )
