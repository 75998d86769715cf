"""A small network with its exact gradient: layers of tanh and a linear output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["Mlp"]

Floats = npt.NDArray[np.float64]


class Mlp:
    """Layers of tanh and a linear output, in numpy.

    The output layer begins at a hundredth of the scale of the others, so that a policy begins
    close to uniform.

    >>> net = Mlp(2, (8, 8), 3, np.random.default_rng(0))
    >>> output, kept = net.forward(np.ones((5, 2)))
    >>> output.shape, [g.shape for g in net.backward(np.ones((5, 3)), kept)][:2]
    ((5, 3), [(2, 8), (8,)])

    Args:
        inputs: width of the input.
        hidden: width of each hidden layer.
        outputs: width of the output.
        rng: draws the weights (Glorot).

    Attributes:
        parameters: weight and bias of each layer, in order; changed in place by an optimizer.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, rng: np.random.Generator
    ) -> None:
        widths = [inputs, *hidden, outputs]
        self.parameters: list[Floats] = []
        for layer, (a, b) in enumerate(pairwise(widths)):
            scale = np.sqrt(2.0 / (a + b)) * (0.01 if layer == len(hidden) else 1.0)
            self.parameters += [scale * rng.standard_normal((a, b)), np.zeros(b)]

    def forward(self, inputs: Floats) -> tuple[Floats, list[Floats]]:
        """Return the outputs, shape (n, outputs), and what the gradient needs."""
        kept = [inputs]
        last = len(self.parameters) - 2
        for at in range(0, last, 2):
            kept.append(np.tanh(kept[-1] @ self.parameters[at] + self.parameters[at + 1]))
        return kept[-1] @ self.parameters[last] + self.parameters[last + 1], kept

    def backward(self, slope: Floats, kept: list[Floats]) -> list[Floats]:
        """Return the gradient of each parameter from that of the outputs."""
        gradients: list[Floats] = []
        for at in range(len(self.parameters) - 2, -1, -2):
            inputs = kept[at // 2]
            gradients += [slope.sum(axis=0), inputs.T @ slope]
            if at:
                slope = slope @ self.parameters[at].T * (1.0 - inputs**2)
        return gradients[::-1]
