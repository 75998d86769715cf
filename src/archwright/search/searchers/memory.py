"""What a searcher has asked, and plain data that its state is made of."""

from __future__ import annotations

import base64
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.space import Space

__all__ = ["Memory"]

_SIZE = 8  # bytes of a digest: of a million designs two agree with a chance of 1 in 10^7


class Memory:
    """The designs asked so far: says which of a batch are new, and finds new ones.

    >>> from archwright.search import Integer, ParameterSpace
    >>> space = ParameterSpace({"a": Integer(1, 9)})
    >>> memory = Memory(space)
    >>> memory.add(space.design({"a": 1}))
    >>> memory.new(space.from_columns({"a": [1, 2, 2]})).tolist()
    [False, True, False]
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._known: set[bytes] = set()  # digests
        self._order = bytearray()  # the same, one after the other: a state is made of no more

    def __len__(self) -> int:
        return len(self._known)

    def new(self, designs: Any) -> npt.NDArray[np.bool_]:
        """Say which designs were not asked before, nor stand earlier in the batch."""
        return self._new(self._digests(designs))

    def add(self, designs: Any) -> None:
        """Remember designs."""
        self._remember(self._digests(designs))

    def renew(
        self,
        designs: Any,
        change: Callable[[Any], Any],
        rng: np.random.Generator,
        *,
        tries: int = 8,
        add: bool = True,
    ) -> Any:
        """Return the designs, those that are not new changed until they are.

        After ``tries`` changes a design is drawn at random, a last time: so a search that has
        converged goes on with designs it has not seen, and a space without any ends.

        Args:
            designs: what was going to be asked.
            change: gives a neighbor of each design of a batch.
            rng: generator of the draws.
            tries: most changes of a design.
            add: whether to remember the result.
        """
        keys = self._digests(designs)
        new = self._new(keys)
        for trial in range(tries + 1):
            if new.all():
                break
            stale = np.flatnonzero(~new)
            other = (
                change(designs.take(stale))
                if trial < tries
                else self._space.sample(rng, len(stale))
            )
            place = np.arange(len(designs))
            place[stale] = len(designs) + np.arange(len(stale))
            designs = self._space.concatenate([designs, other]).take(place)
            keys = self._digests(designs)
            new = self._new(keys)
        if add:
            self._remember(keys)
        return designs

    def state(self) -> str:
        """Return digests as text, in the order of asks."""
        return base64.b64encode(self._order).decode()

    def restore(self, state: str) -> None:
        """Take the digests of a state."""
        self._order = bytearray(base64.b64decode(state))
        data = bytes(self._order)
        self._known = {data[i : i + _SIZE] for i in range(0, len(data), _SIZE)}

    def _digests(self, designs: Any) -> list[bytes]:
        return [blake2b(key, digest_size=_SIZE).digest() for key in self._space.keys(designs)]

    def _remember(self, digests: list[bytes]) -> None:
        for digest in digests:
            if digest not in self._known:
                self._known.add(digest)
                self._order += digest

    def _new(self, digests: list[bytes]) -> npt.NDArray[np.bool_]:
        known = self._known
        if len(set(digests)) == len(digests) and known.isdisjoint(digests):
            return np.ones(len(digests), dtype=bool)
        within: set[bytes] = set()
        found = np.empty(len(digests), dtype=bool)
        for i, digest in enumerate(digests):
            found[i] = not (digest in known or digest in within)
            within.add(digest)
        return found
