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
    Objectives,
    Ordinal,
    Parameter,
    ParameterSpace,
    Proposals,
    Real,
    Space,
    Trials,
)
from archwright.search.store.artifacts import Artifacts

__all__ = ["ToyEnvironment", "ToyEvolution", "ToyTraining", "toy_environment"]


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
        artifacts: Artifacts | None = None,
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


class ToyTraining:
    """An environment whose trials inherit weights: a network of two weights, trained by descent.

    A design says how fast and how long to train. A trial without a parent starts from weights
    drawn from its seed; one with a parent goes on from the weights that the parent left.
    """

    metrics: Sequence[Metric] = (
        Metric("loss", "", "distance of the weights from the best ones"),
        Metric("steps", "", "steps of training, those inherited left out"),
    )
    version = "1"
    deterministic = False
    fidelities = (Fidelity("full"),)
    artifacts = ("weights",)

    def __init__(self) -> None:
        self.space = ParameterSpace({"rate": Real(0.01, 0.5), "steps": Integer(1, 8)})

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str = "full",
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Artifacts | None = None,
    ) -> Measurements:
        """Train each design; leave its weights."""
        del fidelity, parents  # the artifacts know whose they are
        losses = np.empty(len(designs))
        for i, design in enumerate(designs):
            left = None if artifacts is None else artifacts.read(i, "weights")
            weights = (
                np.random.default_rng(int(seeds[i])).normal(size=2)
                if left is None
                else np.frombuffer(left)
            )
            for _ in range(design["steps"]):
                weights = weights - design["rate"] * (weights - np.array([1.0, -1.0]))
            losses[i] = np.abs(weights - np.array([1.0, -1.0])).sum()
            if artifacts is not None:
                artifacts.write(i, "weights", weights.tobytes())
        steps = np.array([float(design["steps"]) for design in designs])
        return Measurements(metrics={"loss": losses, "steps": steps})


class ToyEvolution:
    """A searcher whose trials inherit: random designs, each going on from the best so far."""

    def start(
        self, space: Space, objectives: Objectives, *, seed: int, capabilities: Mapping[str, Any]
    ) -> None:
        """Begin without a best trial."""
        del objectives, capabilities
        self._space, self._rng = space, np.random.default_rng(seed)
        self._best, self._loss = -1, np.inf

    def ask(self, n: int) -> Proposals:
        """Return random designs, children of the best trial."""
        designs = self._space.sample(self._rng, n)
        return Proposals(designs=designs, parents=np.full(n, self._best))

    def tell(self, trials: Trials) -> None:
        """Keep the best."""
        losses = trials.scores.losses[:, 0]
        at = int(np.argmin(losses))
        if losses[at] < self._loss:
            self._best, self._loss = int(trials.numbers[at]), float(losses[at])

    def step(self) -> bool:
        """There is no work of its own."""
        return False

    def state(self) -> dict[str, Any]:
        """Return the best trial and the generator."""
        return {
            "best": self._best,
            "loss": None if self._best < 0 else self._loss,
            "rng": self._rng.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self._best = state["best"]
        self._loss = np.inf if state["loss"] is None else state["loss"]
        self._rng.bit_generator.state = state["rng"]
