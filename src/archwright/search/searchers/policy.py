"""Policies over the values of several parameters: a factor each, with exact gradients.

A policy draws one action a *head*. A head is a parameter, or a group of parameters whose
combinations are its values. Which heads belong to one learner is not the policy's matter: see
:mod:`archwright.search.searchers.policy_gradient`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from archwright.search.searchers.mlp import Mlp

__all__ = ["Autoregressive", "BinnedNormal", "Network", "Networks", "Policy", "Tables"]

Floats = npt.NDArray[np.float64]
_NORMAL_ENTROPY = 0.5 * np.log(2 * np.pi * np.e)


class Policy(Protocol):
    """The contract of a policy.

    Attributes:
        sizes: number of values of each head.
        parameters: arrays that an optimizer changes in place.

    Everywhere ``context`` is what the policy sees, shape (n, inputs); a policy with a constant
    context takes it for the number of rows only. ``actions`` is what was drawn, shape (n, heads).
    """

    sizes: tuple[int, ...]

    @property
    def parameters(self) -> list[Floats]: ...

    def sample(self, uniform: Floats, context: Floats) -> Floats:
        """Return actions from uniform numbers, both of shape (n, heads)."""

    def values(self, actions: Floats) -> npt.NDArray[np.int64]:
        """Return the index of the value that each action stands for, shape (n, heads)."""

    def actions(self, values: npt.NDArray[np.int64]) -> Floats:
        """Return an action that stands for each value, shape (n, heads)."""

    def terms(self, actions: Floats, context: Floats) -> tuple[Floats, Floats]:
        """Return log-probability and entropy of each head, both of shape (n, heads)."""

    def gradient(
        self, actions: Floats, context: Floats, weight: Floats, entropy: float
    ) -> list[Floats]:
        """Return the gradient of the mean over rows of Σ weight · log p + entropy · Σ H.

        Args:
            actions: what was drawn.
            context: what was seen.
            weight: shape (n, heads).
            entropy: weight of the entropy.
        """


class _Categorical(ABC):
    """Base of policies of one categorical a head; a subclass has its logits and their slope.

    Inside, heads of all sizes stand side by side, shape (n, heads, largest size), padded with
    values that are never drawn; one row serves all where the context is constant.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self._real = np.arange(max(sizes)) < np.array(sizes)[:, None]

    def sample(self, uniform: Floats, context: Floats) -> Floats:
        """Return the indices at which the cumulated probabilities exceed the uniform numbers."""
        logits, _ = self._logits(np.zeros_like(uniform), context)
        return self._drawn(self._logs(logits), uniform)

    def values(self, actions: Floats) -> npt.NDArray[np.int64]:
        """Return the actions as whole numbers."""
        return actions.astype(np.int64)

    def actions(self, values: npt.NDArray[np.int64]) -> Floats:
        """Return the values as actions."""
        return values.astype(np.float64)

    def probabilities(self, context: Floats) -> list[Floats]:
        """Return the probabilities of each head, shape (n, size); at the first values before."""
        logits, _ = self._logits(np.zeros((len(context), len(self.sizes))), context)
        padded = np.exp(self._logs(logits))
        return [padded[:, h, :size] for h, size in enumerate(self.sizes)]

    def terms(self, actions: Floats, context: Floats) -> tuple[Floats, Floats]:
        """Return log-probability and entropy of each head."""
        logits, _ = self._logits(actions, context)
        logs = self._logs(logits)
        rows = np.arange(len(actions))[:, None] % len(logs)
        log = logs[rows, np.arange(len(self.sizes)), actions.astype(np.int64)]
        entropy = -self._mean_log(np.exp(logs), logs)
        return log, np.broadcast_to(entropy, actions.shape)

    def gradient(
        self, actions: Floats, context: Floats, weight: Floats, entropy: float
    ) -> list[Floats]:
        """Return the gradient; that of log p by the logits is the one-hot action less p."""
        logits, kept = self._logits(actions, context)
        logs = self._logs(logits)
        p = np.exp(logs)
        slope = -weight[:, :, None] * p
        rows, heads = np.arange(len(actions))[:, None], np.arange(len(self.sizes))
        slope[rows, heads, actions.astype(np.int64)] += weight
        if entropy:
            finite = np.where(self._real, logs, 0.0)
            slope -= entropy * p * (finite - self._mean_log(p, logs)[:, :, None])
        return self._backward(slope[:, self._real] / len(actions), actions, kept)

    @abstractmethod
    def _logits(self, actions: Floats, context: Floats) -> tuple[Floats, Any]:
        """Return the logits of all heads in a row, shape (n or 1, Σ sizes), and what is kept."""

    @abstractmethod
    def _backward(self, slope: Floats, actions: Floats, kept: Any) -> list[Floats]:
        """Return the gradient by the parameters from that by the logits, shape (n, Σ sizes)."""

    def _logs(self, logits: Floats) -> Floats:
        padded = np.full((len(logits), *self._real.shape), -np.inf)
        padded[:, self._real] = logits
        padded -= padded.max(axis=2, keepdims=True)
        return np.asarray(padded - np.log(np.exp(padded).sum(axis=2, keepdims=True)))

    def _mean_log(self, p: Floats, logs: Floats) -> Floats:
        return np.asarray((p * np.where(self._real, logs, 0.0)).sum(axis=2))

    def _drawn(self, logs: Floats, uniform: Floats) -> Floats:
        index = (uniform[:, :, None] >= np.cumsum(np.exp(logs), axis=2)).sum(axis=2)
        # the cumulated probabilities may end a little below 1
        return np.asarray(np.minimum(index, np.array(self.sizes) - 1), dtype=np.float64)


