"""Random search: the yardstick of every other method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from archwright.search.goal import Objectives
from archwright.search.searcher import BaseSearcher, Trials
from archwright.search.space import Space

__all__ = ["RandomSearch"]


class RandomSearch(BaseSearcher):
    """Draw designs uniformly and independently. Never finishes by itself."""

    name = "random"
    preferred_block = 32
    preferred_window = 64
    adaptive = False

    def start(
        self,
        space: Space,
        objectives: Objectives,
        *,
        seed: int,
        capabilities: Mapping[str, Any],
    ) -> None:
        """Begin; the stream of designs depends on the seed alone."""
        del objectives, capabilities
        self._space = space
        self._rng = np.random.default_rng(seed)

    def ask(self, n: int) -> Any:
        """Return n designs."""
        return self._space.sample(self._rng, n)

    def tell(self, trials: Trials) -> None:
        """Learn nothing."""

    def learn(self, trials: Trials) -> None:
        """Learn nothing."""

    def state(self) -> dict[str, Any]:
        """Return the state of the generator."""
        return dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self._rng.bit_generator.state = state
