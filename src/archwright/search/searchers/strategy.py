"""The distributions that CMA-ES adapts: a normal one of numbers, one of each choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Categories", "Normal"]

_WIDE = 256  # coordinates beyond which only the deviations are adapted, not the correlations
_TRIES = 8  # draws of a point outside the cube before it is put on the edge
Floats = npt.NDArray[np.float64]


class Normal:
    """A normal distribution over the unit cube, adapted to the order of what was drawn.

    Active CMA-ES with cumulative step-size adaptation. The deviation of a coordinate never falls
    below its floor, so that what has few values keeps moving.

    >>> normal = Normal(np.full(2, 0.5), 0.2, 6, np.zeros(2))
    >>> rng = np.random.default_rng(0)
    >>> for _ in range(60):
    ...     points = normal.draw(rng)
    ...     normal.adapt(points[((points - 0.3) ** 2).sum(axis=1).argsort()])
    >>> bool(np.abs(normal.mean - 0.3).max() < 1e-3)
    True

    Args:
        mean: where it begins, shape (d,).
        sigma: deviation of every coordinate at the start.
        population: points of a generation.
        floor: least deviation of each coordinate.

    Source: Hansen: The CMA Evolution Strategy: A Tutorial, arXiv 1604.00772, equations and
    default parameters of its appendix; the floor: Hamano et al.: CMA-ES with Margin, GECCO 2022;
    deviations alone: Ros and Hansen, PPSN 2008.
    """

    def __init__(self, mean: Floats, sigma: float, population: int, floor: Floats) -> None:
        d, mu = len(mean), population // 2
        self.mean, self.sigma = mean.astype(np.float64), float(sigma)
        self.population, self._floor, self._diagonal = population, floor, d > _WIDE
        raw = math.log((population + 1) / 2) - np.log(np.arange(1, population + 1))
        good, bad = raw[:mu], raw[mu:]
        mass = float(good.sum() ** 2 / (good**2).sum())
        spoiled = float(bad.sum() ** 2 / (bad**2).sum())
        self._mass = mass
        self._path_rate = (4 + mass / d) / (d + 4 + 2 * mass / d)
        one = 2 / ((d + 1.3) ** 2 + mass)
        rank = 2 * (mass - 2 + 1 / mass + 0.25) / ((d + 2) ** 2 + mass)
        if self._diagonal:
            one, rank = one * (d + 2) / 3, rank * (d + 2) / 3
        self._one = min(one, 0.5)
        self._rank = min(1 - self._one, rank)
        self._step_rate = (mass + 2) / (d + mass + 5)
        self._damping = 1 + 2 * max(0.0, math.sqrt((mass - 1) / (d + 1)) - 1) + self._step_rate
        negative = min(
            1 + self._one / max(self._rank, 1e-12),
            1 + 2 * spoiled / (mass + 2),
            (1 - self._one - self._rank) / (d * max(self._rank, 1e-12)),
        )
        down = float(-raw[raw < 0].sum())
        self._weights = np.where(raw >= 0, raw / good.sum(), max(negative, 0.0) * raw / down)
        self._good = mu
        self._length = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d))
        self._generation = 0
        self._step_path, self._path = np.zeros(d), np.zeros(d)
        self._covariance = np.ones(d) if self._diagonal else np.eye(d)
        self._decompose()

    @property
    def collapsed(self) -> bool:
        """Whether the distribution has become a point, or flat."""
        widest, narrowest = float(self._scale.max()), float(self._scale.min())
        return self.sigma * widest < 1e-10 or widest > 1e7 * narrowest

    def draw(self, rng: np.random.Generator) -> Floats:
        """Return a generation of points, shape (population, d)."""
        points = self._spread(rng.standard_normal((self.population, len(self.mean))))
        for _ in range(_TRIES):
            outside = np.flatnonzero(((points < 0) | (points > 1)).any(axis=1))
            if not len(outside):
                break
            points[outside] = self._spread(rng.standard_normal((len(outside), len(self.mean))))
        return np.clip(points, 0.0, 1.0)

    def whiten(self, points: Floats) -> Floats:
        """Return points in units of the deviation, relative to the mean."""
        moved = (points - self.mean) / self.sigma
        if self._diagonal:
            return np.asarray(moved / self._scale)
        return np.asarray(((moved @ self._axes) / self._scale) @ self._axes.T)

    def color(self, white: Floats) -> Floats:
        """Return the points that ``whiten`` maps to these."""
        if self._diagonal:
            return np.asarray(self.mean + self.sigma * white * self._scale)
        return np.asarray(
            self.mean + self.sigma * ((white @ self._axes) * self._scale) @ self._axes.T
        )

    def adapt(self, points: Floats) -> None:
        """Learn from a generation, best first."""
        d = len(self.mean)
        step = (points - self.mean) / self.sigma
        white = self.whiten(points)
        length = np.sqrt((white**2).sum(axis=1))
        # a point that was not drawn from here may lie far off: it counts as one at the edge
        most = math.sqrt(d) + 2 * d / (d + 2)
        short = np.minimum(1.0, most / np.maximum(length, 1e-12))[:, None]
        step, white, length = step * short, white * short, length * short[:, 0]
        weights = self._weights
        moved = weights[: self._good] @ step[: self._good]
        self.mean = np.clip(self.mean + self.sigma * moved, 0.0, 1.0)
        self._generation += 1
        rate = self._step_rate
        self._step_path = (1 - rate) * self._step_path + math.sqrt(
            rate * (2 - rate) * self._mass
        ) * (weights[: self._good] @ white[: self._good])
        far = float(np.sqrt((self._step_path**2).sum()))
        usual = far / math.sqrt(1 - (1 - rate) ** (2 * self._generation))
        steady = 1.0 if usual < (1.4 + 2 / (d + 1)) * self._length else 0.0
        rate = self._path_rate
        self._path = (1 - rate) * self._path + steady * math.sqrt(
            rate * (2 - rate) * self._mass
        ) * moved
        fair = np.where(weights >= 0, weights, weights * d / np.maximum(length**2, 1e-12))
        kept = 1 - self._one - self._rank * weights.sum()
        kept += self._one * (1 - steady) * self._path_rate * (2 - self._path_rate)
        if self._diagonal:
            update = self._one * self._path**2 + self._rank * (fair @ step**2)
        else:
            update = self._one * np.outer(self._path, self._path)
            update += self._rank * (step.T * fair) @ step
        self._covariance = kept * self._covariance + update
        exponent = self._step_rate / self._damping * (far / self._length - 1)
        self.sigma *= math.exp(min(1.0, exponent))
        self._limit()
        self._decompose()

    def _spread(self, drawn: Floats) -> Floats:
        if self._diagonal:
            return np.asarray(self.mean + self.sigma * drawn * self._scale)
        return np.asarray(self.mean + self.sigma * (drawn * self._scale) @ self._axes.T)

    def _limit(self) -> None:
        """Keep deviations between their floor and the width of the cube."""
        own = self._covariance if self._diagonal else np.diag(self._covariance)
        deviation = self.sigma * np.sqrt(np.maximum(own, 1e-300))
        self.sigma /= max(1.0, float(deviation.max()))
        factor = np.maximum(1.0, self._floor / np.maximum(deviation, 1e-300))
        if (factor > 1.0).any():
            if self._diagonal:
                self._covariance = self._covariance * factor**2
            else:
                self._covariance = self._covariance * factor * factor[:, None]

    def _decompose(self) -> None:
        if self._diagonal:
            self._scale = np.sqrt(np.maximum(self._covariance, 1e-20))
            return
        values, self._axes = np.linalg.eigh((self._covariance + self._covariance.T) / 2)
        self._scale = np.sqrt(np.maximum(values, 1e-20))

    def state(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "mean": self.mean.tolist(),
            "sigma": self.sigma,
            "generation": self._generation,
            "paths": [self._step_path.tolist(), self._path.tolist()],
            "covariance": self._covariance.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.mean, self.sigma = np.array(state["mean"]), state["sigma"]
        self._generation = state["generation"]
        self._step_path, self._path = (np.array(path) for path in state["paths"])
        self._covariance = np.array(state["covariance"])
        self._decompose()


class Categories:
    """A distribution over the values of each of some choices, adapted to the best of what it drew.

    No value's probability falls below a floor, so that each keeps being drawn.

    >>> categories = Categories([2, 3])
    >>> categories.adapt(np.array([[0, 2], [0, 1]]), np.array([0.7, 0.3]), rate=0.5)
    >>> categories.probabilities[0].tolist()
    [0.75, 0.25]

    Args:
        counts: number of values of each choice.

    Source: the natural gradient of a categorical distribution, and its floor: Hamano et al.:
    CatCMA, GECCO 2024.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self.probabilities: list[Floats] = [np.full(n, 1.0 / n) for n in counts]
        alone = 1.0 - 0.73 ** (1.0 / max(1, len(self.probabilities)))
        self._floors = [min(alone / max(1, n - 1), 1.0 / n) for n in counts]

    def __len__(self) -> int:
        return len(self.probabilities)

    def draw(self, rng: np.random.Generator, n: int) -> npt.NDArray[np.intp]:
        """Return the index of the value of each choice, shape (n, choices)."""
        drawn = rng.random((n, len(self)))
        found = np.empty((n, len(self)), dtype=np.intp)
        for column, chance in enumerate(self.probabilities):
            wheel = chance.cumsum()
            at = np.searchsorted(wheel, drawn[:, column] * wheel[-1], side="right")
            found[:, column] = np.minimum(at, len(chance) - 1)
        return found

    def adapt(self, drawn: npt.NDArray[np.intp], weights: Floats, *, rate: float) -> None:
        """Move towards what was drawn, by weights that add up to one."""
        for column, chance in enumerate(self.probabilities):
            seen = np.bincount(drawn[:, column], weights=weights, minlength=len(chance))
            moved = np.maximum(chance + rate * (seen - chance), self._floors[column])
            self.probabilities[column] = moved / moved.sum()

    def state(self) -> list[list[float]]:
        """Return plain data."""
        return [chance.tolist() for chance in self.probabilities]

    def restore(self, state: list[list[float]]) -> None:
        """Continue from a state."""
        self.probabilities = [np.array(chance) for chance in state]
