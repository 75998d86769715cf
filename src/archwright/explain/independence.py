"""How far parameters act independently of each other on a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search import Result

__all__ = ["Independence", "PairGain", "independence"]

Floats = npt.NDArray[np.float64]
_LEVELS = 16  # a parameter of more values is cut into so many ranges


@dataclass(frozen=True)
class PairGain:
    """What one pair explains beyond the main effects.

    Attributes:
        pair: names of the two parameters.
        gain: R² with the pair's interaction added, less that of the main effects alone.
    """

    pair: tuple[str, str]
    gain: float


@dataclass(frozen=True, kw_only=True)
class Independence:
    """How well additive models explain a metric.

    Attributes:
        metric: the metric.
        log: whether its logarithm was explained.
        designs: number of designs.
        main: R² of the main effects.
        pairs: R² with all pairs added.
        main_held_out: R² of the main effects on designs kept aside, five folds.
        pairs_held_out: R² with all pairs added, likewise; lower than ``main_held_out`` where the
            designs are too few for so many pairs.
        gains: the pairs, largest gain first.
        effects: parameter to the R² that it explains alone.
    """

    metric: str
    log: bool
    designs: int
    main: float
    pairs: float
    main_held_out: float
    pairs_held_out: float
    gains: tuple[PairGain, ...]
    effects: Mapping[str, float]

    def __str__(self) -> str:
        what = f"log {self.metric}" if self.log else self.metric
        first = self.gains[0] if self.gains else None
        lines = [
            f"Main effects explain {self.main:.0%} of {what} over {self.designs} designs "
            f"({self.main_held_out:.0%} held out); all pairs raise it to {self.pairs:.0%} "
            f"({self.pairs_held_out:.0%})."
        ]
        if first is not None and first.gain >= 0.02:
            many = [g for g in self.gains[:3] if g.gain >= 0.02]
            named = ", ".join(f"{' × '.join(g.pair)} (+{g.gain:.2f})" for g in many)
            lines.append(
                f"Most of what they miss: {named}. An agent a parameter cannot express "
                "these pairs; one that has both can."
            )
        else:
            lines.append(
                "No pair adds 0.02 or more: an agent a parameter loses little against one that "
                "sees all."
            )
        return " ".join(lines)


def independence(
    trials: Result | Mapping[str, Sequence[Any] | npt.ArrayLike],
    metric: str,
    *,
    log: bool | None = None,
    parameters: Sequence[str] | None = None,
) -> Independence:
    """Fit main effects, then all pairs, to a metric, by least squares.

    Each parameter is a category with a level a value; a number of more than 16 values is cut into
    16 ranges of equally many designs.

    >>> a, b = np.repeat([0, 1], 8), np.tile([0, 1], 8)
    >>> found = independence({"a": a, "b": b, "t": 1.0 + a + (a ^ b)}, "t", log=False)
    >>> round(found.main, 3), round(found.pairs, 3), found.gains[0].pair
    (0.5, 1.0, ('a', 'b'))

    Args:
        trials: a study's result, or columns by name, parameters and metric.
        metric: name of the metric.
        log: explain its logarithm; None does where all values are positive.
        parameters: names of the parameters; None takes all (of columns, all but the metric).

    Raises:
        SpecificationError: an unknown name, too few designs, or a metric that does not vary.
    """
    columns, values = _columns(trials, metric, parameters)
    known = np.isfinite(values)
    values = values[known]
    if log is None:
        log = bool((values > 0).all())
    elif log and not (values > 0).all():
        raise SpecificationError(f"{metric}: has values of 0 or less; set log = False")
    if len(values) < 10:
        raise SpecificationError(
            f"{metric}: known for {len(values)} designs, expected at least 10"
        )
    target = np.log(values) if log else values
    if np.ptp(target) == 0:
        raise SpecificationError(f"{metric}: is {values[0]:g} for every design")
    levels = {name: _levels(column[known]) for name, column in columns.items()}
    levels = {name: level for name, level in levels.items() if level.max() > 0}
    if not levels:
        raise SpecificationError("no parameter has two values or more")
    coded = {name: _indicators(level) for name, level in levels.items()}
    crossed = {(a, b): _products(coded[a], coded[b]) for a, b in combinations(coded, 2)}
    model = _Model([np.ones((len(target), 1)), *coded.values(), *crossed.values()], target)
    places = range(1, 1 + len(coded))
    main = [0, *places]
    every = [*main, *range(1 + len(coded), 1 + len(coded) + len(crossed))]
    base = model.r2(main)
    gains = [
        PairGain(pair, model.r2([*main, at]) - base)
        for at, pair in enumerate(crossed, 1 + len(coded))
    ]
    return Independence(
        metric=metric,
        log=log,
        designs=len(target),
        main=base,
        pairs=model.r2(every),
        main_held_out=model.held_out(main),
        pairs_held_out=model.held_out(every),
        gains=tuple(sorted(gains, key=lambda g: -g.gain)),
        effects={name: model.r2([0, at]) for name, at in zip(coded, places, strict=True)},
    )


def _columns(
    trials: Result | Mapping[str, Any], metric: str, parameters: Sequence[str] | None
) -> tuple[dict[str, npt.NDArray[Any]], Floats]:
    if isinstance(trials, Result):
        every = [n.removeprefix("param.") for n in trials.trials.column_names if n[:6] == "param."]
        values = trials.metric(metric)
        read = {name: trials.column(f"param.{name}") for name in every}
    else:
        if metric not in trials:
            raise SpecificationError(unknown("column", metric, trials))
        values = np.asarray(trials[metric])
        read = {name: np.asarray(c) for name, c in trials.items() if name != metric}
    for name in parameters or ():
        if name not in read:
            raise SpecificationError(f"parameters: {unknown('parameter', name, read)}")
    names = list(read) if parameters is None else list(parameters)
    for name in names:
        if len(read[name]) != len(values):
            raise SpecificationError(
                f"{name}: has {len(read[name])} values, {metric!r} {len(values)}"
            )
    return {name: read[name] for name in names}, values.astype(np.float64)


def _levels(column: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if column.dtype.kind in "iuf":
        inactive = np.isnan(column)  # a level of its own
        known = column[~inactive]
        if len(np.unique(known)) > _LEVELS:
            edges = np.quantile(known, np.linspace(0, 1, _LEVELS + 1)[1:-1])
            column = np.where(inactive, -1, np.searchsorted(edges, column, side="right"))
        found = np.unique(column, return_inverse=True)[1]
    else:
        found = np.unique([repr(v) for v in column.tolist()], return_inverse=True)[1]
    return np.asarray(found.reshape(-1), dtype=np.int64)


def _indicators(level: npt.NDArray[np.int64]) -> Floats:
    """Return a column for each level but the first."""
    return np.asarray(level[:, None] == np.arange(1, level.max() + 1), dtype=np.float64)


def _products(a: Floats, b: Floats) -> Floats:
    return np.asarray((a[:, :, None] * b[:, None, :]).reshape(len(a), -1))


class _Model:
    """Least squares over blocks of columns, from their products with each other.

    A trace of a ridge keeps combinations that occur in no design at zero.
    """

    def __init__(self, blocks: Sequence[Floats], target: Floats) -> None:
        self._x = np.hstack(blocks)
        self._y = target - target.mean()
        self._total = float(self._y @ self._y)
        edges = np.cumsum([0, *(block.shape[1] for block in blocks)])
        self._blocks = [np.arange(a, b) for a, b in pairwise(edges)]
        self._gram, self._moment = self._x.T @ self._x, self._x.T @ self._y

    def r2(self, blocks: Sequence[int]) -> float:
        """Return R² of some blocks."""
        at = np.concatenate([self._blocks[b] for b in blocks])
        gram, moment = self._gram[np.ix_(at, at)], self._moment[at]
        fitted = _solve(gram, moment)
        left = self._total - 2 * fitted @ moment + fitted @ gram @ fitted
        return float(1.0 - left / self._total)

    def held_out(self, blocks: Sequence[int], folds: int = 5) -> float:
        """Return R² of some blocks on designs that each fit has not seen."""
        at = np.concatenate([self._blocks[b] for b in blocks])
        x, y = self._x[:, at], self._y
        gram, moment = self._gram[np.ix_(at, at)], self._moment[at]
        fold = np.random.default_rng(0).permutation(len(y)) % folds
        left = 0.0
        for k in range(folds):
            part, wanted = x[fold == k], y[fold == k]
            fitted = _solve(gram - part.T @ part, moment - part.T @ wanted)
            left += float(((wanted - part @ fitted) ** 2).sum())
        return 1.0 - left / self._total


def _solve(gram: Floats, moment: Floats) -> Floats:
    from scipy.linalg import cho_factor, cho_solve

    ridge = 1e-6 * np.eye(len(gram))
    return np.asarray(cho_solve(cho_factor(gram + ridge), moment))
