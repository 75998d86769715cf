"""A genetic algorithm over Gray-coded bits, the form that ArchGym compares."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError
from archwright.search.goal import Scores, by_standing, standing
from archwright.search.searcher import Trials
from archwright.search.searchers.bases import Generations, Stateful, taken
from archwright.search.searchers.limits import flag, share, unit_cube, whole
from archwright.search.searchers.selection import tournament
from archwright.search.space import ParameterSpace, designs_from, plain_designs

__all__ = ["GeneticGray", "GrayCode"]

Bits = npt.NDArray[np.bool_]


class GrayCode:
    """Points of the unit cube as rows of bits, so that neighboring cells differ in one bit.

    >>> code = GrayCode([3])
    >>> cells = (np.arange(8)[:, None] + 0.5) / 8
    >>> bits = code.bits(cells)
    >>> (bits[1:] ^ bits[:-1]).sum(axis=1).tolist()
    [1, 1, 1, 1, 1, 1, 1]
    >>> bool((code.points(bits) == cells).all())
    True

    Args:
        lengths: bits of each coordinate.
    """

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = np.array(lengths)
        self.width = int(self.lengths.sum())
        """Bits in all."""
        starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self._coordinate = np.repeat(np.arange(len(lengths)), self.lengths)
        place = np.arange(self.width) - starts[self._coordinate]
        self._shift = self.lengths[self._coordinate] - 1 - place  # most significant bit first
        self._starts: npt.NDArray[np.intp] = starts.astype(np.intp)
        self._value = np.exp2(self._shift)

    def bits(self, points: npt.NDArray[np.float64]) -> Bits:
        """Return the bits of points, shape (n, coordinates) to (n, width)."""
        cells = np.exp2(self.lengths)
        index = np.minimum(np.floor(points * cells), cells - 1).astype(np.int64)
        gray = index ^ (index >> 1)
        return np.asarray((gray[:, self._coordinate] >> self._shift) & 1, dtype=bool)

    def points(self, bits: Bits) -> npt.NDArray[np.float64]:
        """Return the centers of the cells that bits name, shape (n, coordinates)."""
        # a bit of the plain code is the parity of the Gray bits above it and itself
        before: npt.NDArray[np.int64] = np.cumsum(bits, axis=1, dtype=np.int64)
        offset = before[:, self._starts] - bits[:, self._starts]
        plain = (before - offset[:, self._coordinate]) & 1
        index = np.add.reduceat(plain * self._value, self._starts, axis=1)
        return np.asarray((index + 0.5) / np.exp2(self.lengths))


class GeneticGray(Stateful, Generations):
    """Tournament selection, two-point crossover and bit mutation over Gray-coded bits.

    Each parameter has the bits that its number of values needs. As in ArchGym's genetic
    algorithm a generation replaces the one before: the best design so far is not put back.

    >>> from archwright.search import Budget, Goal, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), GeneticGray(population=20),
    ...               budget=Budget(evaluations=300))
    >>> bool(study.run().losses.min() < 0.5)
    True

    Args:
        population: designs a generation, an even number.
        mutation: chance of each bit to flip.
        crossover: chance that a pair of parents exchanges bits.
        tournament: designs drawn for each parent.
        real_bits: bits of a coordinate that has no even list of values (reals, permutations,
            integers spread by ratio).
        renew: flip bits of a child until it is a design not asked before.

    Source: Krishnan et al.: ArchGym, ISCA 2023.
    """

    name = "genetic_gray"

    def __init__(
        self,
        *,
        population: int = 32,
        mutation: float = 0.02,
        crossover: float = 1.0,
        tournament: int = 3,
        real_bits: int = 12,
        renew: bool = True,
    ) -> None:
        self.population = whole("population", population, 2)
        if population % 2:
            raise SpecificationError(f"population: expected an even number, found {population}")
        self.mutation = share("mutation", mutation)
        self.crossover = share("crossover", crossover)
        self.tournament = whole("tournament", tournament, 1)
        self.real_bits = whole("real_bits", real_bits, 1)
        if real_bits > 48:
            raise SpecificationError(f"real_bits: expected at most 48, found {real_bits}")
        self.renew = flag("renew", renew)

    @property
    def preferred_block(self) -> int:  # type: ignore[override]
        """Designs to ask together: a generation."""
        return self.population

    @property
    def preferred_window(self) -> int:  # type: ignore[override]
        """Designs in flight."""
        return self.population

    def learn(self, trials: Trials) -> None:
        """Take the best of trials known beforehand for the first generation."""
        stood = standing(trials.scores)
        best = by_standing(stood)[: self.population]
        self._memory.add(trials.designs)
        self._learn(trials.designs.take(best), taken(trials.scores, best))

    def _begin(self) -> None:
        self._cube = unit_cube(self.name, self._space)
        self._code = GrayCode(_lengths(self._cube, self.real_bits))
        self._parents = self._space.concatenate([])
        self._standing = np.empty((0, 2))
        self._clear()

    def _breed(self) -> Any:
        if not len(self._parents):
            designs = self._space.sample(self._rng, self.population)
        else:
            designs = self._cube.decode(self._code.points(self._mutated(self._children())))
        if self.renew:
            return self._memory.renew(designs, self._flip_one, self._rng)
        return designs

    def _children(self) -> Bits:
        """Return children of parents chosen by tournament, two of each pair."""
        n, width = self.population, self._code.width
        chosen = tournament(self._rng, self._standing, n, self.tournament)
        bits = self._code.bits(self._cube.encode(self._parents))[chosen]
        first, second = bits[::2], bits[1::2]
        cuts = np.sort(self._rng.integers(0, width + 1, size=(n // 2, 2)), axis=1)
        place = np.arange(width)
        inside = (place >= cuts[:, :1]) & (place < cuts[:, 1:])
        inside &= self._rng.random((n // 2, 1)) < self.crossover
        return np.concatenate([np.where(inside, second, first), np.where(inside, first, second)])

    def _mutated(self, bits: Bits) -> Bits:
        return bits ^ (self._rng.random(bits.shape) < self.mutation)

    def _flip_one(self, designs: Any) -> Any:
        bits = self._code.bits(self._cube.encode(designs))
        bits[np.arange(len(bits)), self._rng.integers(self._code.width, size=len(bits))] ^= True
        return self._cube.decode(self._code.points(bits))

    def _learn(self, designs: Any, scores: Scores) -> None:
        self._parents, self._standing = designs, standing(scores)

    def _save(self) -> dict[str, Any]:
        return {
            "parents": plain_designs(self._space, self._parents),
            "standing": self._standing.tolist(),
            **self._save_generation(),
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._parents = designs_from(self._space, state["parents"])
        self._standing = np.array(state["standing"], dtype=np.float64).reshape(-1, 2)
        self._load_generation(state)


def _lengths(space: Any, real_bits: int) -> list[int]:
    """Return the bits of each coordinate of a space's unit cube."""
    if not isinstance(space, ParameterSpace):
        return [real_bits] * space.width
    lengths: list[int] = []
    for item in space.parameters.values():
        if item.even is not None:
            lengths.append(max(1, (int(item.size) - 1).bit_length()))
        else:
            lengths += [real_bits] * item.width
    return lengths
