"""How agents share a design: all at once, each its own part; or one parameter after another."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search.searchers.limits import number_of_values
from archwright.search.searchers.mlp import Mlp
from archwright.search.searchers.policy import (
    Autoregressive,
    BinnedNormal,
    Network,
    Networks,
    Policy,
    Tables,
)
from archwright.search.searchers.policy_gradient import PolicyGradient, Surrogate
from archwright.search.space import ParameterSpace

__all__ = [
    "FORMULATIONS",
    "AtOnce",
    "Formulation",
    "TimeDivision",
    "partition",
    "value_points",
]

FORMULATIONS = ("per_parameter", "grouped", "factored", "autoregressive", "normal", "tdm")
"""Names of the formulations, multi-agent ones first."""

_MOST_VALUES = 4_096  # of one parameter
_MOST = 65_536  # values of one head
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


class Formulation(Protocol):
    """Draws batches of designs as indices of values, and learns from their rewards."""

    learner: PolicyGradient

    def draw(self) -> Whole:
        """Return the index of the value of each parameter, shape (designs, parameters)."""

    def learn(self, standing: Floats, reward: Callable[[Floats], Floats]) -> None:
        """Take the standing of each design, shape (designs, 2); rewards are made of a batch."""

    def imitate(self, index: Whole, standing: Floats, reward: Callable[[Floats], Floats]) -> None:
        """Learn from designs that were not drawn, given by the indices of their values."""

    def state(self) -> dict[str, Any]:
        """Return plain data."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""


