"""The executor of this process."""

from __future__ import annotations

from archwright.search.environments import Environment, Measurements
from archwright.search.executors.measure import Block, measure

__all__ = ["Serial"]


class Serial:
    """Measure in this process, one block after another."""

    workers = 1

    def open(self, environment: Environment) -> None:
        """Keep the environment."""
        self._environment = environment

    def submit(self, block: Block) -> Block:
        """Wait for :meth:`result`: a block is measured when its result is needed."""
        return block

    def result(self, handle: Block) -> tuple[Measurements, float]:
        """Measure now."""
        return measure(self._environment, handle)

    def close(self) -> None:
        """Nothing to close."""
