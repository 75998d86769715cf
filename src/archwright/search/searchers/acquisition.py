"""What asking a design is worth, under models of losses and limits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, log_ndtr, ndtr

from archwright.search.searchers.regression import Regression

__all__ = ["HypervolumeImprovement", "Improvement", "boxes", "log_improvement"]

Floats = npt.NDArray[np.float64]
_LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)


def log_improvement(z: Floats) -> Floats:
    """Return log(φ(z) + z Φ(z)), also where that is far too small for a float.

    >>> log_improvement(np.array([0.0, -40.0])).round(3).tolist()
    [-0.919, -808.299]

    Source: Ament et al.: Unexpected Improvements to Expected Improvement, NeurIPS 2023.
    """
    z = np.asarray(z, dtype=np.float64)
    log_phi = -0.5 * z**2 - _LOG_ROOT_2PI
    high = z > -1.0
    found = np.empty_like(z)
    safe = np.where(high, z, 0.0)
    found[high] = np.log(np.exp(-0.5 * safe**2 - _LOG_ROOT_2PI) + safe * ndtr(safe))[high]
    low = ~high
    if low.any():
        x = -z[low]
        # φ(z) + z Φ(z) = φ(z) (1 - x R(x)), R the Mills ratio; for large x that is 1 / x²
        rest = 1.0 - x * math.sqrt(math.pi / 2.0) * erfcx(x / math.sqrt(2.0))
        series = 1.0 / x**2 - 3.0 / x**4 + 15.0 / x**6
        found[low] = log_phi[low] + np.log(np.where(x > 50.0, series, np.maximum(rest, 1e-300)))
    return found


class Improvement:
    """The logarithm of the expected improvement on one loss, where the limits likely hold.

    Args:
        loss: model of the loss; None where no feasible loss is known, then only limits count.
        limits: models of the limits, below 0 where they hold.
        best: the loss to improve on.
    """

    def __init__(self, loss: Regression | None, limits: Sequence[Regression], best: float) -> None:
        self._loss, self._limits, self._best = loss, limits, best

    def __call__(self, points: Floats) -> Floats:
        """Return the value of each point."""
        value = np.zeros(len(points))
        if self._loss is not None:
            mean, deviation = self._loss.predict(points)
            value += np.log(deviation) + log_improvement((self._best - mean) / deviation)
        return value + _log_chance(self._limits, points)

    def with_gradient(self, point: Floats) -> tuple[float, Floats]:
        """Return the value of one point and its gradient."""
        value, slope = 0.0, np.zeros(len(point))
        if self._loss is not None:
            mean, deviation, by_mean, by_deviation = self._loss.gradient(point)
            z = (self._best - mean) / deviation
            logarithm = float(log_improvement(np.array([z]))[0])
            value += math.log(deviation) + logarithm
            # derivatives of σ h(z): -Φ(z) by the mean, φ(z) by the deviation
            down = math.exp(min(float(log_ndtr(z)) - logarithm, 700.0)) / deviation
            up = math.exp(min(-0.5 * z * z - _LOG_ROOT_2PI - logarithm, 700.0)) / deviation
            slope += up * by_deviation - down * by_mean
        for limit in self._limits:
            mean, deviation, by_mean, by_deviation = limit.gradient(point)
            z = -mean / deviation
            chance = float(log_ndtr(z))
            value += chance
            ratio = math.exp(min(-0.5 * z * z - _LOG_ROOT_2PI - chance, 700.0))
            slope += ratio * (-by_mean / deviation + mean / deviation**2 * by_deviation)
        return value, slope

    def believe(self, points: Floats) -> None:
        """Account for designs in flight."""
        for model in (*([] if self._loss is None else [self._loss]), *self._limits):
            model.believe(points)


class HypervolumeImprovement:
    """The logarithm of the expected hypervolume improvement of two or three losses.

    Exact for independent losses: the room that no design dominates is cut into boxes, in each of
    which the expectation is a product.

    Args:
        losses: a model of each loss.
        limits: models of the limits, below 0 where they hold.
        front: losses that nothing dominates, shape (n, k).
        reference: corner of the room.

    Source: Emmerich, Giannakoglou, Naujoks: Single- and Multiobjective Evolutionary Optimization
    Assisted by Gaussian Random Field Metamodels, IEEE TEC 2006.
    """

    def __init__(
        self,
        losses: Sequence[Regression],
        limits: Sequence[Regression],
        front: Floats,
        reference: Floats,
    ) -> None:
        self._losses, self._limits = losses, limits
        self._low, self._high = boxes(front, reference)

    def __call__(self, points: Floats) -> Floats:
        """Return the value of each point."""
        product = np.ones((len(points), len(self._low)))
        for column, model in enumerate(self._losses):
            mean, deviation = model.predict(points)
            product *= _below(self._high[:, column], mean, deviation) - _below(
                self._low[:, column], mean, deviation
            )
        value: Floats = np.log(np.maximum(product.sum(axis=1), 1e-300))
        return value + _log_chance(self._limits, points)

    def believe(self, points: Floats) -> None:
        """Account for designs in flight."""
        for model in (*self._losses, *self._limits):
            model.believe(points)


def boxes(front: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Return the lower and upper corners of boxes that fill the room no row dominates.

    >>> low, high = boxes(np.array([[1.0, 2.0]]), np.array([3.0, 3.0]))
    >>> low.tolist(), high.tolist()
    ([[-inf, -inf], [1.0, -inf]], [[1.0, 3.0], [3.0, 2.0]])
    """
    inside = front[(front < reference).all(axis=1)]
    edges = np.unique(inside[:, 0])
    starts = np.concatenate([[-np.inf], edges])
    stops = np.concatenate([edges, reference[:1]])
    low, high = [], []
    for start, stop in zip(starts, stops, strict=True):
        here = inside[inside[:, 0] <= start]
        if front.shape[1] == 2:
            top = here[:, 1].min() if len(here) else reference[1]
            low.append([[start, -np.inf]])
            high.append([[stop, top]])
            continue
        under, over = boxes(here[:, 1:], reference[1:])
        low.append(np.column_stack([np.full(len(under), start), under]).tolist())
        high.append(np.column_stack([np.full(len(over), stop), over]).tolist())
    k = front.shape[1]
    return (
        np.array([row for part in low for row in part], dtype=np.float64).reshape(-1, k),
        np.array([row for part in high for row in part], dtype=np.float64).reshape(-1, k),
    )


def _below(edge: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Return the expectation of max(0, edge - y), shape (points, edges)."""
    finite = np.where(np.isfinite(edge), edge, 0.0)
    z = (finite - mean[:, None]) / deviation[:, None]
    phi = np.exp(-0.5 * z**2 - _LOG_ROOT_2PI)
    found = deviation[:, None] * (phi + z * ndtr(z))
    return np.asarray(np.where(np.isfinite(edge), found, 0.0))


def _log_chance(limits: Sequence[Regression], points: Floats) -> Floats:
    """Return the logarithm of the chance that all limits hold."""
    found = np.zeros(len(points))
    for limit in limits:
        mean, deviation = limit.predict(points)
        found += log_ndtr(-mean / deviation)
    return found
