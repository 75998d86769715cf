"""When a study ends, and what it tells of itself on the way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from archwright.errors import SpecificationError
from archwright.search.goal import Scores
from archwright.search.numbers import is_number, plain

__all__ = ["Budget", "Progress"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a study ends; a total, counted over all its runs. The first limit reached ends it.

    Attributes:
        evaluations: unique evaluations (a replicate is one; a repeat is none).
        cost: sum of the relative costs of the fidelities asked.
        seconds: running time; decides only when to stop, never what is asked.
    """

    evaluations: int | None = None
    cost: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if all(value is None for value in given.values()):
            raise SpecificationError("[budget]: give evaluations, cost or seconds")
        for name, value in given.items():
            if value is None:
                continue
            whole_only = name == "evaluations" and isinstance(value, (float, np.floating))
            if not is_number(value) or whole_only:
                raise SpecificationError(f"[budget].{name}: expected a number, found {value!r}")
            if not value > 0:
                raise SpecificationError(f"[budget].{name}: expected more than 0, found {value!r}")
            object.__setattr__(self, name, plain(value))


@dataclass(frozen=True)
class Progress:
    """What a running study tells of itself after each block.

    Attributes:
        trials: trials told so far, repeats included.
        evaluations: unique evaluations measured so far.
        feasible: feasible trials so far.
        replayed: trials that were read from the store.
        scores: scores of the block just told.
        seconds: running time, over all runs.
    """

    trials: int
    evaluations: int
    feasible: int
    replayed: int
    scores: Scores
    seconds: float
