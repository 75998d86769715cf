"""Bayesian optimization with Gaussian processes: few, dear evaluations."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from archwright.search.goal import Objectives
from archwright.search.searcher import BaseSearcher, Trials
from archwright.search.searchers.acquisition import HypervolumeImprovement, Improvement
from archwright.search.searchers.limits import unit_cube, whole
from archwright.search.searchers.memory import Memory
from archwright.search.searchers.regression import Features, Regression, warped
from archwright.search.searchers.steps import Steps
from archwright.search.space import (
    Choice,
    ParameterSpace,
    Space,
    designs_from,
    plain_designs,
)
from archwright.solve import nondominated

__all__ = ["GaussianProcess"]

_PICKS = 8  # designs chosen in one step at most
_PENDING = 16  # trials in flight that the choice accounts for
_POOL = 512  # random candidates; half as many again are steps from good designs
_CLIMBS = 4  # candidates from which the acquisition is climbed
_ANEW = 8  # trials after which fits begin at the prior
_ROWS = 300  # trials that a model is fitted to
_SCALES = (0.1, 0.03, 0.01, 0.003)  # steps of the last refinement, over designs
_HELD = -0.1  # of a limit that holds, on a scale on which a usual violation is 0.5
_BOXED = 3  # most losses whose hypervolume is cut into boxes
Floats = npt.NDArray[np.float64]


class GaussianProcess(BaseSearcher):
    """Model each loss and limit, and ask where the expected improvement is largest.

    The acquisition is the logarithm of the expected improvement for one loss, of the expected
    hypervolume improvement for two or three, and of the improvement of a random weighting for
    more, times the chance that all limits hold. It is climbed by its gradient from the best of
    many candidates, then over designs, so that choices, conditions and ``require`` hold exactly.
    Losses are warped to look normal. A batch is chosen one design after the other, each believing
    the means at those before it and in flight. Fits are made in ``step``: some tens of
    milliseconds at 100 trials, so it suits environments that take longer, up to some hundreds of
    evaluations.

    Args:
        startup: designs at the beginning, at least 4: the center, then random ones.

    Source: Jones, Schonlau, Welch: Efficient Global Optimization, Journal of Global Optimization
    1998; Ament et al., NeurIPS 2023; random weightings: Knowles: ParEGO, IEEE TEC 2006.
    """

    name = "gp"
    preferred_block = 1
    preferred_window = 1

    def __init__(self, *, startup: int = 8) -> None:
        self.startup = whole("startup", startup, 4)

    def start(
        self,
        space: Space,
        objectives: Objectives,
        *,
        seed: int,
        capabilities: Mapping[str, Any],
    ) -> None:
        """Begin.

        Raises:
            SpecificationError: the space has no unit cube.
        """
        del capabilities
        self._space = space
        self._cube = unit_cube(self.name, space)
        self._features, self._columns, self._numbers = _features(self._cube)
        self._steps = Steps(space)
        self._fine = [Steps(space, scale=scale) for scale in _SCALES]
        self._rng = np.random.default_rng(seed)
        self._memory = Memory(space)
        self._told = space.concatenate([])
        self._losses = np.empty((0, len(objectives.losses)))
        self._violations = np.empty((0, len(objectives.constraints)))
        self._feasible = np.empty(0, dtype=bool)
        self._first = 0  # designs of the beginning asked so far
        self._queue = space.concatenate([])
        self._flight: deque[Any] = deque()
        self._wanted = 1
        self._hyper: dict[str, Floats] = {}  # where the next fits begin

    def ask(self, n: int) -> Any:
        """Return first designs, then those chosen in ``step``; none before a step."""
        fresh = min(n, self.startup - self._first)
        if fresh <= 0 and not self._models_possible and not len(self._queue):
            fresh = n  # nothing to learn from yet
        if fresh > 0:
            asked = self._space.sample(self._rng, fresh)
            if self._first == 0:
                center = self._cube.decode(np.full((1, self._cube.width), 0.5))
                asked = self._space.concatenate([center, asked.take(np.arange(1, fresh))])
            asked = self._memory.renew(asked, self._change, self._rng)
            self._first += fresh
        else:
            count = min(n, len(self._queue))
            asked = self._queue.take(np.arange(count))
            self._queue = self._queue.take(np.arange(count, len(self._queue)))
            self._wanted = n
        self._flight.extend(asked.take(np.array([i])) for i in range(len(asked)))
        return asked

    def tell(self, trials: Trials) -> None:
        """Take losses and violations."""
        for _ in range(len(trials)):
            self._flight.popleft()
        self._take(trials)

    def learn(self, trials: Trials) -> None:
        """Take trials known beforehand; they count as the beginning."""
        self._memory.add(trials.designs)
        self._take(trials)
        self._first = min(self.startup, self._first + len(trials))

    def step(self) -> bool:
        """Fit models and choose some designs, if there are none to ask."""
        if len(self._queue) or not self._models_possible:
            return False
        # several threads are slower on matrices this small, and sum in other orders
        with threadpool_limits(limits=1, user_api="blas"):
            self._queue = self._choose(min(self._wanted, _PICKS))
        return bool(len(self._queue))

    def _take(self, trials: Trials) -> None:
        scores = trials.scores
        self._told = self._space.concatenate([self._told, trials.designs])
        self._losses = np.concatenate([self._losses, scores.losses])
        self._violations = np.concatenate([self._violations, scores.violations])
        self._feasible = np.concatenate([self._feasible, scores.feasible])

    @property
    def _models_possible(self) -> bool:
        """Whether enough designs have known losses."""
        return int(np.isfinite(self._losses).all(axis=1).sum()) >= 4

    def _choose(self, count: int) -> Any:
        """Return the designs to ask next."""
        rows = self._rows()
        acquisition = self._acquisition(rows)
        flight = list(self._flight)[-_PENDING:]
        if flight:
            acquisition.believe(self._points(self._space.concatenate(flight)))
        chosen: list[Any] = []
        for _ in range(count):
            pool = self._pool(rows)
            if not len(pool):
                break
            best = self._best(acquisition, pool)
            self._memory.add(best)
            chosen.append(best)
            if len(chosen) < count:
                acquisition.believe(self._points(best))
        if not chosen:  # the space has no new design
            return self._space.sample(self._rng, count)
        return self._space.concatenate(chosen)

    def _acquisition(self, rows: npt.NDArray[np.intp]) -> Improvement | HypervolumeImprovement:
        """Fit models to trials."""
        points = self._points(self._told.take(rows))
        losses, violations = self._losses[rows], self._violations[rows]
        known = np.isfinite(losses).all(axis=1)
        broken = np.where(np.isnan(violations), 1.0, violations) > 0
        limits = [
            self._fit(f"limit {i}", points, _excess(violations[:, i], broken[:, i]), rough=True)
            for i in np.flatnonzero(broken.any(axis=0) & ~broken.all(axis=0)).tolist()
        ]
        k = losses.shape[1]
        good = known & self._feasible[rows]
        columns = np.column_stack([warped(column) for column in losses[known].T])
        if k == 1 or k > _BOXED:
            values = columns[:, 0] if k == 1 else self._weighted(columns)
            model = self._fit("loss", points[known], values)
            # the mean there, not the value: a lucky measurement is not the one to beat
            shown = good if good.any() else known
            best = float(model.predict(points[shown])[0].min())
            return Improvement(model, limits, best)
        models = [self._fit(f"loss {i}", points[known], columns[:, i]) for i in range(k)]
        seen = columns[good[known]] if good.any() else columns
        front = seen[nondominated(seen)]
        span = front.max(axis=0) - front.min(axis=0)
        span = np.where(span > 0, span, columns.std(axis=0) + 1e-12)
        return HypervolumeImprovement(models, limits, front, front.max(axis=0) + 0.1 * span)

    def _weighted(self, columns: Floats) -> Floats:
        """Return losses joined by a random augmented Chebyshev weighting."""
        low, high = columns.min(axis=0), columns.max(axis=0)
        scaled = (columns - low) / np.where(high > low, high - low, 1.0)
        weighted = scaled * self._rng.dirichlet(np.ones(columns.shape[1]))
        return np.asarray(weighted.max(axis=1) + 0.05 * weighted.sum(axis=1))

    def _fit(
        self, name: str, points: Floats, values: Floats, *, rough: bool = False
    ) -> Regression:
        # now and then from the prior: a fit that follows the last one stays where that was
        begin = None if len(self._told) % _ANEW == 0 else self._hyper.get(name)
        model = Regression(self._features, points, values, begin=begin, rough=rough)
        self._hyper[name] = model.hyper
        return model

    def _best(self, acquisition: Improvement | HypervolumeImprovement, pool: Any) -> Any:
        """Return the best new design found from a pool."""
        points = self._points(pool)
        values = acquisition(points)
        order = np.argsort(-values, kind="stable")[:_CLIMBS]
        if isinstance(acquisition, Improvement) and len(self._numbers):
            climbed = np.array([self._climb(acquisition, points[at]) for at in order])
            pool = self._space.concatenate(
                [pool.take(order), self._cube.decode(self._unit(climbed))]
            )
        else:
            pool = pool.take(order)
        pool = pool.take(np.flatnonzero(self._memory.new(pool)))
        values = acquisition(self._points(pool))
        at = int(values.argmax())
        top, value = pool.take(np.array([at])), float(values[at])
        for steps in self._fine:
            near = steps(self._rng, top.take(np.zeros(64, dtype=np.intp)))
            near = near.take(np.flatnonzero(self._memory.new(near)))
            if not len(near):
                continue
            found = acquisition(self._points(near))
            if float(found.max()) > value:
                top = near.take(np.array([int(found.argmax())]))
                value = float(found.max())
        return top

    def _climb(self, acquisition: Improvement, point: Floats) -> Floats:
        """Return a point where the acquisition is larger; choices stay."""
        numbers = self._numbers

        def loss(some: Floats) -> tuple[float, Floats]:
            whole = point.copy()
            whole[numbers] = some
            value, slope = acquisition.with_gradient(whole)
            return -value, -slope[numbers]

        found = minimize(
            loss,
            point[numbers],
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, 1.0)] * len(numbers),
            options={"maxiter": 30},
        )
        climbed = point.copy()
        climbed[numbers] = np.clip(found.x, 0.0, 1.0)
        return climbed

    def _pool(self, rows: npt.NDArray[np.intp]) -> Any:
        """Return new designs: random ones, and one to three steps from the best."""
        total = np.where(
            self._feasible[rows],
            0.0,
            np.nan_to_num(self._violations[rows], nan=1e9).sum(axis=1) + 1e-12,
        )
        losses = self._losses[rows]
        weights = self._rng.dirichlet(np.ones(losses.shape[1]), size=16)
        spread = np.nanstd(losses, axis=0)
        scaled = np.nan_to_num(losses / np.where(spread > 0, spread, 1.0), nan=1e9)
        best = np.concatenate(
            [
                np.lexsort((scaled @ weight, total))[:4]
                for weight in weights[: 1 if losses.shape[1] == 1 else 16]
            ]
        )
        count = _POOL // 2
        good = self._told.take(rows[self._rng.choice(best, size=count)])
        stepped: list[Any] = []
        for _ in range(3):
            good = self._change(good)
            stepped.append(good.take(np.arange(len(stepped), count, 3)))
        pool = self._space.concatenate([*stepped, self._space.sample(self._rng, _POOL)])
        return pool.take(np.flatnonzero(self._memory.new(pool)))

    def _rows(self) -> npt.NDArray[np.intp]:
        """Return the trials to fit to: all, or the best and the newest of very many."""
        n = len(self._told)
        if n <= _ROWS:
            return np.arange(n)
        total = np.nan_to_num(self._violations, nan=1e9).sum(axis=1)
        scaled = (
            np.nan_to_num(self._losses, nan=np.inf).argsort(axis=0).argsort(axis=0).min(axis=1)
        )
        best = np.lexsort((scaled, total))[: _ROWS // 2]
        return np.union1d(best, np.arange(n - _ROWS // 2, n))

    def _points(self, designs: Any) -> Floats:
        unit: Floats = self._cube.encode(designs)
        return unit[:, self._columns]

    def _unit(self, points: Floats) -> Floats:
        unit = np.full((len(points), self._cube.width), 0.5)
        unit[:, self._columns] = points
        return unit

    def _change(self, designs: Any) -> Any:
        return self._steps(self._rng, designs)

    def state(self) -> dict[str, Any]:
        """Return what was told and is in flight; models are fitted again from it."""
        plain = self._space.concatenate(list(self._flight))
        return {
            "rng": self._rng.bit_generator.state,
            "asked": self._memory.state(),
            "told": plain_designs(self._space, self._told),
            "losses": self._losses.tolist(),
            "violations": self._violations.tolist(),
            "feasible": self._feasible.tolist(),
            "first": self._first,
            "queue": plain_designs(self._space, self._queue),
            "flight": plain_designs(self._space, plain),
            "wanted": self._wanted,
            "hyper": {name: hyper.tolist() for name, hyper in self._hyper.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self._rng.bit_generator.state = state["rng"]
        self._memory.restore(state["asked"])
        self._told = designs_from(self._space, state["told"])
        shape = (len(self._told), -1)
        if len(self._told):
            self._losses = np.array(state["losses"], dtype=np.float64).reshape(shape)
            self._violations = np.array(state["violations"], dtype=np.float64).reshape(shape)
            self._feasible = np.array(state["feasible"], dtype=bool)
        self._first, self._wanted = state["first"], state["wanted"]
        self._queue = designs_from(self._space, state["queue"])
        flight = designs_from(self._space, state["flight"])
        self._flight = deque(flight.take(np.array([i])) for i in range(len(flight)))
        self._hyper = {name: np.array(hyper) for name, hyper in state["hyper"].items()}


def _excess(violations: Floats, broken: npt.NDArray[np.bool_]) -> Floats:
    """Return what a limit's model is fitted to: above 0 where it is broken, below where it holds.

    A violation says how far it is broken, not how safely it holds. A step between both would make
    the model believe in sharp edges everywhere; a small one does not.
    """
    far = np.where(broken, violations, 0.0)
    some = far[broken & ~np.isnan(far)]
    usual = float(np.median(some)) if len(some) else 1.0
    share = np.nan_to_num(far / (far + usual), nan=1.0)
    return np.where(broken, np.maximum(share, 0.02), _HELD)


def _features(
    cube: Any,
) -> tuple[Features, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return distances, the coordinates that vary, and which of those are numbers."""
    if not isinstance(cube, ParameterSpace):
        every = np.arange(cube.width)
        return Features(every, np.zeros(cube.width, dtype=bool)), every, every
    part: list[int] = []
    choice: list[bool] = []
    columns: list[int] = []
    at = count = 0
    for item in cube.parameters.values():
        if item.size > 1:
            part += [count] * item.width
            choice += [isinstance(item, Choice) and item.size > 2] * item.width
            columns += range(at, at + item.width)
            count += 1
        at += item.width
    chosen = np.array(choice, dtype=bool)
    features = Features(np.array(part, dtype=np.intp), chosen)
    return features, np.array(columns, dtype=np.intp), np.flatnonzero(~chosen)
