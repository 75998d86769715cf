"""Gaussian-process regression: Matérn 5/2 with a length for each parameter, and noise."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

__all__ = ["Features", "Regression", "warped"]

_ROOT5 = math.sqrt(5.0)
_LEAST_NOISE = 1e-7  # variance, of values whose variance is one
_NOISE = (-9.0, 2.5)  # mean and deviation of the prior of the noise's logarithm
_SCALE = (0.0, 1.0)  # and of that of the variance
_ITERATIONS = 40
_POWERS = np.linspace(-2.0, 2.0, 41)  # among which the transform of values is chosen
Floats = npt.NDArray[np.float64]


class Features:
    """How far designs are from each other, parameter by parameter.

    Numbers count by their squared difference, choices as 0 or 1. The coordinates of a permutation
    share one length.

    >>> features = Features(np.array([0, 1]), np.array([False, True]))
    >>> features.squares(np.array([[0.5, 0.1]]), np.array([[0.0, 0.7]])).ravel().tolist()
    [0.25, 1.0]

    Args:
        part: the parameter that each coordinate belongs to.
        choice: whether a coordinate is a choice.
    """

    def __init__(self, part: npt.NDArray[np.intp], choice: npt.NDArray[np.bool_]) -> None:
        self.part, self.choice = part, choice
        self.count = int(part.max()) + 1 if len(part) else 0

    def squares(self, a: Floats, b: Floats) -> Floats:
        """Return the squared distances of each parameter, shape (parameters, len(a), len(b))."""
        found = np.zeros((self.count, len(a), len(b)))
        for column, (part, choice) in enumerate(zip(self.part, self.choice, strict=True)):
            x, y = a[:, column, None], b[:, column]
            found[part] += (np.abs(x - y) > 1e-9) if choice else (x - y) ** 2
        return found

    def total(self, a: Floats, b: Floats, lengths: Floats) -> Floats:
        """Return the squared distances in units of the lengths, shape (len(a), len(b))."""
        number = ~self.choice
        scale = lengths[self.part[number]]
        x, y = a[:, number] / scale, b[:, number] / scale
        found = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2.0 * x @ y.T
        for column in np.flatnonzero(self.choice):
            unlike = np.abs(a[:, column, None] - b[:, column]) > 1e-9
            found += unlike / lengths[self.part[column]] ** 2
        return np.asarray(np.maximum(found, 0.0))


class Regression:
    """A Gaussian process fitted to values; its hyper-parameters maximize the posterior.

    >>> x = np.linspace(0.0, 1.0, 12)[:, None]
    >>> features = Features(np.zeros(1, dtype=np.intp), np.zeros(1, dtype=bool))
    >>> model = Regression(features, x, np.sin(6.0 * x[:, 0]))
    >>> mean, deviation = model.predict(np.array([[0.53]]))
    >>> bool(abs(mean[0] - np.sin(6.0 * 0.53)) < 0.02), bool(deviation[0] < 0.1)
    (True, True)

    Args:
        features: distances between designs.
        points: shape (n, d), in the unit cube.
        values: shape (n,).
        begin: hyper-parameters to begin the fit at, those of an earlier model; None for the
            prior's.
        rough: whether the values may have steps: then the fit also begins at long lengths with
            noise, which explain them as well as short ones without.

    Attributes:
        hyper: logarithms of the lengths, the variance and the noise.

    Source: Rasmussen and Williams: Gaussian Processes for Machine Learning, MIT Press 2006,
    chapters 2 and 5; the prior of the lengths grows with their number: Hvarfner, Hellsten, Nardi:
    Vanilla Bayesian Optimization Performs Great in High Dimensions, ICML 2024.
    """

    def __init__(
        self,
        features: Features,
        points: Floats,
        values: Floats,
        *,
        begin: Floats | None = None,
        rough: bool = False,
    ) -> None:
        self._features, self._points = features, points
        self._shift = float(values.mean())
        self._unit = float(values.std()) or 1.0
        self._values = (values - self._shift) / self._unit
        parts = features.count
        self._center = math.sqrt(2.0) + 0.5 * math.log(max(parts, 1))
        prior = np.concatenate([np.full(parts, self._center - 3.0), [0.0, _NOISE[0]]])
        begins = [prior if begin is None else begin]
        if rough and begin is None:
            begins.append(np.concatenate([np.zeros(parts), [0.0, -4.0]]))
        self.hyper = self._fitted(begins)
        self._factor()

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Return mean and deviation of the noiseless value at points."""
        cross = self._kernel(self._features.total(points, self._points, self._lengths))
        mean = cross @ self._alpha
        solved = solve_triangular(self._root, cross.T, lower=True, check_finite=False)
        variance = np.maximum(self._variance - (solved**2).sum(axis=0), 1e-12)
        return mean * self._unit + self._shift, np.sqrt(variance) * self._unit

    def gradient(self, point: Floats) -> tuple[float, float, Floats, Floats]:
        """Return mean and deviation at a point, and their gradients by its coordinates."""
        squared = self._features.total(point[None, :], self._points, self._lengths)[0]
        root = _ROOT5 * np.sqrt(squared)
        decay = self._variance * np.exp(-root)
        cross = decay * (1.0 + root + root**2 / 3.0)
        slope = -5.0 / 3.0 * decay * (1.0 + root)  # by half the squared distance
        scale = self._lengths[self._features.part] ** 2
        moved = np.where(self._features.choice, 0.0, (point - self._points) / scale)
        by_point = slope[:, None] * moved
        solved = cho_solve((self._root, True), cross, check_finite=False)
        variance = max(float(self._variance - cross @ solved), 1e-12)
        deviation = math.sqrt(variance)
        mean = float(cross @ self._alpha) * self._unit + self._shift
        mean_slope = self._unit * (self._alpha @ by_point)
        deviation_slope = -self._unit * (solved @ by_point) / deviation
        return mean, deviation * self._unit, mean_slope, deviation_slope

    def believe(self, points: Floats) -> None:
        """Take the mean at points for measured: they are in flight."""
        mean = (self.predict(points)[0] - self._shift) / self._unit
        self._points = np.concatenate([self._points, points])
        self._values = np.concatenate([self._values, mean])
        self._factor()

    @property
    def _lengths(self) -> Floats:
        return np.exp(self.hyper[:-2])

    @property
    def _variance(self) -> float:
        return math.exp(self.hyper[-2])

    def _kernel(self, squared: Floats) -> Floats:
        root = _ROOT5 * np.sqrt(squared)
        return np.asarray(self._variance * (1.0 + root + root**2 / 3.0) * np.exp(-root))

    def _factor(self) -> None:
        kernel = self._kernel(self._features.total(self._points, self._points, self._lengths))
        noise = math.exp(self.hyper[-1])
        for jitter in (0.0, 1e-8, 1e-6, 1e-4, 1e-2):
            kernel[np.diag_indices_from(kernel)] = self._variance * (1.0 + jitter) + noise
            try:
                self._root = cholesky(kernel, lower=True, check_finite=False)
                break
            except np.linalg.LinAlgError:
                continue
        self._alpha = cho_solve((self._root, True), self._values, check_finite=False)

    def _fitted(self, begins: list[Floats]) -> Floats:
        """Return the hyper-parameters of the largest posterior found from some beginnings."""
        squares = self._features.squares(self._points, self._points)
        flat = squares.reshape(len(squares), -1)
        bounds = [(-5.0, 7.0)] * len(squares) + [(-4.0, 4.0), (math.log(_LEAST_NOISE), 0.0)]
        best: tuple[float, Floats] = (math.inf, begins[0])
        for begin in begins:
            found = minimize(
                self._loss,
                np.clip(begin, [low for low, _ in bounds], [high for _, high in bounds]),
                args=(flat,),
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxiter": _ITERATIONS},
            )
            if found.fun < best[0]:
                best = (float(found.fun), np.asarray(found.x))
        return best[1]

    def _loss(self, hyper: Floats, squares: Floats) -> tuple[float, Floats]:
        """Return the negative logarithm of the posterior and its gradient."""
        n, parts = len(self._values), self._features.count
        lengths, variance = np.exp(hyper[:parts]), math.exp(hyper[-2])
        noise = math.exp(hyper[-1])
        total = (lengths**-2.0 @ squares).reshape(n, n)
        root = _ROOT5 * np.sqrt(total)
        decay = variance * np.exp(-root)
        kernel = decay * (1.0 + root + root**2 / 3.0)
        whole = kernel.copy()
        whole[np.diag_indices(n)] += noise + 1e-9 * variance
        try:
            factor = cholesky(whole, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(hyper)
        alpha = cho_solve((factor, True), self._values, check_finite=False)
        inverse = cho_solve((factor, True), np.eye(n), check_finite=False)
        value = 0.5 * float(self._values @ alpha) + float(np.log(np.diag(factor)).sum())
        outer = inverse
        outer -= np.outer(alpha, alpha)
        slope = np.empty_like(hyper)
        weighted = outer * (5.0 / 3.0 * decay * (1.0 + root))
        slope[:parts] = 0.5 * (squares @ weighted.ravel()) * lengths**-2.0
        slope[-2] = 0.5 * float((outer * kernel).sum())
        slope[-1] = 0.5 * noise * float(np.trace(outer))
        # priors: log-normal lengths (as densities of the length), normal logarithms of the rest
        far = (hyper[:parts] - self._center) / 3.0
        value += float((1.5 * far**2 + hyper[:parts]).sum())
        slope[:parts] += far + 1.0
        for at, (mean, deviation) in ((-2, _SCALE), (-1, _NOISE)):
            away = (hyper[at] - mean) / deviation
            value += 0.5 * away**2
            slope[at] += away / deviation
        return value, slope


def warped(values: Floats) -> Floats:
    """Return values after the power transform that makes them most like a normal sample.

    A loss that spans magnitudes is no sample of a Gaussian process; its transform nearly is. The
    order stays.

    >>> warped(np.array([1.0, 10.0, 100.0, 1000.0])).argsort().tolist()
    [0, 1, 2, 3]

    Source: Yeo and Johnson, Biometrika 2000; in Bayesian optimization: Cowen-Rivers et al.: HEBO,
    JAIR 2022.
    """
    spread = float(values.std())
    if not spread > 0 or len(values) < 3:
        return values
    x = (values - values.mean()) / spread
    size = np.log1p(np.abs(x))
    power = np.where(x >= 0, _POWERS[:, None], 2.0 - _POWERS[:, None])
    flat = np.abs(power) < 1e-9
    found = np.sign(x) * np.where(flat, size, np.expm1(power * size) / np.where(flat, 1.0, power))
    variance = found.var(axis=1)
    likelihood = -0.5 * len(x) * np.log(np.maximum(variance, 1e-300))
    likelihood += (_POWERS - 1.0) * float((np.sign(x) * size).sum())
    return np.asarray(found[int(likelihood.argmax())])