class Tables(_Categorical):
    """A table of logits a head, for a constant context; uniform at first.

    >>> policy = Tables([2, 3])
    >>> policy.sample(np.array([[0.4, 0.9]]), np.zeros((1, 0)))
    array([[0., 2.]])
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__(sizes)
        self.parameters = [np.zeros(sum(sizes))]

    def _logits(self, actions: Floats, context: Floats) -> tuple[Floats, Any]:
        return self.parameters[0][None, :], None

    def _backward(self, slope: Floats, actions: Floats, kept: Any) -> list[Floats]:
        return [slope.sum(axis=0)]


class Network(_Categorical):
    """One network with an output layer a head: the heads share its hidden layers."""

    def __init__(
        self,
        sizes: Sequence[int],
        rng: np.random.Generator,
        *,
        inputs: int = 1,
        hidden: Sequence[int] = (32, 32, 32),
    ) -> None:
        super().__init__(sizes)
        self._net = Mlp(inputs, hidden, sum(sizes), rng)

    @property
    def parameters(self) -> list[Floats]:
        """Weights and biases of the network."""
        return self._net.parameters

    def _logits(self, actions: Floats, context: Floats) -> tuple[Floats, Any]:
        return self._net.forward(context)

    def _backward(self, slope: Floats, actions: Floats, kept: Any) -> list[Floats]:
        return self._net.backward(slope, kept)


class Networks(_Categorical):
    """A network a head: nothing is shared.

    Args:
        sizes: number of values of each head.
        rngs: a generator a head, which draws its weights.
        inputs: width of the context.
        hidden: width of each hidden layer.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        rngs: Sequence[np.random.Generator],
        *,
        inputs: int = 1,
        hidden: Sequence[int] = (32, 32, 32),
    ) -> None:
        super().__init__(sizes)
        self._nets = [Mlp(inputs, hidden, k, rng) for k, rng in zip(sizes, rngs, strict=True)]
        self._edges = np.cumsum(sizes)[:-1]

    @property
    def parameters(self) -> list[Floats]:
        """Weights and biases, network by network."""
        return [array for net in self._nets for array in net.parameters]

    def _logits(self, actions: Floats, context: Floats) -> tuple[Floats, Any]:
        passed = [net.forward(context) for net in self._nets]
        return np.hstack([outputs for outputs, _ in passed]), [kept for _, kept in passed]

    def _backward(self, slope: Floats, actions: Floats, kept: Any) -> list[Floats]:
        parts = zip(self._nets, np.split(slope, self._edges, axis=1), kept, strict=True)
        return [array for net, part, seen in parts for array in net.backward(part, seen)]