class AtOnce:
    """Every head acts at once, on a constant context.

    Each head draws from a generator of its own, seeded by the names of its parameters: the order
    of the agents decides nothing.

    Args:
        name: a formulation other than ``tdm``.
        names: names of the parameters.
        sizes: number of values of each.
        heads: the parameters of each head.
        batch: designs between two updates.
        network: learn a network where there would be a table of logits.
        rounding: see :class:`BinnedNormal`.
        seed: of everything drawn.
        clip, entropy: see :class:`Surrogate`.
        learning_rate, epochs: see :class:`PolicyGradient`.
    """

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        sizes: Sequence[int],
        heads: Sequence[Sequence[int]],
        *,
        batch: int,
        network: bool,
        rounding: bool,
        seed: int,
        clip: float,
        entropy: float,
        **options: Any,
    ) -> None:
        self._sizes, self._heads, self._batch = tuple(sizes), heads, batch
        widths = [math.prod(sizes[i] for i in head) for head in heads]
        several = name in ("per_parameter", "grouped")
        marks = [zlib.crc32("\0".join(names[i] for i in head).encode()) for head in heads]
        self._rngs = [np.random.default_rng([seed, mark]) for mark in marks]
        policy: Policy
        if name == "normal":
            policy = BinnedNormal(widths, rounding=rounding)
        elif name == "autoregressive":
            policy = Autoregressive(widths)
        elif not network:
            policy = Tables(widths)
        elif several:
            policy = Networks(widths, self._rngs)
        else:
            policy = Network(widths, np.random.default_rng([seed, 0]))
        agents = np.arange(len(heads)) if several else np.zeros(len(heads), dtype=np.int64)
        surrogate = Surrogate(agents=agents, clip=clip, entropy=entropy)
        self.learner = PolicyGradient(policy, surrogate, **options)
        self._context = np.ones((batch, 1))
        self._actions: Floats = np.empty((0, len(heads)))

    def draw(self) -> Whole:
        """Return a batch of designs."""
        policy = self.learner.policy
        uniform = np.column_stack([rng.random(self._batch) for rng in self._rngs])
        self._actions = policy.sample(uniform, self._context)
        drawn = policy.values(self._actions)
        found = np.empty((self._batch, len(self._sizes)), dtype=np.int64)
        for h, head in enumerate(self._heads):
            parts = np.unravel_index(drawn[:, h], [self._sizes[i] for i in head])
            for i, part in zip(head, parts, strict=True):
                found[:, i] = part
        return found

    def learn(self, standing: Floats, reward: Callable[[Floats], Floats]) -> None:
        """Learn from the batch just drawn."""
        self.learner.learn(self._actions, self._context, reward(standing))

    def imitate(self, index: Whole, standing: Floats, reward: Callable[[Floats], Floats]) -> None:
        """Learn from designs as from a batch; a normal policy gets the middle of each bin."""
        values = np.empty((len(index), len(self._heads)), dtype=np.int64)
        for h, head in enumerate(self._heads):
            sizes = [self._sizes[i] for i in head]
            values[:, h] = np.ravel_multi_index([index[:, i] for i in head], sizes)
        actions = self.learner.policy.actions(values)
        self.learner.learn(actions, np.ones((len(index), 1)), reward(standing))

    def state(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "learner": self.learner.state(),
            "rngs": [rng.bit_generator.state for rng in self._rngs],
            "actions": self._actions.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.learner.restore(state["learner"])
        for rng, given in zip(self._rngs, state["rngs"], strict=True):
            rng.bit_generator.state = given
        self._actions = np.array(state["actions"]).reshape(-1, len(self._heads))


class TimeDivision:
    """One agent sets one parameter after another; each step is a design that is measured.

    It sees which parameter is next and the present settings. Some walkers step side by side, as
    many as ``batch`` holds passes over all parameters; after a pass it learns from all its steps.
    An action beyond the values of the parameter is its last. The original also shows the agent
    the last metrics; a searcher knows losses only.
    """

    def __init__(
        self, sizes: Sequence[int], *, batch: int, seed: int, clip: float, entropy: float,
        **options: Any,
    ) -> None:  # fmt: skip
        self._sizes = np.array(sizes)
        n = len(sizes)
        self._rng = np.random.default_rng([seed, 0])
        surrogate = Surrogate(agents=np.zeros(1, dtype=np.int64), clip=clip, entropy=entropy)
        self.learner = PolicyGradient(
            Network([int(max(sizes))], self._rng, inputs=2 * n),
            surrogate,
            value=Mlp(2 * n, (32, 32, 32), 1, self._rng),
            **options,
        )
        self._settings = self._rng.integers(self._sizes, size=(max(1, batch // n), n))
        self._place = 0
        self._steps: list[tuple[Floats, Floats, Floats]] = []  # actions, context, standing
        self._drawn: tuple[Floats, Floats] = (np.empty((0, 1)), np.empty((0, 2 * n)))

    def draw(self) -> Whole:
        """Return the settings of all walkers after one step."""
        walkers, n = self._settings.shape
        place = np.tile(np.eye(n)[self._place], (walkers, 1))
        relative = self._settings / np.maximum(self._sizes - 1, 1)
        context = np.hstack([place, relative])
        policy = self.learner.policy
        actions = policy.sample(self._rng.random((walkers, 1)), context)
        chosen = policy.values(actions)[:, 0]
        self._settings[:, self._place] = np.minimum(chosen, self._sizes[self._place] - 1)
        self._drawn = (actions, context)
        return self._settings.copy()

    def learn(self, standing: Floats, reward: Callable[[Floats], Floats]) -> None:
        """Keep a step; learn after the last of a pass."""
        self._steps.append((*self._drawn, standing))
        self._place = (self._place + 1) % len(self._sizes)
        self._learn_pass(reward)

    def imitate(self, index: Whole, standing: Floats, reward: Callable[[Floats], Floats]) -> None:
        """Begin the walkers at the best designs."""
        del reward
        best = np.lexsort((standing[:, 1], standing[:, 0]))[: len(self._settings)]
        self._settings[: len(best)] = index[best]

    def _learn_pass(self, reward: Callable[[Floats], Floats]) -> None:
        if self._place == 0:
            actions, context, stood = (np.concatenate(p) for p in zip(*self._steps, strict=True))
            self._steps = []
            self.learner.learn(actions, context, reward(stood))

    def state(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "learner": self.learner.state(),
            "rng": self._rng.bit_generator.state,
            "settings": self._settings.tolist(),
            "place": self._place,
            "steps": [[array.tolist() for array in step] for step in self._steps],
            "drawn": [array.tolist() for array in self._drawn],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        width = 2 * len(self._sizes)
        self.learner.restore(state["learner"])
        self._rng.bit_generator.state = state["rng"]
        self._settings = np.array(state["settings"])
        self._place = state["place"]
        self._steps = [(np.array(a), np.array(b), np.array(c)) for a, b, c in state["steps"]]
        actions, context = state["drawn"]
        self._drawn = (
            np.array(actions).reshape(-1, 1),
            np.array(context).reshape(-1, width),
        )


def value_points(who: str, space: Any) -> list[Floats]:
    """Return where the values of each parameter lie in the unit cube, shape (values, width) each.

    Raises:
        SpecificationError: the space has no named parameters, or one with too many values.
    """
    if not isinstance(space, ParameterSpace):
        raise SpecificationError(
            f"{who} needs a space of named parameters, found {space!r}; use "
            "regularized_evolution or local"
        )
    for name, item in space.parameters.items():
        if item.size > _MOST_VALUES:
            raise SpecificationError(
                f"{who}: {name} has {number_of_values(item):,.0f} values, expected at most "
                f"{_MOST_VALUES:,}; give a list, or use ppo or cmaes"
            )
    return [item.to_unit(item.enumerate()) for item in space.parameters.values()]


def partition(
    names: Sequence[str], sizes: Sequence[int], groups: Sequence[Sequence[str]]
) -> list[tuple[int, ...]]:
    """Return the parameters of each head: the groups, and one head for each other parameter.

    >>> partition(["a", "b", "c"], [2, 3, 4], [["a", "c"]])
    [(0, 2), (1,)]

    Raises:
        SpecificationError: a name that is unknown or stands in two groups, or a group of more than
            65,536 combinations.
    """
    place = {name: i for i, name in enumerate(names)}
    heads: list[tuple[int, ...]] = []
    seen: set[str] = set()
    for group in groups:
        for name in group:
            if name not in place:
                raise SpecificationError(f"groups: {unknown('parameter', name, names)}")
            if name in seen:
                raise SpecificationError(f"groups: {name!r} stands in two places")
            seen.add(name)
        heads.append(tuple(place[name] for name in group))
    heads += [(i,) for name, i in place.items() if name not in seen]
    for head in heads:
        if (count := math.prod(sizes[i] for i in head)) > _MOST:
            raise SpecificationError(
                f"groups: {', '.join(names[i] for i in head)}: {count:,} combinations, expected "
                f"at most {_MOST:,}"
            )
    return heads
