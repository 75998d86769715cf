"""Exhaustive search: every design of a finite space, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from archwright.errors import SpecificationError
from archwright.search.goal import Objectives
from archwright.search.searcher import Trials
from archwright.search.space import Space

__all__ = ["Exhaustive"]


class Exhaustive:
    """Enumerate the space in order; finished after the last design.

    The right method whenever the space is small enough: its front is the truth.
    """

    _rest: Any
    _asked: int

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
            SpecificationError: the space cannot be enumerated.
        """
        del objectives, seed, capabilities
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
        self._asked += n - missing
        return self._space.concatenate(taken)

    def tell(self, trials: Trials) -> None:
        """Learn nothing."""

    def step(self) -> bool:
        """There is no work of its own."""
        return False

    def state(self) -> dict[str, Any]:
        """Return how many designs were asked."""
        return {"asked": self._asked}

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
