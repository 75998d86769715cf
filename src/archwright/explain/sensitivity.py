"""Which parameters matter: indices that hold for searched trials, and their noise floor.

A search samples neither evenly nor independently, so indices that assume it (Sobol, Morris) are
wrong on its trials. PAWN (Pianosi and Wagener 2018) and the delta index (Borgonovo 2007) compare
the distribution of a metric in slices of a parameter with its distribution over all slices; each
slice counts the same, however often the search went there. What they measure is dependence in
these trials: an idle parameter that the search happened to narrow while it improved seems to
matter. A forest fitted to all parameters at once (Breiman 2001) tells the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from archwright.errors import InfeasibleError, SpecificationError, unknown
from archwright.explain.columns import Column, known, objective, parameters
from archwright.search.panels import Table
from archwright.search.study import Result

__all__ = ["Method", "Sensitivity", "importance"]

Floats = npt.NDArray[np.float64]
Method = Literal["forest", "pawn", "delta"]

_SLICES = 10
_FEWEST = 20  # rows with a value, below which no index is given
# Trees of a forest, and designs that it is fitted to and asked about, at most.
_TREES, _FITTED, _ASKED = 50, 2000, 1200
_POOR = 0.5  # share of the variance that a forest should explain


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """How much a metric depends on each parameter.

    Attributes:
        metric: the metric.
        method: ``forest``, ``pawn``, ``delta``, ``sobol`` or ``morris``.
        basis: what it was computed on, in a sentence.
        parameters: k names.
        index: shape (k,); NaN where none could be given.
        low, high: shape (k,): a bootstrap interval of 95 %.
        floor: shape (k,): what a column of chance reaches; NaN where the method has none.
        active: shape (k,): share of the rows in which the parameter is active.
        more: name to further indices of shape (k,).
        notes: what was left out, and why.
    """

    metric: str
    method: str
    basis: str
    parameters: tuple[str, ...]
    index: Floats
    low: Floats
    high: Floats
    floor: Floats
    active: Floats
    more: Mapping[str, Floats] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def ranked(self) -> list[str]:
        """The parameters, most important first; those without an index are last."""
        order = np.argsort(-np.nan_to_num(self.index, nan=-np.inf), kind="stable")
        return [self.parameters[i] for i in order]

    @property
    def above_floor(self) -> list[str]:
        """The parameters whose whole interval lies above the floor, most important first."""
        clear = {n for n, a, b in zip(self.parameters, self.low, self.floor, strict=True) if a > b}
        return [name for name in self.ranked if name in clear]

    def table(self) -> Table:
        """Return the indices as a table, most important first."""
        names = ["parameter", self.method, "low", "high"]
        columns = [self.index, self.low, self.high]
        if np.isfinite(self.floor).any():
            names.append("floor")
            columns.append(self.floor)
        names += [*self.more, "active, %"]
        columns += [*self.more.values(), 100 * self.active]
        rows: list[list[str | float | int | None]] = [
            [name, *(float(column[self.parameters.index(name)]) for column in columns)]
            for name in self.ranked
        ]
        title = f"What {self.metric} depends on ({self.method})"
        return Table(title=title, columns=names, rows=rows, note=self.note)

    @property
    def note(self) -> str:
        """What the indices were computed on and what was left out."""
        return " ".join([self.basis, *self.notes])

    def __str__(self) -> str:
        table = self.table()
        lines = [table.title, "  ".join(table.columns)]
        for name, *numbers in table.rows:
            lines.append(f"{name}  " + "  ".join(f"{value:.3g}" for value in numbers))
        return "\n".join([*lines, self.note])

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def importance(
    result: Result,
    metric: str,
    *,
    method: Method = "forest",
    slices: int = _SLICES,
    bootstrap: int = 100,
    seed: int = 0,
) -> Sensitivity:
    """Rank the parameters of a study by how much a metric depends on them in its trials.

    ``forest`` fits randomized trees to all parameters at once and asks them, at designs kept
    aside, how far the metric moves when one parameter is drawn anew, evenly over its values, and
    when all are: the index is the ratio of the two mean squares. On even samples this is the
    total Sobol index; on searched ones the designs stay those of the search. The interval is over
    designs; the forest is fitted once. A metric that spans decades is taken by its logarithm.

    ``pawn`` is the mean, over the slices of a parameter, of the largest gap between the
    distribution of the metric in the slice and over all slices; ``delta`` is the mean area
    between the two densities, halved. Both lie between 0 and 1, need no model and do not change
    with the scale of the metric, but look at one parameter at a time: where a search narrowed
    several at once, they cannot say which is the cause.

    A conditional parameter is looked at among the rows where it is active. Infeasible designs
    and unknown values are left out and counted. ``floor`` is what chance reaches: for ``forest``
    the upper end of a column of random numbers, else what the parameter's own slices, dealt out
    at random, reach in 95 of 100 draws. An index below it is noise.

    >>> from archwright.search import Budget, Goal, RandomSearch, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), RandomSearch(),
    ...               budget=Budget(evaluations=200))
    >>> table = importance(study.run(), "cost")
    >>> table.method, len(table.parameters) == len(table.index)
    ('forest', True)

    Args:
        result: the trials of a study.
        metric: a metric, or the name of a combined loss.
        method: ``forest``, ``pawn`` or ``delta``.
        slices: slices of a parameter for the last two, at most; the rarest levels share one.
        bootstrap: draws for the interval and for the floor.
        seed: of these draws and of the forest.

    Raises:
        SpecificationError: an unknown metric or method.
        InfeasibleError: fewer than 20 feasible designs have the metric.
    """
    if method not in get_args(Method):
        raise SpecificationError(unknown("method", method, get_args(Method)))
    for name, value, least in (("slices", slices, 2), ("bootstrap", bootstrap, 1)):
        if value < least:
            raise SpecificationError(f"{name}: expected at least {least}, found {value}")
    column = objective(result, metric)
    rows = np.flatnonzero(known(result, column))
    if len(rows) < _FEWEST:
        raise InfeasibleError(
            f"importance needs {_FEWEST} feasible designs with {metric!r}, found {len(rows)}"
        )
    rng = np.random.default_rng(seed)
    columns = [parameter.take(rows) for parameter in parameters(result)]
    notes = _notes(result, column, len(rows))
    if method == "forest":
        found, explained = _forest(columns, column.scaled[rows], bootstrap, rng, seed)
        notes.append(f"The forest explains {explained:.0%} of designs kept aside.")
        if column.log:
            notes.append(f"The logarithm of {metric} is taken.")
        if explained < _POOR:
            notes.append("That is little: the order may be wrong.")
    else:
        place = _ranks(column.values[rows])
        found = [_index(c, place, method, slices, bootstrap, rng) for c in columns]
    index, low, high, floor, active = np.array(found).reshape(-1, 5).T
    names = tuple(result.schema.parameters)
    silent = [name for name, value in zip(names, index, strict=True) if np.isnan(value)]
    if silent:
        why = "Too few rows, a single value or too many levels"
        notes.append(f"{why}, no index: {', '.join(silent)}.")
    return Sensitivity(
        metric=metric,
        method=method,
        basis=f"Given data: {len(rows):,} of {len(result.trials):,} designs.",
        parameters=names,
        index=index,
        low=low,
        high=high,
        floor=floor,
        active=active,
        notes=tuple(notes),
    )


def _notes(result: Result, column: Column, used: int) -> list[str]:
    notes = []
    infeasible = int((~np.asarray(result.column("feasible"), dtype=bool)).sum())
    missing = len(result.trials) - infeasible - used
    if infeasible:
        notes.append(f"{infeasible:,} infeasible designs are left out.")
    if missing:
        notes.append(f"{missing:,} feasible designs without {column.name} are left out.")
    fidelities = result.trials["fidelity"].unique().to_pylist()
    if len(fidelities) > 1:
        notes.append(f"Fidelities are taken together: {', '.join(map(str, fidelities))}.")
    return notes


def _forest(
    columns: list[Column],
    values: Floats,
    bootstrap: int,
    rng: np.random.Generator,
    seed: int,
) -> tuple[list[tuple[float, float, float, float, float]], float]:
    """Index, interval, floor and active share of each parameter; variance explained."""
    from sklearn.ensemble import ExtraTreesRegressor

    n = len(values)
    active = np.column_stack([np.isfinite(c.values) for c in columns])
    inputs = np.column_stack([c.scaled for c in columns])
    lowest = np.where(active, inputs, np.inf).min(axis=0)
    inputs = np.where(active, inputs, np.where(active.any(axis=0), lowest, 0.0) - 1.0)
    inputs = np.column_stack((inputs, rng.random(n)))  # the last column is chance
    active = np.column_stack((active, np.ones(n, dtype=bool)))
    shuffled = rng.permutation(n)
    fitted, kept = np.split(shuffled, [min(int(0.7 * n), _FITTED)])
    kept = kept[:_ASKED]
    forest = ExtraTreesRegressor(_TREES, min_samples_leaf=3, random_state=seed, n_jobs=1)
    forest.fit(inputs[fitted], values[fitted])
    there, at = inputs[kept], active[kept]
    now = forest.predict(there)
    anew = np.column_stack([_evenly(inputs[on, i], len(kept), rng) if on.any() else there[:, i]
                            for i, on in enumerate(active.T)])  # fmt: skip
    whole = (forest.predict(np.where(at, anew, there)) - now) ** 2
    picked = rng.integers(0, len(kept), (bootstrap, len(kept)))
    crowded = [len(c.levels) > max(n / 2, 2) for c in columns] + [False]  # such as permutations
    found = []
    for i in range(inputs.shape[1]):
        share = float(active[:, i].mean())
        if at[:, i].sum() < 5 or np.ptp(inputs[active[:, i], i]) == 0 or crowded[i]:
            found.append((np.nan, np.nan, np.nan, np.nan, share))
            continue
        moved = there.copy()
        moved[:, i] = np.where(at[:, i], anew[:, i], there[:, i])
        change = (forest.predict(moved) - now) ** 2
        # A conditional parameter is judged where it is active, the whole change as well.
        weight = at[:, i].astype(float)
        draws = _ratio(change[picked], whole[picked], weight[picked])
        low, high = np.quantile(draws, [0.025, 0.975])
        value = _ratio(change[None], whole[None], weight[None])[0]
        found.append((float(value), float(low), float(high), np.nan, share))
    floor = found.pop()[2]
    missed = float(((now - values[kept]) ** 2).mean())
    variance = float(values[kept].var())
    explained = max(0.0, 1.0 - missed / variance) if variance > 0 else 0.0
    return [(a, b, c, floor, e) for a, b, c, _, e in found], explained


def _evenly(values: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Draw n values evenly: among a few distinct ones, else over the range."""
    distinct = np.unique(values)
    if len(distinct) <= 12:
        return rng.choice(distinct, n)
    return rng.uniform(distinct[0], distinct[-1], n)


