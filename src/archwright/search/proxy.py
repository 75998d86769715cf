"""A learned environment: a random forest of the trials of studies, dropped in for a simulator.

Rows pooled over several searchers, which look at different parts of a space, make a better proxy
than as many rows of one. Designs are split, never rows of one design; errors on designs left out
stand beside those of a predictor that says the mean, and intervals are calibrated on such designs.

Source: Krishnan et al., ArchGym (ISCA 2023), which fits one forest a metric.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.search.environments import Fidelity, Measurements, Metric
from archwright.search.space import Choice, Ordinal, ParameterSpace, Permutation
from archwright.search.study import Result, load_result

__all__ = ["Fit", "ProxyEnvironment", "features", "fit", "proxy_environment"]

Floats = npt.NDArray[np.float64]
TREES = 200
"""Trees of a forest."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well one metric was learned, on designs left out.

    Attributes:
        metric: its name.
        train, test: designs.
        rmse: root of the mean squared error over the mean of the metric.
        mean_rmse: the same of a predictor that says the mean of the training designs.
        coverage: share of designs left out within the 90 % interval.
        width: mean width of the interval over the mean of the metric.
    """

    metric: str
    train: int
    test: int
    rmse: float
    mean_rmse: float
    coverage: float
    width: float


def features(space: Any, designs: Any) -> Floats:
    """Return what a forest sees of designs, shape (n, f).

    Of a parameter space: numbers as they are, their logarithm where the parameter says so, a
    column for each value of a choice, -1 where inactive. Of any other space: its unit cube.

    Raises:
        SpecificationError: the space has neither.
    """
    if not isinstance(space, ParameterSpace):
        if not hasattr(space, "encode"):
            raise SpecificationError("a proxy needs a space with parameters or with encode")
        return np.asarray(space.encode(designs), dtype=np.float64)
    columns = []
    for name, values in space.columns(designs).items():
        parameter = space.parameters[name]
        plain = np.ma.asarray(values, dtype=object).tolist()
        if isinstance(parameter, Choice) or (
            isinstance(parameter, Ordinal)
            and not all(isinstance(v, (int, float)) for v in parameter.options)
        ):
            columns += [[float(v == option) for v in plain] for option in parameter.options]
        elif isinstance(parameter, Permutation):
            columns += [
                [-1.0 if v is None else float(v[i]) for v in plain]
                for i in range(parameter.length)
            ]
        else:
            log = bool(getattr(parameter, "log", False))
            columns.append(
                [-1.0 if v is None else float(np.log(v)) if log else float(v) for v in plain]
            )
    return np.array(columns, dtype=np.float64).T.reshape(len(designs), -1)


@dataclass(frozen=True)
class _Model:
    """A forest of one metric, and the quantiles of its errors on designs left out."""

    forest: Any
    low: float
    high: float

    def predict(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        found = np.asarray(self.forest.predict(x))
        return found, found + self.low, found + self.high


class ProxyEnvironment:
    """An environment whose measurements are learned. Make it with :func:`fit`.

    Attributes:
        fits: how well each metric was learned.
    """

    deterministic = True
    fidelities: Sequence[Fidelity] = (Fidelity("learned"),)

    def __init__(
        self,
        space: Any,
        metrics: Sequence[Metric],
        models: Mapping[str, _Model],
        fits: Sequence[Fit],
        digest: str,
    ) -> None:
        self.space = space
        self.metrics = tuple(metrics)
        self.fits = tuple(fits)
        self.version = f"1-{digest[:16]}"
        self._models = dict(models)

    def identity(self) -> dict[str, Any]:
        """Return what the proxy was learned from, as a digest."""
        return {"learned from": self.version}

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str = "learned",
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Any | None = None,
    ) -> Measurements:
        """Predict designs, with the 90 % interval."""
        del seeds, fidelity, parents, artifacts
        x = features(self.space, designs)
        found = {name: model.predict(x) for name, model in self._models.items()}
        return Measurements(
            metrics={name: ends[0] for name, ends in found.items()},
            low={name: ends[1] for name, ends in found.items()},
            high={name: ends[2] for name, ends in found.items()},
            provenance=dict.fromkeys(found, "learned"),
        )


def fit(
    trials: Result | Sequence[Result],
    space: Any = None,
    *,
    metrics: Sequence[Metric | str] | None = None,
    test: float = 0.2,
    seed: int = 0,
) -> ProxyEnvironment:
    """Learn an environment from the trials of one study or several.

    >>> from archwright.search import Budget, Goal, RandomSearch, Study
    >>> from archwright.testing import toy_environment
    >>> toy = toy_environment()
    >>> study = Study(toy, Goal(minimize=["cost"]), RandomSearch(), budget=Budget(evaluations=400))
    >>> proxy = fit(study.run(), metrics=["cost"])
    >>> proxy.fits[0].rmse < 0.5 * proxy.fits[0].mean_rmse
    True

    Args:
        trials: results; feasible designs only are learned.
        space: the space of the designs; by default the one that the first study searched.
        metrics: what to learn; by default every metric of the first result.
        test: share of the designs left out, for errors and intervals; the forest that measures
            is then learned from all of them.
        seed: of the split and the forests.

    Raises:
        SpecificationError: too few designs, an unknown metric, or one that is not known of all.
    """
    results = [trials] if isinstance(trials, Result) else list(trials)
    if not results:
        raise SpecificationError("a proxy needs the trials of a study at least")
    if space is None:
        space = results[0].space
    known = list(results[0].schema.metrics)
    described = [
        m if isinstance(m, Metric) else Metric(m) for m in (known if metrics is None else metrics)
    ]
    x, y = _rows(results, space, [metric.name for metric in described])
    learned = (seed, test, [metric.name for metric in described], x.shape)
    digest = hashlib.sha256(repr(learned).encode() + x.tobytes() + y.tobytes()).hexdigest()
    return _learn(x, y, space, described, test, seed, digest)


def _rows(results: Sequence[Result], space: Any, names: Sequence[str]) -> tuple[Floats, Floats]:
    """Return features and metrics of distinct feasible designs."""
    parts: list[tuple[Any, Floats]] = []
    for result in results:
        for name in names:
            if name not in result.schema.metrics:
                raise SpecificationError(unknown("metric", name, result.schema.metrics))
        rows = np.flatnonzero(np.asarray(result.column("feasible"), dtype=bool))
        values = np.column_stack([result.metric(name)[rows] for name in names])
        whole = ~np.isnan(values).any(axis=1)
        columns = result.schema.parameter_columns(result.trials.take(rows[whole]))
        parts.append((space.from_columns(columns), values[whole]))
    designs = space.concatenate([part for part, _ in parts])
    values = np.concatenate([part for _, part in parts])
    keys = space.keys(designs)
    first = list({key: i for i, key in reversed(list(enumerate(keys)))}.values())[::-1]
    if len(first) < 10:
        raise SpecificationError(
            f"a proxy needs 10 different feasible designs at least, found {len(first)}"
        )
    chosen = np.array(first)
    return features(space, designs.take(chosen)), values[chosen]


def _learn(
    x: Floats,
    y: Floats,
    space: Any,
    metrics: Sequence[Metric],
    test: float,
    seed: int,
    digest: str,
) -> ProxyEnvironment:
    if not 0 < test < 1:
        raise SpecificationError(f"test: expected between 0 and 1, found {test!r}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    left = max(2, round(test * len(x)))
    out, inside = order[:left], order[left:]
    # errors are scored on all designs left out; the interval is set on one half of them, and its
    # coverage scored on the other
    score, calibrate = out[: left // 2], out[left // 2 :]
    models, fits = {}, []
    for i, metric in enumerate(metrics):
        values = y[:, i]
        learned = _forest(x[inside], values[inside], seed)
        residual = values[calibrate] - learned.predict(x[calibrate])
        model = _Model(learned, *_ends(residual))
        fits.append(_scored(metric.name, values, x, inside, out, score, model))
        whole = _forest(x, values, seed)
        every = values[out] - learned.predict(x[out])
        models[metric.name] = _Model(whole, *_ends(every))
    return ProxyEnvironment(space, metrics, models, fits, digest)


def _ends(residual: Floats) -> tuple[float, float]:
    """Return the ends of a 90 % interval of residuals, which hold zero."""
    n = len(residual)
    # a finite sample: the quantile that covers a new point with 90 %
    reach = min(1.0, 0.95 * (n + 1) / n)
    low, high = np.quantile(residual, [1 - reach, reach])
    return min(float(low), 0.0), max(float(high), 0.0)


def _scored(
    name: str, values: Floats, x: Floats, inside: Any, out: Any, score: Any, model: _Model
) -> Fit:
    truth = values[out]
    scale = float(np.abs(truth).mean()) or 1.0
    found, low, high = model.predict(x[out])
    halves = np.isin(out, score)
    covered = (low <= truth) & (truth <= high)
    return Fit(
        metric=name,
        train=len(inside),
        test=len(out),
        rmse=float(np.sqrt(((found - truth) ** 2).mean())) / scale,
        mean_rmse=float(np.sqrt(((values[inside].mean() - truth) ** 2).mean())) / scale,
        coverage=float(covered[halves].mean()),
        width=float((high - low).mean()) / scale,
    )


def _forest(x: Floats, y: Floats, seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    # every feature is looked at: few columns decide, and thinning them costs accuracy
    forest = RandomForestRegressor(TREES, random_state=seed % 2**32, max_features=1.0)
    return forest.fit(x, y)


class _ProxyFactory:
    """A learned environment of the runs of other studies."""

    def __call__(
        self,
        *,
        runs: Sequence[str],
        metrics: Sequence[str] | None = None,
        seed: int = 0,
        folder: Path | None = None,
    ) -> ProxyEnvironment:
        """Return the proxy of some runs, whose study files say what they varied.

        Args:
            runs: folders of studies of one environment.
            metrics: what to learn; by default every metric.
            seed: of the split and the forests.
            folder: what the folders are relative to.

        Raises:
            SpecificationError: no runs.
            StoreError: a folder is no study, or damaged.
        """
        from archwright.search.study_file import load_stored_study

        if isinstance(runs, str) or not runs:
            raise SpecificationError(f"[environment].runs: expected folders, found {runs!r}")
        folders = [(folder or Path()) / run for run in runs]
        environment = load_stored_study(folders[0]).study.environment
        described = [m for m in environment.metrics if metrics is None or m.name in metrics]
        for name in metrics or ():
            if name not in [m.name for m in described]:
                names = [m.name for m in environment.metrics]
                raise SpecificationError(
                    f"[environment].metrics: {unknown('metric', name, names)}"
                )
        results = [load_result(path) for path in folders]
        return fit(results, environment.space, metrics=described, seed=seed)

    def configure(
        self, options: Mapping[str, Any], *, vary: Mapping[str, Any], folder: Path
    ) -> ProxyEnvironment:
        """Build the environment of a study file."""
        if vary:
            raise SpecificationError("[environment].vary: a proxy varies what its runs varied")
        for key in options:
            if key not in ("runs", "metrics", "seed"):
                raise SpecificationError(
                    f"[environment]: {unknown('key', key, ['runs', 'metrics', 'seed'])}"
                )
        if "runs" not in options:
            raise SpecificationError(
                "[environment]: the key 'runs' is missing, folders of studies"
            )
        return self(folder=folder, **options)


proxy_environment = _ProxyFactory()
"""The registered environment ``search/proxy``."""
