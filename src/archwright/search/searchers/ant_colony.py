"""Ant colony: pheromone on the values of each parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError
from archwright.search.goal import Scores, by_standing, standing
from archwright.search.searcher import Trials
from archwright.search.searchers.bases import Generations, Stateful
from archwright.search.searchers.limits import flag, share, unit_cube, whole
from archwright.search.searchers.steps import Steps
from archwright.search.space import ParameterSpace, Permutation

__all__ = ["AntColony"]

_MOST = 1024  # values of one parameter that each have their own pheromone
Floats = npt.NDArray[np.float64]


class AntColony(Stateful, Generations):
    """Ants choose the values of a design one parameter after the other, by pheromone.

    With probability ``greediness`` an ant takes the value with the most pheromone (ties at
    random), else one drawn in proportion to it. What an ant took decays towards the start at
    once, so that the next ant differs: tau becomes (1 - decay) tau + decay · start. When all ants
    of an iteration are told, the path of the best ant so far is reinforced: tau becomes
    (1 - evaporation) tau + evaporation · deposit.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), AntColony(),
    ...               budget=Budget(evaluations=300))
    >>> bool(study.run().losses.min() < 0.5)
    True

    Args:
        ants: ants an iteration.
        iterations: iterations after which it has finished; None: none.
        greediness: probability of the value with the most pheromone.
        evaporation: weight of the deposit in the global update.
        decay: weight of the start in the local update.
        start_pheromone: pheromone of every value at the start.
        together: ants that choose before any of their local updates shows; 1 is one by one.
        deposit: pheromone that the best path tends to; ``reciprocal`` for 1 / (10 · loss), which
            needs positive losses.
        levels: equal cells of a real, or of an integer with more than 1024 values; a value is
            drawn inside its cell.
        renew: change a design until it is one not asked before.

    Source: the rules are those of ArchGym's ant colony (Krishnan et al., ISCA 2023), taken from
    DeepSwarm (Byla and Pang 2019).
    """

    name = "ant_colony"
    _best: npt.NDArray[np.intp] | None

    def __init__(
        self,
        *,
        ants: int = 16,
        iterations: int | None = None,
        greediness: float = 0.25,
        evaporation: float = 0.1,
        decay: float = 0.1,
        start_pheromone: float = 0.1,
        deposit: float | str = 1.0,
        levels: int = 32,
        together: int = 8,
        renew: bool = True,
    ) -> None:
        self.ants = whole("ants", ants, 1)
        self.iterations = None if iterations is None else whole("iterations", iterations, 1)
        self.greediness = share("greediness", greediness)
        self.evaporation = share("evaporation", evaporation)
        self.decay = share("decay", decay)
        most = float("inf")
        self.start_pheromone = share("start_pheromone", start_pheromone, high=most, above=True)
        if isinstance(deposit, str) and deposit != "reciprocal":
            raise SpecificationError(
                f"deposit: expected a number or 'reciprocal', found {deposit!r}"
            )
        self.deposit = (
            deposit
            if isinstance(deposit, str)
            else share("deposit", deposit, high=most, above=True)
        )
        self.levels = whole("levels", levels, 2)
        self.together = whole("together", together, 1)
        self.renew = flag("renew", renew)

    @property
    def preferred_block(self) -> int:  # type: ignore[override]
        """Designs to ask together: an iteration."""
        return self.ants

    @property
    def preferred_window(self) -> int:  # type: ignore[override]
        """Designs in flight."""
        return self.ants

    def learn(self, trials: Trials) -> None:
        """Lay pheromone on the paths of trials known beforehand, the best last."""
        stood = standing(trials.scores)
        self._memory.add(trials.designs)
        paths = self._path_of(trials.designs)
        for at in by_standing(stood)[: self.ants][::-1]:
            self._best = paths[at].copy()
            self._best_standing = (float(stood[at, 0]), float(stood[at, 1]))
            self._reinforce()

    def _begin(self) -> None:
        cube = unit_cube(self.name, self._space)
        if not isinstance(cube, ParameterSpace):
            raise SpecificationError(
                f"ant_colony needs named parameters, {cube!r} has none; use random, local, "
                "annealing or regularized_evolution"
            )
        self._cube = cube
        self._steps = Steps(cube)
        self._grids: list[Floats] = []  # unit coordinate of each value
        cells: list[float] = []  # width of the cell that is drawn from, 0 for an exact value
        for name, item in cube.parameters.items():
            if isinstance(item, Permutation) and item.length > 1:
                raise SpecificationError(
                    f"ant_colony cannot order {name!r} (Permutation); use local, annealing, "
                    "regularized_evolution or genetic"
                )
            exact = item.size <= _MOST
            count = int(item.size) if exact else self.levels
            grid = item.to_unit(item.enumerate())[:, 0] if exact else np.arange(count) / count
            self._grids.append(grid)
            cells.append(0.0 if exact else 1.0 / count)
        self._cells = np.array(cells)
        widest = max(len(grid) for grid in self._grids)
        self._units = np.zeros((len(cells), widest))
        self.pheromone = np.zeros((len(cells), widest))
        """Pheromone, a row a parameter, a column a value; 0 beyond a parameter's values."""
        for row, grid in enumerate(self._grids):
            self._units[row, : len(grid)] = grid
            self.pheromone[row, : len(grid)] = self.start_pheromone
        self._counts = np.array([len(grid) for grid in self._grids], dtype=np.float64)
        self._uneven = [
            row
            for row, item in enumerate(cube.parameters.values())
            if item.even is None and not cells[row]
        ]
        self._iteration = 0
        self._best = None
        self._best_standing = (np.inf, np.inf)
        self._paths: npt.NDArray[np.intp] = np.empty((0, len(cells)), dtype=np.intp)
        self._clear()

    def _breed(self) -> Any:
        if self.iterations is not None and self._iteration >= self.iterations:
            return self._space.concatenate([])
        self._iteration += 1
        self._paths = self._walk()
        rows = np.arange(len(self._cells))
        unit = self._units[rows, self._paths]
        inside = self._rng.random(unit.shape) if self._cells.any() else 0.0
        designs = self._cube.decode(unit + inside * self._cells)
        if self.renew:
            drawn = designs
            designs = self._memory.renew(
                drawn, lambda some: self._steps(self._rng, some), self._rng
            )
            if designs is not drawn:
                self._paths = self._path_of(designs)
        return designs

    def _walk(self) -> npt.NDArray[np.intp]:
        """Return the value index of each ant and parameter, with the local update of each ant."""
        count = len(self._cells)
        tau, rows = self.pheromone, np.arange(count)
        greedy = self._rng.random((self.ants, count)) < self.greediness
        # a wheel of the pheromone for each parameter, then one of its largest values
        wheel = rows + count * greedy
        drawn = self._rng.random((self.ants, count))
        paths = np.empty((self.ants, count), dtype=np.intp)
        left = (1.0 - self.decay) ** np.arange(self.together + 1)
        for first in range(0, self.ants, self.together):
            group = slice(first, first + self.together)
            most = tau == tau.max(axis=1, keepdims=True)
            at = _spun(np.concatenate([tau, most]), wheel[group], drawn[group])
            paths[group] = np.minimum(at, self._counts - 1)
            cells = (paths[group] + rows * tau.shape[1]).ravel()
            passed = np.bincount(cells, minlength=tau.size).reshape(tau.shape)
            # what k updates of tau <- (1 - decay) tau + decay start come to
            tau += (1.0 - left[passed]) * (self.start_pheromone - tau)
        return paths

    def _learn(self, designs: Any, scores: Scores) -> None:
        del designs
        compared = standing(scores)
        at = int(by_standing(compared)[0])
        found = (float(compared[at, 0]), float(compared[at, 1]))
        if self._best is None or found < self._best_standing:
            self._best, self._best_standing = self._paths[at].copy(), found
        self._reinforce()

    def _reinforce(self) -> None:
        """Lay pheromone on the best path."""
        rows = np.arange(len(self._cells))
        tau = self.pheromone[rows, self._best]
        self.pheromone[rows, self._best] = tau + self.evaporation * (self._deposited() - tau)

    def _deposited(self) -> float:
        if not isinstance(self.deposit, str):
            return self.deposit
        group, loss = self._best_standing
        if group > 0:
            return self.start_pheromone  # nothing feasible yet, nothing to reinforce
        if not loss > 0:
            raise SpecificationError(
                f"deposit: 'reciprocal' needs positive losses, found {loss!r}; give a number"
            )
        return 1.0 / (10.0 * loss)

    def _path_of(self, designs: Any) -> npt.NDArray[np.intp]:
        """Return the value indices of designs, which a step may have changed."""
        unit = self._cube.encode(designs)
        path = np.minimum(np.floor(unit * self._counts), self._counts - 1).astype(np.intp)
        for column in self._uneven:
            path[:, column] = np.abs(unit[:, column, None] - self._grids[column]).argmin(axis=1)
        return path

    def _save(self) -> dict[str, Any]:
        return {
            "pheromone": self.pheromone.tolist(),
            "iteration": self._iteration,
            "best": None if self._best is None else self._best.tolist(),
            "best_standing": list(self._best_standing),
            "paths": self._paths.tolist(),
            **self._save_generation(),
        }

    def _load(self, state: dict[str, Any]) -> None:
        self.pheromone = np.array(state["pheromone"])
        self._iteration = state["iteration"]
        best = state["best"]
        self._best = None if best is None else np.array(best, dtype=np.intp)
        group, value = state["best_standing"]
        self._best_standing = (float(group), float(value))
        self._paths = np.array(state["paths"], dtype=np.intp).reshape(-1, len(self._cells))
        self._load_generation(state)


def _spun(weights: Floats, wheel: npt.NDArray[np.intp], drawn: Floats) -> npt.NDArray[np.intp]:
    """Spin roulette wheels, one a row of weights; ``drawn`` holds numbers below 1."""
    total = weights.cumsum(axis=1)
    # one ascending array of all wheels
    wheels = (total / total[:, -1:] + np.arange(len(weights))[:, None]).ravel()
    found = np.searchsorted(wheels, drawn + wheel, side="right") - wheel * weights.shape[1]
    return np.asarray(found, dtype=np.intp)
