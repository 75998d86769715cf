"""Densities of good and of other designs, over some coordinates of the unit cube together."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, ndtr

__all__ = ["Good", "Others"]

_UNIFORM = 0.05  # share of the uniform density among good designs
_OWN = 0.5  # share of each coordinate's own variance; the rest has the correlations of all
_NARROWEST = 0.03  # least bandwidth among the other designs
_WIDE = 64  # numbers beyond which correlations are not estimated
Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


class Good:
    """A mixture of kernels on good designs; the kernels have the designs' own covariance.

    >>> numbers, values = np.array([[0.2], [0.3]]), np.empty((2, 0), dtype=np.intp)
    >>> good = Good(numbers, values, [], weights=np.array([0.6, 0.4]), floor=np.array([0.05]))
    >>> drawn, _ = good.draw(np.random.default_rng(0), 200)
    >>> bool(0.15 < np.median(drawn) < 0.35)
    True

    Args:
        numbers: coordinates that are numbers, shape (n, d).
        values: index of the value of each choice, shape (n, c).
        counts: number of values of each choice.
        weights: of the designs, adding up to one.
        floor: least deviation of each number.

    Source: Falkner, Klein, Hutter: BOHB, ICML 2018 (one kernel over all parameters); Watanabe:
    Tree-Structured Parzen Estimator, arXiv 2304.11127 (its parts and what they do).
    """

    def __init__(
        self,
        numbers: Floats,
        values: Index,
        counts: list[int],
        *,
        weights: Floats,
        floor: Floats,
    ) -> None:
        n, d = numbers.shape
        self._numbers, self._values, self._counts = numbers, values, counts
        self._weights = weights / weights.sum()
        self._loose = 1.0 / (1.0 + n / 2)  # chance of a choice to take any value
        if not d:
            return
        centered = numbers - self._weights @ numbers
        covariance = (centered.T * self._weights) @ centered
        own = np.diag(covariance)
        mixed = 1.0 if d > _WIDE else _OWN
        covariance = (1 - mixed) * covariance + mixed * np.diag(own)
        effective = 1.0 / float((self._weights**2).sum())
        covariance *= effective ** (-2.0 / (d + 4))  # Scott's rule
        self._root = np.linalg.cholesky(covariance + np.diag(floor**2))
        self._norm = float(np.log(np.diag(self._root)).sum()) + d / 2 * math.log(2 * math.pi)
        self._inverse = np.linalg.inv(self._root)

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Floats, Index]:
        """Return n points: numbers and the index of each choice's value."""
        d, c = self._numbers.shape[1], len(self._counts)
        at = rng.choice(len(self._weights), size=n, p=self._weights)
        uniform = rng.random(n) < _UNIFORM
        numbers = self._numbers[at].copy()
        if d:
            numbers = np.clip(numbers + rng.standard_normal((n, d)) @ self._root.T, 0.0, 1.0)
            numbers[uniform] = rng.random((int(uniform.sum()), d))
        loose = (rng.random((n, c)) < self._loose) | uniform[:, None]
        other = np.floor(rng.random((n, c)) * np.array(self._counts)).astype(np.intp)
        return numbers, np.where(loose, other.reshape(n, c), self._values[at])

    def log_density(self, numbers: Floats, values: Index) -> Floats:
        """Return the logarithm of the density at points."""
        each = np.tile(np.log(self._weights), (len(numbers), 1))
        if numbers.shape[1]:
            a, b = numbers @ self._inverse.T, self._numbers @ self._inverse.T
            each += -0.5 * _squares(a, b) - self._norm
        each += _choices(values, self._values, self._counts, self._loose)
        found = logsumexp(each, axis=1) + math.log(1 - _UNIFORM)
        flat = math.log(_UNIFORM) - float(np.log(np.array(self._counts, dtype=float)).sum())
        return np.asarray(np.logaddexp(found, flat))


class Others:
    """A mixture of kernels on all other designs, and one uniform part of a design's weight.

    Args:
        numbers: coordinates that are numbers, shape (n, d).
        values: index of the value of each choice, shape (n, c).
        counts: number of values of each choice.
    """

    def __init__(self, numbers: Floats, values: Index, counts: list[int]) -> None:
        n, d = numbers.shape
        self._numbers, self._values, self._counts = numbers, values, counts
        self._loose = max(0.02, 1.0 / (1.0 + n / 2))
        if not d or not n:
            return
        deviation = numbers.std(axis=0)
        low, high = np.percentile(numbers, [25, 75], axis=0)
        quartile = (high - low) / 1.34
        spread = np.where(quartile > 0, np.minimum(deviation, quartile), deviation)
        width = np.clip(1.06 * spread * n ** (-1.0 / (d + 4)), _NARROWEST, 1.0)
        inside = ndtr((1.0 - numbers) / width) - ndtr(-numbers / width)
        self._width = width
        self._norm = np.log(inside).sum(axis=1) + float(np.log(width).sum())
        self._norm += d / 2 * math.log(2 * math.pi)

    def log_density(self, numbers: Floats, values: Index) -> Floats:
        """Return the logarithm of the density at points."""
        n = len(self._numbers)
        flat = -float(np.log(np.array(self._counts, dtype=float)).sum())
        if not n:
            return np.full(len(numbers), flat)
        each = np.zeros((len(numbers), n))
        if numbers.shape[1]:
            each -= 0.5 * _squares(numbers / self._width, self._numbers / self._width)
            each -= self._norm
        each += _choices(values, self._values, self._counts, self._loose)
        share = math.log(n + 1)
        return np.asarray(np.logaddexp(logsumexp(each, axis=1) - share, flat - share))


def _squares(a: Floats, b: Floats) -> Floats:
    """Return the squared distance of each row of a to each of b."""
    found = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.asarray(np.maximum(found, 0.0))


def _choices(points: Index, kernels: Index, counts: list[int], loose: float) -> Floats:
    """Return the logarithm of the kernels' chances of each point's values."""
    found = np.zeros((len(points), len(kernels)))
    for column, count in enumerate(counts):
        same = points[:, column, None] == kernels[:, column]
        apart = loose / count
        found += np.where(same, math.log(1 - loose + apart), math.log(apart))
    return found
