"""Bayesian optimization with Gaussian processes (BoTorch): few, dear evaluations."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import MissingExtraError
from archwright.search.goal import Objectives
from archwright.search.searcher import Trials, isolated_rng
from archwright.search.searchers.axes import Axes
from archwright.search.searchers.limits import unit_cube, whole
from archwright.search.searchers.memory import Memory
from archwright.search.searchers.steps import Steps
from archwright.search.space import Space, designs_from, plain_designs

__all__ = ["GaussianProcess"]

_PICKS = 8  # designs chosen in one step at most
_PENDING = 16  # trials in flight that the choice accounts for
_POOL = 256  # random candidates; as many again are neighbors of good designs
_ROWS = 400  # trials that a model is fitted to
Floats = npt.NDArray[np.float64]


class GaussianProcess:
    """Model each loss and limit, and ask where the expected improvement is largest.

    The acquisition is qLogNEI for one loss and qLogNEHVI for several, both with constraints; a
    batch is chosen one design after the other, each accounting for those before it and in flight.
    It is maximized over designs, not over the unit cube: random ones and steps from the best, so
    that choices, conditions and ``require`` hold exactly. A choice enters the models as one
    coordinate a value. Fits are made in ``step``, a few seconds each, so it suits environments
    that take seconds or more, up to some hundreds of evaluations.

    Args:
        startup: random designs at the beginning, at least 4.
        samples: samples of the acquisition's Monte Carlo estimate.

    Source: Ament et al.: Unexpected Improvements to Expected Improvement for Bayesian
    Optimization, NeurIPS 2023; Daulton et al.: Parallel Bayesian Optimization of Multiple Noisy
    Objectives with Expected Hypervolume Improvement, NeurIPS 2021; BoTorch (Balandat et al. 2020).
    """

    name = "gp"

    def __init__(self, *, startup: int = 20, samples: int = 64) -> None:
        self.startup = whole("startup", startup, 4)
        self.samples = whole("samples", samples, 8)

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
            MissingExtraError: BoTorch is not installed.
            SpecificationError: the space has no unit cube.
        """
        del capabilities
        try:
            import botorch  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("the searcher gp", "bo") from error
        self._space = space
        self._cube = unit_cube(self.name, space)
        self._axes = Axes(space)
        self._steps = Steps(space)
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._memory = Memory(space)
        self._told = space.concatenate([])
        self._losses = np.empty((0, len(objectives.losses)))
        self._violations = np.empty((0, len(objectives.constraints)))
        self._feasible = np.empty(0, dtype=bool)
        self._first = 0  # random designs asked so far
        self._queue = space.concatenate([])
        self._flight: deque[Any] = deque()
        self._wanted = 1

    def ask(self, n: int) -> Any:
        """Return random designs at first, then those chosen in ``step``; none before a step."""
        fresh = min(n, self.startup - self._first)
        if fresh <= 0 and not self._models_possible and not len(self._queue):
            fresh = n  # nothing to learn from yet
        if fresh > 0:
            asked = self._memory.renew(
                self._space.sample(self._rng, fresh), self._change, self._rng
            )
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
        scores = trials.scores
        self._told = self._space.concatenate([self._told, trials.designs])
        self._losses = np.concatenate([self._losses, scores.losses])
        self._violations = np.concatenate([self._violations, scores.violations])
        self._feasible = np.concatenate([self._feasible, scores.feasible])

    def step(self) -> bool:
        """Fit models and choose some designs, if there are none to ask."""
        if len(self._queue) or not self._models_possible:
            return False
        seed = int(np.random.SeedSequence([self._seed, len(self._memory)]).generate_state(1)[0])
        with isolated_rng(seed):
            self._queue = self._choose(min(self._wanted, _PICKS), seed)
        return bool(len(self._queue))

    @property
    def _models_possible(self) -> bool:
        """Whether enough designs have known losses."""
        return int(np.isfinite(self._losses).all(axis=1).sum()) >= 4

    def _choose(self, count: int, seed: int) -> Any:
        """Return the designs to ask next."""
        from archwright.search.searchers.acquisition import Acquisition

        rows = self._rows()
        acquisition = Acquisition(
            self._features(self._told.take(rows)),
            self._losses[rows],
            self._violations[rows],
            pending=self._features(self._space.concatenate(list(self._flight)[-_PENDING:])),
            samples=self.samples,
            seed=seed,
        )
        pool = self._pool(rows)
        chosen = []
        for _ in range(count):
            if not len(pool):
                break
            values = acquisition(self._features(pool))
            top = pool.take(np.array([int(values.argmax())]))
            near = self._steps(self._rng, top.take(np.zeros(64, dtype=np.intp)))
            near = near.take(np.flatnonzero(self._memory.new(near)))
            best = values.max()
            if len(near):
                found = acquisition(self._features(near))
                if found.max() > best:
                    top = near.take(np.array([int(found.argmax())]))
            self._memory.add(top)
            acquisition.choose(self._features(top))
            chosen.append(top)
            pool = pool.take(np.flatnonzero(self._memory.new(pool)))
        if not chosen:  # the space has no new design
            chosen = [self._space.sample(self._rng, count)]
        return self._space.concatenate(chosen)

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
        good = self._told.take(rows[self._rng.choice(best, size=_POOL)])
        stepped: list[Any] = []
        for _ in range(3):
            good = self._change(good)
            stepped.append(good.take(np.arange(len(stepped), _POOL, 3)))
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

    def _features(self, designs: Any) -> Floats:
        return self._axes.points(self._cube.encode(designs))

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
