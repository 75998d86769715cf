"""Exhaustive search: every design of a finite space, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError
from archwright.search.goal import Objectives
from archwright.search.searcher import BaseSearcher, Proposals, Trials
from archwright.search.searchers.limits import flag
from archwright.search.space import Space
from archwright.solve.pareto import nondominated

__all__ = ["Exhaustive"]


class Exhaustive(BaseSearcher):
    """Enumerate the space in order; finished after the last design.

    The right method whenever the space is small enough: its front is the truth.

    Where an environment offers a ``bound``, a cheap fidelity that is never worse than the exact
    one, ``screen`` asks it of every design first. Then it asks the exact one, the best bound
    first, and leaves out designs whose bound is dominated by an exact result: the front stays
    the truth. Budget it by ``cost``, for the bounds count as evaluations too, and keep the window
    small: what is in flight cannot rule out what is asked.

    Args:
        screen: ask the bounds first.
    """

    preferred_block = 32
    preferred_window = 64
    adaptive = False

    name = "exhaustive"

    _rest: Any
    _asked: int

    def __init__(self, *, screen: bool = False) -> None:
        self.screen = flag("screen", screen)

    def start(
        self,
        space: Space,
        objectives: Objectives,
        *,
        seed: int,
        capabilities: Mapping[str, Any],
    ) -> None:
        """Begin at the first design.

        Raises:
            SpecificationError: the space cannot be enumerated, or is to be screened and the
                environment offers no bound of what the goal asks for.
        """
        del seed
        self._bound = _bound(objectives, capabilities) if self.screen else ""
        self._told: list[tuple[Any, npt.NDArray[np.float64]]] = []
        self._open: list[int] = []
        self._front = np.empty((0, len(objectives.losses)))
        self._left = 0  # bounds asked and not yet told
        if not hasattr(space, "enumerate"):
            raise SpecificationError("exhaustive search needs a space that can be enumerated")
        self._space: Any = space
        self._skip(0)

    def ask(self, n: int) -> Any:
        """Return the next designs, none after the last."""
        taken, missing = [], n
        while missing and self._rest is not None:
            part = self._rest.take(np.arange(min(missing, len(self._rest))))
            taken.append(part)
            missing -= len(part)
            if len(part) < len(self._rest):
                self._rest = self._rest.take(np.arange(len(part), len(self._rest)))
            else:
                self._rest = next(self._batches, None)
        found = n - missing
        self._asked += found
        designs = self._space.concatenate(taken)
        if not self._bound:
            return designs
        if found:
            self._left += found
            return Proposals(designs=designs, fidelity=(self._bound,) * found)
        return self._exact(n)

    def tell(self, trials: Trials) -> None:
        """Learn nothing; when screening, the bounds and what is exact."""
        if not self._bound:
            return
        losses = np.where(trials.scores.feasible[:, None], trials.scores.losses, np.nan)
        for i, fidelity in enumerate(trials.fidelity):
            if fidelity == self._bound:
                self._left -= 1
                if not np.isnan(losses[i]).any():
                    self._told.append((trials.designs.take(np.array([i])), losses[i]))
            elif not np.isnan(losses[i]).any():
                self._front = np.vstack([self._front, losses[i]])
                self._front = self._front[nondominated(self._front)]
        if not self._left and self._rest is None and not self._open and self._told:
            order = np.argsort([loss[0] for _, loss in self._told], kind="stable")
            self._open = order[::-1].tolist()

    def _exact(self, n: int) -> Any:
        """Return designs to be measured exactly, the best bound first."""
        chosen: list[Any] = []
        while self._open and len(chosen) < n and not self._left:
            index = self._open.pop()
            design, bound = self._told[index]
            beaten = (self._front <= bound).all(axis=1) & (self._front < bound).any(axis=1)
            if not beaten.any():
                chosen.append(design)
        if not self._open and not self._left and self._rest is None:
            self._told = []
        return self._space.concatenate(chosen)

    def learn(self, trials: Trials) -> None:
        """Count trials known beforehand for the front that screens."""
        if self._bound:
            losses = trials.scores.losses[trials.scores.feasible]
            losses = np.concatenate([self._front, losses[~np.isnan(losses).any(axis=1)]])
            self._front = losses[nondominated(losses)]

    def state(self) -> dict[str, Any] | None:
        """Return how many designs were asked; when screening None, so that trials are replayed."""
        return None if self._bound else {"asked": self._asked}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after the designs that were asked."""
        self._skip(state["asked"])

    def _skip(self, asked: int) -> None:
        self._batches: Iterator[Any] = iter(self._space.enumerate())
        self._rest = next(self._batches, None)
        self._asked = 0
        while self._rest is not None and asked - self._asked >= len(self._rest):
            self._asked += len(self._rest)
            self._rest = next(self._batches, None)
        if self._rest is not None and self._asked < asked:
            self._rest = self._rest.take(np.arange(asked - self._asked, len(self._rest)))
            self._asked = asked


def _bound(objectives: Objectives, capabilities: Mapping[str, Any]) -> str:
    """Return the fidelity that bounds what the goal asks for."""
    offer = capabilities.get("bound")
    if offer is None:
        raise SpecificationError("screen: the environment offers no bound; leave it out")
    bounded = [*offer["metrics"], "environment"]
    for name in (*objectives.losses, *objectives.constraints):
        words = name.split(" ")[0]
        if words not in bounded:
            raise SpecificationError(f"screen: {words!r} has no bound; bounded: {bounded[:-1]}")
    return str(offer["fidelity"])
