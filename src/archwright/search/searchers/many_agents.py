"""Many learning agents share a design: one a parameter or a group, with one reward for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search.goal import Scores, ranks, standing
from archwright.search.searcher import Trials
from archwright.search.searchers.bases import Generations, Stateful
from archwright.search.searchers.formulations import (
    FORMULATIONS,
    AtOnce,
    Formulation,
    TimeDivision,
    partition,
    value_points,
)
from archwright.search.searchers.limits import flag, share, whole
from archwright.search.searchers.policy import Policy

__all__ = ["ManyAgents"]

_REWARDS = ("rank", "loss")
Floats = npt.NDArray[np.float64]


class ManyAgents(Stateful, Generations):
    """Learn how to draw designs by policy gradients, the parameters split over agents.

    Episodes have one step and no state, so an agent is a distribution over the values of its
    parameters. All act at once and get the same reward. ``formulation`` says who decides what:

    - ``per_parameter``: an agent a parameter;
    - ``grouped``: an agent a group of parameters, over all their combinations, which learns how
      they interact;
    - ``factored``: one agent with a categorical a parameter;
    - ``autoregressive``: one agent whose choice of a parameter sees those before;
    - ``normal``: one agent with a normal a parameter, cut into bins;
    - ``tdm``: one agent that sets one parameter a step (time division); each step is measured.

    A converged policy asks designs again; a study ends when nothing new comes.

    >>> from archwright.search import Budget, Choice, Goal, Integer, ParameterSpace, Study
    >>> from archwright.testing import ToyEnvironment
    >>> space = ParameterSpace({"a": Choice(["x", "y", "z"]), "b": Integer(1, 16)})
    >>> study = Study(ToyEnvironment(space=space), Goal(minimize=["cost"]), ManyAgents(batch=8),
    ...               budget=Budget(evaluations=40))
    >>> len(study.run().trials)
    40

    Args:
        formulation: see above.
        groups: lists of names for ``grouped``; a parameter in none has an agent of its own.
        learning_rate: of Adam, on logits.
        entropy: weight of the entropy bonus.
        clip: range of the probability ratio; infinite clips nothing.
        batch: designs between two updates.
        epochs: updates from one batch.
        network: learn three layers of 32 instead of a table of logits (``per_parameter``,
            ``grouped``, ``factored``; ``tdm`` always does). On a constant context both can
            express the same.
        rounding: for ``normal``: round an action before it is binned, as ArchGym's mapper does,
            which leaves three values of each parameter.
        reward: ``rank``, the rank of a design within its batch from 1 to -1; or ``loss``, its
            negative, the worst of the batch for a design that is infeasible or unknown.

    Source: Krishnan et al.: Multi-Agent Reinforcement Learning for Microprocessor Design Space
    Exploration, 2022. Baselines: Schulman et al.: Proximal Policy Optimization Algorithms, 2017.
    """

    name = "many_agents"

    def __init__(
        self,
        *,
        formulation: str = "per_parameter",
        groups: Sequence[Sequence[str]] = (),
        learning_rate: float = 0.03,
        entropy: float = 0.03,
        clip: float = 0.2,
        batch: int = 32,
        epochs: int = 4,
        network: bool = False,
        rounding: bool = False,
        reward: Literal["rank", "loss"] = "rank",
    ) -> None:
        if formulation not in FORMULATIONS:
            raise SpecificationError(
                f"formulation: {unknown('formulation', formulation, FORMULATIONS)}"
            )
        if reward not in _REWARDS:
            raise SpecificationError(f"reward: {unknown('reward', reward, _REWARDS)}")
        listed = not isinstance(groups, (str, dict)) and all(
            isinstance(group, (list, tuple)) and group and all(isinstance(n, str) for n in group)
            for group in groups
        )
        if not listed:
            raise SpecificationError(f"groups: expected lists of names, found {groups!r}")
        if bool(groups) != (formulation == "grouped"):
            raise SpecificationError(
                f"groups: go with formulation 'grouped', found {formulation!r} with "
                f"{len(groups)} groups"
            )
        if flag("rounding", rounding) and formulation != "normal":
            raise SpecificationError(
                f"rounding: goes with formulation 'normal', found {formulation!r}"
            )
        if flag("network", network) and formulation in ("autoregressive", "normal"):
            raise SpecificationError(f"network: formulation {formulation!r} has none")
        self.formulation = formulation
        self.groups = tuple(tuple(group) for group in groups)
        self.learning_rate = share("learning_rate", learning_rate, above=True)
        self.entropy = share("entropy", entropy)
        self.clip = share("clip", clip, high=math.inf, above=True)
        self.batch = whole("batch", batch, 2)
        self.epochs = whole("epochs", epochs, 1)
        self.network = network
        self.rounding = rounding
        self.reward = reward

    @property
    def agents(self) -> list[tuple[str, ...]]:
        """Names of the parameters of each agent, once started."""
        if self.formulation in ("per_parameter", "grouped"):
            return [tuple(self._names[i] for i in head) for head in self._heads]
        return [self._names]

    @property
    def policy(self) -> Policy:
        """The policy, once started."""
        return self._shared.learner.policy

    def distributions(self) -> list[Floats]:
        """Return the present probabilities of each head's values, once started.

        Raises:
            SpecificationError: the formulation has no fixed table of probabilities.
        """
        policy: Any = self.policy
        if self.formulation in ("autoregressive", "normal", "tdm"):
            raise SpecificationError(
                f"distributions: formulation {self.formulation!r} has no table of probabilities"
            )
        return [row[0] for row in policy.probabilities(np.ones((1, 1)))]

    def _begin(self) -> None:
        self._values = value_points(self.name, self._space)
        self._cube: Any = self._space
        self._names: tuple[str, ...] = self._cube.names
        sizes = [len(points) for points in self._values]
        self._heads = partition(self._names, sizes, self.groups)
        seed = int(self._rng.integers(2**63))
        options: dict[str, Any] = {
            "batch": self.batch,
            "seed": seed,
            "clip": self.clip,
            "entropy": self.entropy,
            "learning_rate": self.learning_rate,
            "epochs": self.epochs,
        }
        self._shared: Formulation = (
            TimeDivision(sizes, **options)
            if self.formulation == "tdm"
            else AtOnce(
                self.formulation,
                self._names,
                sizes,
                self._heads,
                network=self.network,
                rounding=self.rounding,
                **options,
            )
        )
        self._clear()

    @property
    def preferred_block(self) -> int:  # type: ignore[override]
        """Designs to ask together: a batch between two updates."""
        return self.batch

    @property
    def preferred_window(self) -> int:  # type: ignore[override]
        """Designs in flight."""
        return self.batch

    def learn(self, trials: Trials) -> None:
        """Learn from trials known beforehand as from a batch."""
        unit = self._cube.encode(trials.designs)
        index = np.empty((len(unit), len(self._values)), dtype=np.int64)
        at = 0
        for column, values in enumerate(self._values):
            here = unit[:, None, at : at + values.shape[1]]
            index[:, column] = np.abs(here - values).sum(axis=2).argmin(axis=1)
            at += values.shape[1]
        self._shared.imitate(index, standing(trials.scores), self._rewards)

    def _breed(self) -> Any:
        index = self._shared.draw()
        unit = [values[index[:, i]] for i, values in enumerate(self._values)]
        return self._cube.decode(np.hstack(unit))

    def _learn(self, designs: Any, scores: Scores) -> None:
        del designs
        self._shared.learn(standing(scores), self._rewards)

    def _rewards(self, stood: Floats) -> Floats:
        if self.reward == "rank":
            return ranks(stood)
        known = stood[:, 0] == 0
        if not known.any():
            return np.zeros(len(stood))
        return np.where(known, -stood[:, 1], -stood[known, 1].max())

    def _save(self) -> dict[str, Any]:
        return {"shared": self._shared.state(), **self._save_generation()}

    def _load(self, state: dict[str, Any]) -> None:
        self._shared.restore(state["shared"])
        self._load_generation(state)
