"""Simulated annealing (Kirkpatrick et al. 1983), several chains at once."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.goal import by_standing, standing
from archwright.search.searcher import Trials
from archwright.search.searchers.bases import Stateful
from archwright.search.searchers.limits import share, whole
from archwright.search.searchers.steps import Steps
from archwright.search.space import designs_from, plain_designs

__all__ = ["Annealing"]


class Annealing(Stateful):
    """Chains of small steps; a worse design is accepted with probability exp(-increase / T).

    The temperature T of a chain falls by ``cooling`` with each step, in units of the standard
    deviation of the losses of random designs, so that a goal in seconds and one in joules need
    the same options. Below ``final_temperature`` the chain is heated again and goes on from the
    best design found. A feasible design always beats an infeasible one, and among infeasible ones
    the smaller violation wins. Each chain waits for its own last step.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), Annealing(),
    ...               budget=Budget(evaluations=300))
    >>> bool(study.run().losses.min() < 0.5)
    True

    Args:
        chains: chains, and so designs in flight at most.
        initial_temperature: temperature of the first step.
        cooling: factor of each step, above 0 and below 1.
        final_temperature: temperature at which a chain is heated again.
        scale: typical step of an ordered parameter, as a share of its range.

    Source: Kirkpatrick, Gelatt, Vecchi: Optimization by Simulated Annealing, Science 1983.
    """

    name = "annealing"

    def __init__(
        self,
        *,
        chains: int = 4,
        initial_temperature: float = 0.2,
        cooling: float = 0.9,
        final_temperature: float = 0.01,
        scale: float = 0.1,
    ) -> None:
        most = float("inf")
        self.chains = whole("chains", chains, 1)
        self.final_temperature = share("final_temperature", final_temperature, above=True)
        self.initial_temperature = share(
            "initial_temperature", initial_temperature, low=self.final_temperature, high=most
        )
        self.cooling = share("cooling", cooling, high=0.9999, above=True)
        self.scale = share("scale", scale, above=True)

    @property
    def preferred_block(self) -> int:  # type: ignore[override]
        """Designs to ask together: a step of each chain."""
        return self.chains

    @property
    def preferred_window(self) -> int:  # type: ignore[override]
        """Designs in flight."""
        return self.chains

    def _begin(self) -> None:
        self._steps = Steps(self._space, scale=self.scale)
        self._current = self._space.concatenate([])  # rows of chains that have begun
        self._row = np.full(self.chains, -1, dtype=np.intp)  # chain to its row, -1: not begun
        self._standing = np.full((self.chains, 2), np.inf)
        self._temperature = np.full(self.chains, self.initial_temperature)
        self._best = self._space.concatenate([])
        self._best_standing = np.full(2, np.inf)
        self._free = list(range(self.chains))
        self._flight: deque[int] = deque()
        self._moments = [0.0, 0.0, 0.0]  # count, mean, sum of squares of the first losses

    def ask(self, n: int) -> Any:
        """Return a step of each free chain."""
        chains, self._free = self._free[:n], self._free[n:]
        self._flight.extend(chains)
        begun = [chain for chain in chains if self._row[chain] >= 0]
        asked = self._space.sample(self._rng, len(chains) - len(begun))
        if begun:
            stepped = self._change(self._current.take(self._row[begun]))
            place = np.empty(len(chains), dtype=np.intp)
            is_begun = self._row[chains] >= 0
            place[~is_begun] = np.arange(len(asked))
            place[is_begun] = len(asked) + np.arange(len(begun))
            asked = self._space.concatenate([asked, stepped]).take(place)
        return self._memory.renew(asked, self._change, self._rng)

    def tell(self, trials: Trials) -> None:
        """Accept or reject each step, and cool."""
        n = len(trials)
        if not n:
            return
        chains = np.array([self._flight.popleft() for _ in range(n)])
        self._free += chains.tolist()
        new, old = standing(trials.scores), self._standing[chains]
        first = self._row[chains] < 0
        for loss in new[first & (new[:, 0] == 0), 1]:
            self._count(float(loss))
        accepted = first | self._accept(new, old, self._temperature[chains])
        self._remember_best(trials.designs, new)
        self._move(chains[accepted], trials.designs.take(np.flatnonzero(accepted)), new[accepted])
        self._temperature[chains] *= self.cooling
        for chain in chains[self._temperature[chains] < self.final_temperature]:
            self._temperature[chain] = self.initial_temperature
            self._move(np.array([chain]), self._best, self._best_standing[None, :])

    def learn(self, trials: Trials) -> None:
        """Begin the chains at the best of trials known beforehand."""
        if not len(trials):
            return
        stood = standing(trials.scores)
        self._memory.add(trials.designs)
        for loss in stood[stood[:, 0] == 0, 1]:
            self._count(float(loss))
        self._remember_best(trials.designs, stood)
        best = by_standing(stood)[: self.chains]
        self._move(np.arange(len(best)), trials.designs.take(best), stood[best])

    def _accept(
        self, new: npt.NDArray[Any], old: npt.NDArray[Any], temperature: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        drawn = self._rng.random(len(new))
        heat = temperature * self._spread()
        rise = np.where(np.isfinite(new[:, 1] - old[:, 1]), new[:, 1] - old[:, 1], np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            thermal = np.where(heat > 0, np.exp(-np.maximum(rise, 0.0) / heat), 0.0)
        both_feasible = (new[:, 0] == 0) & (old[:, 0] == 0)
        no_worse = (new[:, 0] < old[:, 0]) | ((new[:, 0] == old[:, 0]) & (new[:, 1] <= old[:, 1]))
        return np.asarray(no_worse | (both_feasible & (drawn < thermal)))

    def _move(self, chains: npt.NDArray[Any], designs: Any, scores: npt.NDArray[Any]) -> None:
        """Put chains onto designs."""
        if not len(chains):
            return
        self._standing[chains] = scores
        fresh = chains[self._row[chains] < 0]
        keep = self._space.concatenate([self._current, designs])
        place = np.arange(len(self._current) + len(fresh))
        self._row[fresh] = len(self._current) + np.arange(len(fresh))
        place[self._row[chains]] = len(self._current) + np.arange(len(chains))
        self._current = keep.take(place)

    def _remember_best(self, designs: Any, scores: npt.NDArray[Any]) -> None:
        at = int(by_standing(scores)[0])
        if not len(self._best) or tuple(scores[at]) < tuple(self._best_standing):
            self._best, self._best_standing = designs.take(np.array([at])), scores[at].copy()

    def _count(self, loss: float) -> None:
        if np.isfinite(loss):
            count, mean, squares = self._moments
            self._moments = [
                count + 1,
                mean + (loss - mean) / (count + 1),
                squares + (loss - mean) ** 2 * count / (count + 1),
            ]

    def _spread(self) -> float:
        count, _, squares = self._moments
        return float(np.sqrt(squares / (count - 1))) if count > 1 else 0.0

    def _change(self, designs: Any) -> Any:
        return self._steps(self._rng, designs)

    def _save(self) -> dict[str, Any]:
        return {
            "current": plain_designs(self._space, self._current),
            "row": self._row.tolist(),
            "standing": self._standing.tolist(),
            "temperature": self._temperature.tolist(),
            "best": plain_designs(self._space, self._best),
            "best_standing": self._best_standing.tolist(),
            "free": self._free,
            "flight": list(self._flight),
            "moments": self._moments,
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._current = designs_from(self._space, state["current"])
        self._row = np.array(state["row"], dtype=np.intp)
        self._standing = np.array(state["standing"], dtype=np.float64)
        self._temperature = np.array(state["temperature"], dtype=np.float64)
        self._best = designs_from(self._space, state["best"])
        self._best_standing = np.array(state["best_standing"], dtype=np.float64)
        self._free = list(state["free"])
        self._flight = deque(state["flight"])
        self._moments = list(state["moments"])
