"""CMA-ES (Hansen and Ostermeier 2001) on the unit cube, with a distribution for each choice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.goal import Scores, by_standing, standing
from archwright.search.searcher import Trials
from archwright.search.searchers.bases import Generations, Stateful
from archwright.search.searchers.limits import flag, share, unit_cube, whole
from archwright.search.searchers.quadratic import lowest
from archwright.search.searchers.strategy import Categories, Normal
from archwright.search.space import Choice, ParameterSpace, Permutation

__all__ = ["CMAES"]

_MODELED = 20  # most coordinates of a quadratic model
_KEPT = 1000  # trials that it may be fitted to
_RADIUS = 2.0  # how far it is trusted, in deviations
_USUAL = 6  # designs a generation of five parameters
_RATE = 0.2  # share of the way that the chances of choices go towards a generation's best
Floats = npt.NDArray[np.float64]


class CMAES(Stateful, Generations):
    """Adapt a normal distribution over the unit cube to where the good designs lie.

    Best where parameters are reals or long ranges of numbers; a choice of three values or more
    has a distribution over its values beside it. It begins at the center. Only the order of
    designs counts, so feasible ones come first, then those that violate little; one point of each
    generation is the lowest of a quadratic model of what was measured. The deviation of a
    coordinate with few values never falls below a share of their distance, so that it keeps
    moving (the margin of Hamano et al. 2022); a generation without a new design, or a
    distribution that has collapsed, begins anew at a random point with twice the population.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), CMAES(),
    ...               budget=Budget(evaluations=300))
    >>> bool(study.run().losses.min() < 0.4)
    True

    Args:
        population: designs a generation; None for 4 + 1.5 ln(parameters).
        sigma: deviation at the start, as a share of the cube.
        margin: least deviation of a coordinate, as a share of the distance of its values.
        model: whether a quadratic model gives one point of each generation.

    Source: Hansen, Ostermeier: Completely Derandomized Self-Adaptation in Evolution Strategies,
    Evolutionary Computation 2001; Hansen: Injecting External Solutions Into CMA-ES, 2011;
    restarts: Auger and Hansen, CEC 2005.
    """

    name = "cmaes"

    def __init__(
        self,
        *,
        population: int | None = None,
        sigma: float = 1 / 6,
        margin: float = 0.4,
        model: bool = True,
    ) -> None:
        self.population = None if population is None else whole("population", population, 3)
        self.sigma = share("sigma", sigma, above=True)
        self.margin = share("margin", margin)
        self.model = flag("model", model)

    @property
    def preferred_block(self) -> int:  # type: ignore[override]
        """Designs to ask together: a generation, that of five parameters before ``start``."""
        return self.population or int(getattr(self, "_size", _USUAL))

    @property
    def preferred_window(self) -> int:  # type: ignore[override]
        """Designs in flight."""
        return self.preferred_block

    def _begin(self) -> None:
        self._cube = unit_cube(self.name, self._space)
        self._layout()
        parts = len(self._numbers) + len(self._choices)
        self._size = self.population or 4 + int(1.5 * math.log(max(1, parts)))
        self._seen = np.empty((0, len(self._numbers)))  # what the model is fitted to
        self._seen_standing = np.empty((0, 2))
        self._restart(np.full(len(self._numbers), 0.5))
        self._clear()

    def _layout(self) -> None:
        """Part the coordinates of the cube into numbers and choices."""
        numbers: list[int] = []
        choices: list[int] = []
        counts: list[int] = []
        distance: list[float] = []
        snapped: list[bool] = []
        at = 0
        cube = self._cube
        items = list(cube.parameters.values()) if isinstance(cube, ParameterSpace) else []
        for item in items:
            if isinstance(item, Choice) and item.size > 2:
                choices.append(at)
                counts.append(int(item.size))
            elif isinstance(item, Permutation) or item.size > 1:
                numbers += range(at, at + item.width)
                order = isinstance(item, Permutation)
                finite = order or math.isfinite(item.size)
                step = 1.0 / (item.width if order else item.size) if finite else 0.0
                distance += [step] * item.width
                snapped += [not order] * item.width
            at += item.width
        if not items:
            numbers, distance = list(range(cube.width)), [0.0] * cube.width
            snapped = [False] * cube.width
        self._numbers = np.array(numbers, dtype=np.intp)
        self._choices = np.array(choices, dtype=np.intp)
        self._counts = np.array(counts, dtype=np.float64)
        self._distance = np.array(distance)
        self._snapped = np.array(snapped, dtype=bool)

    def _restart(self, mean: Floats) -> None:
        self._normal = (
            Normal(mean, self.sigma, self._size, self.margin * self._distance)
            if len(mean)
            else None
        )
        self._categories = Categories(self._counts.astype(int).tolist())
        self._best = (math.inf, math.inf)
        self._stale = 0  # generations without a better design

    def _breed(self) -> Any:
        points, chosen = self._draw()
        designs = self._cube.decode(self._unit(points, chosen))
        proposed = self._proposed(points, chosen)
        if proposed is not None:
            points[0] = proposed[0]
            place = np.arange(self._size)
            place[0] = self._size
            designs = self._space.concatenate([designs, proposed[1]]).take(place)
        self._fresh = bool(self._memory.new(designs).any())
        self._memory.add(designs)
        self._points, self._chosen = self._measured(points, designs), chosen
        return designs

    def _draw(self) -> tuple[Floats, npt.NDArray[np.intp]]:
        chosen = self._categories.draw(self._rng, self._size)
        if self._normal is None:
            return np.empty((self._size, 0)), chosen
        return self._normal.draw(self._rng), chosen

    def _unit(self, points: Floats, chosen: npt.NDArray[np.intp]) -> Floats:
        unit = np.full((len(points), self._cube.width), 0.5)
        unit[:, self._numbers] = points
        unit[:, self._choices] = (chosen + 0.5) / self._counts
        return unit

    def _proposed(self, points: Floats, chosen: npt.NDArray[np.intp]) -> tuple[Floats, Any] | None:
        """Return the lowest point of a model and its design, if there is a new one."""
        normal = self._normal
        if normal is None or not self.model or points.shape[1] > _MODELED:
            return None
        known = self._seen_standing[:, 0] == 0
        if int(known.sum()) < 4:
            return None
        losses = self._seen_standing[:, 1].copy()
        high = float(losses[known].max())
        span = high - float(losses[known].min())
        losses[~known] = high + span  # where nothing works the model rises
        if not np.isfinite(losses).all():
            return None
        white = lowest(normal.whiten(self._seen), losses, _RADIUS)
        if white is None:
            return None
        point = np.clip(normal.color(white[None, :]), 0.0, 1.0)
        design = self._cube.decode(self._unit(point, chosen[:1]))
        if not self._memory.new(design)[0]:
            return None
        return point[0], design

    def _measured(self, points: Floats, designs: Any) -> Floats:
        """Return points, moved to the designs where repair made them others."""
        if not isinstance(self._cube, ParameterSpace) or not self._cube.require:
            return points
        unit = self._cube.encode(designs)[:, self._numbers]
        other = np.abs(unit - points) > 0.5 * self._distance + 1e-9
        other &= self._snapped & ~np.isnan(designs.codes[:, self._numbers])
        return np.where(other, unit, points)

    def _learn(self, designs: Any, scores: Scores) -> None:
        stood = standing(scores)
        order = by_standing(stood)
        self._remember(designs, stood)
        if self._normal is not None:
            self._normal.adapt(self._points[order])
        half = order[: max(1, self._size // 2)]
        weights = math.log((self._size + 1) / 2) - np.log(np.arange(1, len(half) + 1))
        self._categories.adapt(self._chosen[half], weights / weights.sum(), rate=_RATE)
        best = (float(stood[order[0], 0]), float(stood[order[0], 1]))
        self._stale = 0 if best < self._best else self._stale + 1
        self._best = min(best, self._best)
        parts = len(self._numbers) + len(self._choices)
        lost = self._stale > 20 + 30 * parts / self._size
        collapsed = self._normal is not None and self._normal.collapsed
        if collapsed or lost or not self._fresh:
            self._size *= 2
            drawn = self._cube.encode(self._space.sample(self._rng, 1))[0]
            self._restart(np.clip(drawn[self._numbers], 0.02, 0.98))

    def _remember(self, designs: Any, stood: Floats) -> None:
        unit = self._cube.encode(designs)[:, self._numbers]
        self._seen = np.concatenate([self._seen, unit])[-_KEPT:]
        self._seen_standing = np.concatenate([self._seen_standing, stood])[-_KEPT:]

    def learn(self, trials: Trials) -> None:
        """Begin at the best of trials known beforehand."""
        if not len(trials):
            return
        stood = standing(trials.scores)
        order = by_standing(stood)
        self._memory.add(trials.designs)
        self._remember(trials.designs, stood)
        unit = self._cube.encode(trials.designs)
        self._restart(np.clip(unit[order[0], self._numbers], 0.02, 0.98))
        half = order[: max(1, len(order) // 2)]
        index = np.floor(unit[:, self._choices] * self._counts).astype(np.intp)
        share_each = np.full(len(half), 1.0 / len(half))
        self._categories.adapt(index[half], share_each, rate=0.5)

    def _save(self) -> dict[str, Any]:
        waiting = self._generation is not None
        return {
            "size": self._size,
            "normal": None if self._normal is None else self._normal.state(),
            "categories": self._categories.state(),
            "best": list(self._best),
            "stale": self._stale,
            "fresh": self._fresh if waiting else True,
            "points": self._points.tolist() if waiting else [],
            "chosen": self._chosen.tolist() if waiting else [],
            "seen": self._seen.tolist(),
            "seen_standing": self._seen_standing.tolist(),
            **self._save_generation(),
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._size = state["size"]
        self._restart(np.full(len(self._numbers), 0.5))
        if self._normal is not None:
            self._normal.restore(state["normal"])
        self._categories.restore(state["categories"])
        self._best = (float(state["best"][0]), float(state["best"][1]))
        self._stale, self._fresh = state["stale"], state["fresh"]
        shape = (-1, len(self._numbers))
        n = len(state["points"])
        self._points = np.array(state["points"], dtype=np.float64).reshape(n, len(self._numbers))
        self._chosen = np.array(state["chosen"], dtype=np.intp).reshape(n, len(self._choices))
        seen = np.array(state["seen_standing"], dtype=np.float64).reshape(-1, 2)
        self._seen_standing = seen
        self._seen = np.array(state["seen"], dtype=np.float64).reshape(len(seen), shape[1])
        self._load_generation(state)