class Autoregressive(_Categorical):
    """Heads that see the values drawn before them: logits are a bias and a row a value seen.

    The probabilities of head h given the values before it are softmax(b + Σ W[g][value of g]),
    g < h. It is the least policy that can express how two parameters interact.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__(sizes)
        starts = np.cumsum([0, *sizes])
        self._edges = starts[1:-1]
        # of head h: row 0 is the bias, then a row a value of each head before it
        self.parameters = [np.zeros((1 + int(starts[h]), size)) for h, size in enumerate(sizes)]
        self._rows = [1 + starts[:h] for h in range(len(sizes))]

    def sample(self, uniform: Floats, context: Floats) -> Floats:
        """Draw head after head."""
        actions = np.zeros_like(uniform)
        for h in range(len(self.sizes)):
            logits, _ = self._logits(actions, context)
            actions[:, h] = self._drawn(self._logs(logits), uniform)[:, h]
        return actions

    def _logits(self, actions: Floats, context: Floats) -> tuple[Floats, Any]:
        index = actions.astype(np.int64)
        heads = [
            weights[0] + weights[self._rows[h] + index[:, :h]].sum(axis=1)
            for h, weights in enumerate(self.parameters)
        ]
        return np.hstack(heads), index

    def _backward(self, slope: Floats, actions: Floats, kept: Any) -> list[Floats]:
        found: list[Floats] = []
        for h, part in enumerate(np.split(slope, self._edges, axis=1)):
            gradient = np.zeros_like(self.parameters[h])
            gradient[0] = part.sum(axis=0)
            for row, index in zip(self._rows[h], kept[:, :h].T, strict=True):
                np.add.at(gradient, row + index, part)
            found.append(gradient)
        return found


class BinnedNormal:
    """A normal a head over [-1, 1], cut into bins of equal width: the usual single agent.

    Args:
        sizes: number of values of each head.
        rounding: round an action to a whole number before it is binned, as ArchGym's mapper
            does; then only three values of a head can be reached.

    >>> corrected, original = BinnedNormal([8]), BinnedNormal([8], rounding=True)
    >>> every = np.linspace(-1, 1, 99)[:, None]
    >>> len(np.unique(corrected.values(every))), len(np.unique(original.values(every)))
    (8, 3)
    """

    def __init__(self, sizes: Sequence[int], *, rounding: bool = False) -> None:
        self.sizes = tuple(sizes)
        self.rounding = rounding
        self.parameters = [np.zeros(len(self.sizes)), np.zeros(len(self.sizes))]

    def sample(self, uniform: Floats, context: Floats) -> Floats:
        """Return mean + deviation · normal."""
        from scipy.special import ndtri

        mean, log_deviation = self.parameters
        tiny = np.finfo(np.float64).tiny
        return np.asarray(mean + np.exp(log_deviation) * ndtri(np.maximum(uniform, tiny)))

    def values(self, actions: Floats) -> npt.NDArray[np.int64]:
        """Return the bin of each action; beyond [-1, 1] the outermost."""
        inside = np.clip(actions, -1.0, 1.0)
        if self.rounding:
            inside = np.round(inside)
        counts = np.array(self.sizes)
        bins: npt.NDArray[np.int64] = np.minimum((inside + 1.0) / 2 * counts, counts - 1).astype(
            np.int64
        )
        return bins

    def actions(self, values: npt.NDArray[np.int64]) -> Floats:
        """Return the middle of each value's bin."""
        return np.asarray((values + 0.5) / np.array(self.sizes) * 2.0 - 1.0)

    def terms(self, actions: Floats, context: Floats) -> tuple[Floats, Floats]:
        """Return log-density and entropy of each head."""
        mean, log_deviation = self.parameters
        z = (actions - mean) * np.exp(-log_deviation)
        log = -0.5 * z**2 - log_deviation - 0.5 * np.log(2 * np.pi)
        return log, np.broadcast_to(log_deviation + _NORMAL_ENTROPY, actions.shape)

    def gradient(
        self, actions: Floats, context: Floats, weight: Floats, entropy: float
    ) -> list[Floats]:
        """Return the gradient by mean and logarithm of the deviation."""
        mean, log_deviation = self.parameters
        z = (actions - mean) * np.exp(-log_deviation)
        by_mean = (weight * z * np.exp(-log_deviation)).mean(axis=0)
        return [by_mean, (weight * (z**2 - 1.0)).mean(axis=0) + entropy]
