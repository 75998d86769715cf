"""Proximal policy optimization of one or several learners that share a reward, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.searchers.mlp import Mlp
from archwright.search.searchers.policy import Policy

__all__ = ["Adam", "PolicyGradient", "Surrogate"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """The objective of an update: Σ over learners of min(ρA, clip(ρ)A), plus the entropy.

    With one epoch ρ is 1, and its gradient is that of REINFORCE with a baseline.

    Args:
        agents: which learner each head belongs to, shape (heads,); a learner's ratio ρ is that
            of the product of its heads.
        clip: range of ρ; infinite clips nothing.
        entropy: weight of the entropy, a mean over rows of the sum over heads.

    Source: Schulman et al.: Proximal Policy Optimization Algorithms, 2017.
    """

    agents: npt.NDArray[np.int64]
    clip: float
    entropy: float

    def joint(self, logs: Floats) -> Floats:
        """Return the log-probability of each learner's action, shape (n, learners)."""
        found = np.zeros((len(logs), int(self.agents.max()) + 1))
        np.add.at(found.T, self.agents, logs.T)
        return found

    def value(
        self, policy: Policy, actions: Floats, context: Floats, advantage: Floats, old: Floats
    ) -> float:
        """Return the objective.

        Args:
            policy: what drew the actions, changed since or not.
            actions: shape (n, heads).
            context: shape (n, inputs).
            advantage: shape (n,).
            old: what :meth:`joint` was when the actions were drawn.
        """
        logs, entropy = policy.terms(actions, context)
        ratio = np.exp(self.joint(logs) - old)
        least = np.minimum(
            ratio * advantage[:, None],
            np.clip(ratio, 1 - self.clip, 1 + self.clip) * advantage[:, None],
        )
        return float((least.sum(axis=1) + self.entropy * entropy.sum(axis=1)).mean())

    def gradient(
        self, policy: Policy, actions: Floats, context: Floats, advantage: Floats, old: Floats
    ) -> list[Floats]:
        """Return the gradient of :meth:`value` by the parameters of the policy."""
        logs, _ = policy.terms(actions, context)
        ratio = np.exp(self.joint(logs) - old)
        up = advantage[:, None] >= 0
        clipped = np.where(up, ratio > 1 + self.clip, ratio < 1 - self.clip)
        slope = np.where(clipped, 0.0, ratio * advantage[:, None])
        return policy.gradient(actions, context, slope[:, self.agents], self.entropy)


class Adam:
    """Adam (Kingma and Ba 2015), ascending."""

    def __init__(self, parameters: Sequence[Floats], learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self._steps = 0
        self._mean = [np.zeros_like(array) for array in parameters]
        self._square = [np.zeros_like(array) for array in parameters]

    def ascend(self, parameters: Sequence[Floats], gradients: Sequence[Floats]) -> None:
        """Change parameters in place along their gradients."""
        self._steps += 1
        first, second = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        moments = zip(parameters, gradients, self._mean, self._square, strict=True)
        for array, gradient, mean, square in moments:
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            array += self.learning_rate * (mean / first) / (np.sqrt(square / second) + 1e-8)

    def state(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "steps": self._steps,
            "mean": [array.tolist() for array in self._mean],
            "square": [array.tolist() for array in self._square],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self._steps = state["steps"]
        for arrays, given in ((self._mean, state["mean"]), (self._square, state["square"])):
            for array, values in zip(arrays, given, strict=True):
                array[...] = values


class PolicyGradient:
    """A policy, the learners of its heads, and how they learn from a batch.

    The advantage is normalized in the batch. With a constant context every baseline is the same
    number for all rows and cancels there, so none is kept. A policy that sees a context that
    changes has a value network as its baseline.

    Args:
        policy: what is learned.
        surrogate: the objective.
        learning_rate: of Adam.
        epochs: updates from one batch.
        value: the baseline of a changing context.
    """

    def __init__(
        self,
        policy: Policy,
        surrogate: Surrogate,
        *,
        learning_rate: float,
        epochs: int,
        value: Mlp | None = None,
    ) -> None:
        self.policy = policy
        self.surrogate = surrogate
        self.epochs = epochs
        self.value = value
        self._adam = Adam(policy.parameters, learning_rate)
        self._value_adam = None if value is None else Adam(value.parameters, learning_rate)

    def learn(self, actions: Floats, context: Floats, reward: Floats) -> None:
        """Learn from a batch: actions (n, heads), context (n, inputs), reward (n,)."""
        policy, surrogate = self.policy, self.surrogate
        gain = reward
        if self.value is not None:
            gain = reward - self.value.forward(context)[0][:, 0]
        spread = gain.std()
        advantage = (gain - gain.mean()) / (spread if spread > 1e-12 else 1.0)
        old = surrogate.joint(policy.terms(actions, context)[0])
        for _ in range(self.epochs):
            gradients = surrogate.gradient(policy, actions, context, advantage, old)
            self._adam.ascend(policy.parameters, gradients)
            if self.value is not None and self._value_adam is not None:
                slopes = value_gradient(self.value, context, reward)
                self._value_adam.ascend(self.value.parameters, slopes)

    def state(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "policy": [array.tolist() for array in self.policy.parameters],
            "adam": self._adam.state(),
            "value": None
            if self.value is None or self._value_adam is None
            else {
                "net": [array.tolist() for array in self.value.parameters],
                "adam": self._value_adam.state(),
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        for array, values in zip(self.policy.parameters, state["policy"], strict=True):
            array[...] = values
        self._adam.restore(state["adam"])
        if self.value is not None and self._value_adam is not None:
            for array, values in zip(self.value.parameters, state["value"]["net"], strict=True):
                array[...] = values
            self._value_adam.restore(state["value"]["adam"])


def value_gradient(value: Mlp, context: Floats, reward: Floats) -> list[Floats]:
    """Return the gradient of the mean of -0.5 (V - r)² by the parameters of V."""
    output, kept = value.forward(context)
    return value.backward((reward[:, None] - output) / len(reward), kept)
