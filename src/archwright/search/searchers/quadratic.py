"""The lowest point of a quadratic through what was measured, within a radius."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["lowest"]

Floats = npt.NDArray[np.float64]


def lowest(points: Floats, losses: Floats, radius: float) -> Floats | None:
    """Return where a quadratic fitted to points is lowest within ``radius`` of the origin.

    With few points the quadratic has no mixed terms; with too few there is none. Better points
    and those nearer to the origin decide.

    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(40, 2))
    >>> found = lowest(points, ((points - 0.5) ** 2).sum(axis=1), radius=2.0)
    >>> found.round(2).tolist()
    [0.5, 0.5]

    Args:
        points: shape (n, d).
        losses: shape (n,), finite.
        radius: how far to look.

    Source: models of this kind in evolution strategies: Hansen: A Global Surrogate Assisted
    CMA-ES, GECCO 2019.
    """
    n, d = points.shape
    plain = 1 + 2 * d
    mixed = plain + d * (d - 1) // 2
    if n < plain + 2:
        return None
    with_mixed = n >= 1.2 * mixed
    terms = mixed if with_mixed else plain
    near = np.argsort((points**2).sum(axis=1), kind="stable")[: max(2 * terms, 20)]
    x, y = points[near], losses[near]
    rank = np.argsort(np.argsort(y, kind="stable"), kind="stable")
    weight = 1.0 / (1.0 + rank / max(3.0, len(y) / 4))
    spread = float(np.median(y) - y.min())
    if not spread > 0:
        return None
    y = np.minimum((y - y.min()) / spread, 50.0)  # a far worse point bends the fit, no more
    pairs = np.triu_indices(d, 1)
    columns = [np.ones((len(x), 1)), x, x**2]
    if with_mixed:
        columns.append(x[:, pairs[0]] * x[:, pairs[1]])
    table = np.hstack(columns)
    ridge = np.full(table.shape[1], 1e-6)
    ridge[0] = 0.0
    ridge[plain:] = 1e-4
    weighted = table * weight[:, None]
    try:
        found = np.linalg.solve(weighted.T @ table + np.diag(ridge), weighted.T @ y)
    except np.linalg.LinAlgError:
        return None
    slope = found[1 : 1 + d]
    curve = np.diag(2.0 * found[1 + d : plain])
    if with_mixed:
        curve[pairs] = curve[pairs[1], pairs[0]] = found[plain:]
    return _within(slope, curve, radius)


def _within(slope: Floats, curve: Floats, radius: float) -> Floats:
    """Return the minimum of slope · x + x · curve x / 2 over a ball (a trust region)."""
    values, axes = np.linalg.eigh(curve)
    turned = axes.T @ slope

    def step(shift: float) -> Floats:
        return np.asarray(-turned / (values + shift))

    def length(shift: float) -> float:
        return math.sqrt(float((step(shift) ** 2).sum()))

    low = max(0.0, -float(values.min())) + 1e-9
    if float(values.min()) > 1e-9 and length(0.0) <= radius:
        return np.asarray(axes @ step(0.0))
    high = low + 1e12
    for _ in range(100):  # by halves of the exponent: the shift spans many magnitudes
        middle = math.sqrt(low * high)
        if length(middle) > radius:
            low = middle
        else:
            high = middle
    return np.asarray(axes @ step(high))
