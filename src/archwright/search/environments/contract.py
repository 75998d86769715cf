"""The contract of an environment: what a design is measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from archwright.search.environments.measurements import Measurements
from archwright.search.space import Space
from archwright.search.store.artifacts import Artifacts

__all__ = ["Environment", "Fidelity", "Metric"]


@dataclass(frozen=True)
class Metric:
    """A measured quantity.

    Attributes:
        name: SI name with its unit, such as ``energy_j``.
        unit: unit as people read it.
        meaning: one sentence.
        better: which direction is better.
    """

    name: str
    unit: str = ""
    meaning: str = ""
    better: Literal["lower", "higher"] = "lower"


@dataclass(frozen=True)
class Fidelity:
    """A way of measuring, with its cost relative to the others."""

    name: str
    relative_cost: float = 1.0


@runtime_checkable
class Environment(Protocol):
    """The contract of an environment.

    Attributes:
        space: what may vary.
        metrics: what is measured.
        version: changes whenever the same design and seed may measure differently.
        deterministic: the seed has no influence; repeats are then not evaluated again.
        fidelities: ways of measuring, the truest last.

    An environment may also offer ``panels(design) -> list[Panel]``, ``describe(design) -> str``
    (the answer in a sentence), ``why_infeasible(designs) -> list[str]``, ``identity() -> dict``
    (plain data that, with ``version``, says that two environments are the same) and ``artifacts``
    (names of the files that a trial leaves for those that inherit from it, such as weights).
    """

    @property
    def space(self) -> Space: ...
    @property
    def metrics(self) -> Sequence[Metric]: ...
    @property
    def version(self) -> str: ...
    @property
    def deterministic(self) -> bool: ...
    @property
    def fidelities(self) -> Sequence[Fidelity]: ...

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str,
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Artifacts | None = None,
    ) -> Measurements:
        """Measure designs, one seed each.

        Infeasible is an answer with a reason; a broken environment raises. ``parents`` (trial
        numbers, -1 for none) say whom each inherits from; ``artifacts.read(row, name)`` gives
        what the parent of a design left (None without one), ``artifacts.write(row, name, data)``
        leaves something itself. Both are None where nothing is inherited or kept.
        """
