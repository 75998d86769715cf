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
        self._known: set[bytes] = set()
        self._before: set[bytes] = set()  # digests of what was asked before a restore

    def __len__(self) -> int:
        return len(self._known) + len(self._before)

    def new(self, designs: Any) -> npt.NDArray[np.bool_]:
        """Say which designs were not asked before, nor stand earlier in the batch."""
        return self._new(self._space.keys(designs))

    def add(self, designs: Any) -> None:
        """Remember designs."""
        self._remember(self._space.keys(designs))

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
        keys = self._space.keys(designs)
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
            keys = self._space.keys(designs)
            new = self._new(keys)
        if add:
            self._remember(keys)
        return designs

    def state(self) -> str:
        """Return digests as text."""
        digests = sorted({*map(_digest, self._known), *self._before})
        return base64.b64encode(b"".join(digests)).decode()

    def restore(self, state: str) -> None:
        """Take the digests of a state."""
        data = base64.b64decode(state)
        self._known = set()
        self._before = {data[i : i + 8] for i in range(0, len(data), 8)}

    def _remember(self, keys: list[bytes]) -> None:
        if self._before:
            keys = [key for key in keys if _digest(key) not in self._before]
        self._known.update(keys)

    def _new(self, keys: list[bytes]) -> npt.NDArray[np.bool_]:
        known, before = self._known, self._before
        if len(set(keys)) == len(keys) and known.isdisjoint(keys) and not before:
            return np.ones(len(keys), dtype=bool)
        within: set[bytes] = set()
        found = np.empty(len(keys), dtype=bool)
        for i, key in enumerate(keys):
            found[i] = not (key in known or key in within or (before and _digest(key) in before))
            within.add(key)
        return found


def _digest(key: bytes) -> bytes:
    return blake2b(key, digest_size=8).digest()