def _ratio(change: Floats, whole: Floats, weight: Floats) -> Floats:
    """Weighted mean of each row of changes over that of the whole changes; 0 where both are."""
    top, bottom = (change * weight).sum(axis=1), (whole * weight).sum(axis=1)
    ratio: Floats = np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0)
    return ratio


def _ranks(values: Floats) -> npt.NDArray[np.intp]:
    """Place of each value among the distinct ones."""
    return np.unique(values, return_inverse=True)[1].astype(np.intp)


def _index(
    column: Column,
    place: npt.NDArray[np.intp],
    method: Method,
    slices: int,
    bootstrap: int,
    rng: np.random.Generator,
) -> tuple[float, float, float, float, float]:
    """Index, interval, floor and active share of one parameter."""
    at = np.isfinite(column.values)
    share, n = float(at.mean()), int(at.sum())
    least = max(5, n // 400)
    cut, count = column.bins(slices, least)
    cut, own = cut[at], place[at]
    if n < _FEWEST or count < 2:
        return np.nan, np.nan, np.nan, np.nan, share
    measure = _pawn if method == "pawn" else _delta
    grid = _grid(own, method, int(np.bincount(cut, minlength=count).min()))
    value = measure(cut, grid, count)
    coarse = _coarsened(grid, 256)
    draws, chance = np.empty(bootstrap), np.empty(bootstrap)
    for i in range(bootstrap):
        picked = rng.integers(0, n, n)
        draws[i] = measure(cut[picked], coarse[picked], count)
        chance[i] = measure(cut, coarse[rng.permutation(n)], count)
    # Both measures are biased upwards by chance; the draws twice, the value once.
    spread = draws - draws.mean()
    low, high = value + np.quantile(spread, [0.025, 0.975])
    return value, max(low, 0.0), min(high, 1.0), float(np.quantile(chance, 0.95)), share


def _grid(place: npt.NDArray[np.intp], method: Method, smallest: int) -> npt.NDArray[np.intp]:
    """Classes of the metric: every value for PAWN, a few of equal size for delta."""
    if method == "pawn":
        return _ranks(place.astype(np.float64))
    return _coarsened(place, int(np.clip(2 * np.sqrt(smallest), _SLICES, 30)))


def _coarsened(place: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most ``most`` classes of about equal size, ties kept together."""
    counts = np.bincount(place)
    if len(counts) <= most:
        return place
    middle = np.cumsum(counts) - counts / 2
    return _ranks(np.floor(middle / counts.sum() * most))[place]


def _shares(cut: npt.NDArray[np.intp], grid: npt.NDArray[np.intp], count: int) -> Floats:
    """Distribution of the classes in each slice, shape (slices, classes); rows sum to 1."""
    classes = int(grid.max()) + 1
    table = np.bincount(cut * classes + grid, minlength=count * classes).reshape(count, classes)
    table = table[table.any(axis=1)]
    shares: Floats = table / table.sum(axis=1, keepdims=True)
    return shares


def _pawn(cut: npt.NDArray[np.intp], grid: npt.NDArray[np.intp], count: int) -> float:
    steps = np.cumsum(_shares(cut, grid, count), axis=1)
    return float(np.abs(steps - steps.mean(axis=0)).max(axis=1).mean())


def _delta(cut: npt.NDArray[np.intp], grid: npt.NDArray[np.intp], count: int) -> float:
    shares = _shares(cut, grid, count)
    return float(0.5 * np.abs(shares - shares.mean(axis=0)).sum(axis=1).mean())
