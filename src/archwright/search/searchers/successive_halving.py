"""Successive halving (Jamieson and Talwalkar 2016): many cheap looks, few dear ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archwright.errors import SpecificationError, unknown
from archwright.search.goal import Objectives, Scores, order
from archwright.search.searcher import Proposals, Trials
from archwright.search.searchers.bases import Generations, Stateful
from archwright.search.searchers.limits import share, whole
from archwright.search.space import Space, designs_from, plain_designs

__all__ = ["SuccessiveHalving"]


class SuccessiveHalving(Stateful, Generations):
    """Measure random designs at the cheapest fidelity and promote the best of them.

    At each rung the best 1 / ``eta`` go on to the next fidelity; after the truest it begins again
    with new designs. It pays where a rung costs about ``eta`` times the one below and ranks
    designs much like the truest.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> toy = toy_environment(fidelities={"short": 1.0, "middle": 3.0, "full": 9.0})
    >>> study = Study(toy, Goal(minimize=["cost"]),
    ...               SuccessiveHalving(fidelities=["short", "middle", "full"], designs=27),
    ...               budget=Budget(evaluations=39))
    >>> from collections import Counter
    >>> Counter(study.run().table["fidelity"].to_pylist())
    Counter({'short': 27, 'middle': 9, 'full': 3})

    Args:
        fidelities: names of the rungs, cheapest first; None takes all that the environment has.
        designs: designs of the first rung; None for ``eta`` to the number of rungs minus one.
        eta: one of so many designs is promoted, above 1.

    Source: Jamieson, Talwalkar: Non-stochastic Best Arm Identification and Hyperparameter
    Optimization, AISTATS 2016.
    """

    name = "successive_halving"

    def __init__(
        self,
        *,
        fidelities: Sequence[str] | None = None,
        designs: int | None = None,
        eta: float = 3.0,
    ) -> None:
        self.fidelities = _names(fidelities)
        self.designs = None if designs is None else whole("designs", designs, 1)
        self.eta = share("eta", eta, low=1.0, high=float("inf"), above=True)

    def start(
        self,
        space: Space,
        objectives: Objectives,
        *,
        seed: int,
        capabilities: Mapping[str, Any],
    ) -> None:
        """Begin at the cheapest rung.

        Raises:
            SpecificationError: the goal has several losses, or there are no two fidelities.
        """
        offered = [getattr(f, "name", f) for f in capabilities.get("fidelities", ())]
        for given in self.fidelities or ():
            if offered and given not in offered:
                raise SpecificationError(f"fidelities: {unknown('fidelity', given, offered)}")
        self._rungs = list(self.fidelities or offered)
        if len(self._rungs) < 2:
            raise SpecificationError(
                f"{self.name} needs two fidelities or more, found {self._rungs or 'none'}; give "
                "fidelities = [cheapest, …, truest], or use another searcher"
            )
        super().start(space, objectives, seed=seed, capabilities=capabilities)

    @property
    def preferred_block(self) -> int:  # type: ignore[override]
        """Designs to ask together: they wait for their rung only."""
        return 9

    @property
    def preferred_window(self) -> int:  # type: ignore[override]
        """Designs in flight."""
        return 27

    def learn(self, trials: Trials) -> None:
        """Put the best of trials known beforehand into the first rung; other fidelities differ."""
        best = order(trials.scores)[: self.plan(0)[0][1] // 2]
        self._known = trials.designs.take(best)

    def plan(self, bracket: int) -> list[tuple[str, int]]:
        """Return (fidelity, designs) of each rung of a bracket, after ``start``."""
        del bracket
        first = self.designs or round(self.eta ** (len(self._rungs) - 1))
        return self._halved(self._rungs, first)

    def ask(self, n: int) -> Proposals:
        """Return designs of this rung; none while it is being evaluated."""
        designs = super().ask(n)
        return Proposals(designs=designs, fidelity=(self._fidelity,) * len(designs))

    def _halved(self, rungs: list[str], first: int) -> list[tuple[str, int]]:
        kept = ((rung, int(first / self.eta**i + 1e-9)) for i, rung in enumerate(rungs))
        return [(rung, count) for rung, count in kept if count]

    def _begin(self) -> None:
        self._bracket, self._rung = 0, 0
        self._promoted = self._space.concatenate([])
        self._known = self._space.concatenate([])
        self._fidelity = self._rungs[0]
        self._clear()

    def _breed(self) -> Any:
        rung = self.plan(self._bracket)[self._rung]
        self._fidelity = rung[0]
        if self._rung:
            return self._promoted
        known, self._known = self._known, self._space.concatenate([])
        drawn = self._space.sample(self._rng, rung[1] - len(known))
        drawn = self._space.concatenate([known, drawn])
        return self._memory.renew(
            drawn, lambda some: self._space.sample(self._rng, len(some)), self._rng
        )

    def _learn(self, designs: Any, scores: Scores) -> None:
        plan = self.plan(self._bracket)
        self._rung += 1
        if self._rung == len(plan):
            self._bracket, self._rung = self._bracket + 1, 0
            return
        self._promoted = designs.take(order(scores)[: plan[self._rung][1]])

    def _save(self) -> dict[str, Any]:
        return {
            "bracket": self._bracket,
            "rung": self._rung,
            "fidelity": self._fidelity,
            "known": plain_designs(self._space, self._known),
            "promoted": plain_designs(self._space, self._promoted),
            **self._save_generation(),
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._bracket, self._rung = state["bracket"], state["rung"]
        self._fidelity = state["fidelity"]
        self._promoted = designs_from(self._space, state["promoted"])
        self._known = designs_from(self._space, state["known"])
        self._load_generation(state)


def _names(fidelities: Any) -> tuple[str, ...] | None:
    if fidelities is None:
        return None
    texts = not isinstance(fidelities, str) and all(isinstance(f, str) for f in fidelities)
    if not texts or len(set(fidelities)) < max(2, len(fidelities)):
        raise SpecificationError(
            f"fidelities: expected two or more names, cheapest first, found {fidelities!r}"
        )
    return tuple(fidelities)
