"""Small environments with known answers, for tests, examples and documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search import (
    Choice,
    Fidelity,
    Integer,
    Measurements,
    Metric,
    Ordinal,
    Parameter,
    ParameterSpace,
    Real,
)

__all__ = ["ToyEnvironment", "toy_environment"]


class ToyEnvironment:
    """Two metrics, ``cost`` and ``time``, that pull against each other.

    Args:
        space: what varies; the default mixes all kinds of parameter.
        noise: standard deviation of seeded noise; 0 makes it deterministic.
        fidelities: names to relative costs; a fidelity below the last adds a bias.
        limit: designs with a cost above it are infeasible.
    """

    metrics: Sequence[Metric] = (
        Metric("cost", "$", "what it costs"),
        Metric("time", "s", "how long it takes"),
    )
    version = "1"

    def __init__(
        self,
        *,
        space: ParameterSpace | None = None,
        noise: float = 0.0,
        fidelities: Mapping[str, float] | None = None,
        limit: float | None = None,
    ) -> None:
        self.space = space or _mixed_space()
        self.noise = noise
        self.deterministic = noise == 0.0
        self.fidelities = tuple(Fidelity(n, c) for n, c in (fidelities or {"full": 1.0}).items())
        self.limit = limit

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str = "full",
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Any | None = None,
    ) -> Measurements:
        """Measure: both metrics fall and rise along the coordinates of the unit cube."""
        del parents, artifacts
        unit = self.space.encode(designs)
        names = [f.name for f in self.fidelities]
        bias = 0.1 * (len(names) - 1 - names.index(fidelity))
        cost = (unit**2).sum(axis=1) + bias
        time = ((unit - 0.8) ** 2).sum(axis=1) + bias
        if self.noise:
            drawn = np.array([np.random.default_rng(int(s)).normal(size=2) for s in seeds])
            drawn = drawn.reshape(-1, 2) * self.noise
            cost, time = cost + drawn[:, 0], time + drawn[:, 1]
        feasible = np.ones(len(cost), dtype=bool)
        if self.limit is not None:
            feasible = cost <= self.limit
        over = np.where(feasible, 0.0, cost / (self.limit or 1.0) - 1.0)
        return Measurements(
            metrics={
                "cost": np.where(feasible, cost, np.nan),
                "time": np.where(feasible, time, np.nan),
            },
            provenance={"cost": "analytic", "time": "analytic"},
            feasible=feasible,
            reason=[None if ok else f"the cost is above {self.limit}" for ok in feasible],
            violation=over,
        )


def _mixed_space() -> ParameterSpace:
    parameters: dict[str, Parameter] = {
        "family": Choice(["dense", "moe"]),
        "experts": Ordinal([8, 16, 32, 64], when="family == 'moe'"),
        "layers": Integer(4, 64),
        "batch": Integer(1, 512, log=True),
        "ratio": Real(0.1, 0.9),
    }
    return ParameterSpace(parameters)


def toy_environment(**options: Any) -> ToyEnvironment:
    """Return a :class:`ToyEnvironment`; see there for the options."""
    return ToyEnvironment(**options)
