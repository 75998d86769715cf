"""Every design of a space, once, along the tree of its conditions and never all at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from archwright.search.space.design import Designs
from archwright.search.space.parameters import Codes

if TYPE_CHECKING:
    from archwright.search.space.parameter_space import ParameterSpace

__all__ = ["Enumeration"]


class Enumeration:
    """Expands one parameter after another; an inactive one takes part with no value.

    A limit is applied as soon as all that it names has been expanded.

    Args:
        space: the space.
        batch: most rows at a time.
    """

    def __init__(self, space: ParameterSpace, batch: int) -> None:
        self._space = space
        self._batch = batch
        conditions = dict(space.conditions)
        self._order: list[str] = []
        for name in space.names:  # after what its condition names, else as they stand
            self._place(name, conditions)
        self._conditions = conditions
        at = {name: i for i, name in enumerate(self._order)}
        self._rules: list[list[int]] = [[] for _ in self._order]
        for i, rule in enumerate(space.require):
            self._rules[max((at[name] for name in rule.names), default=0)].append(i)
        self._visited = 0

    def designs(self) -> Iterator[Designs]:
        """Yield batches of designs, the last parameter fastest."""
        empty = np.full((1, self._space.width), np.nan)
        for codes in self._expand(empty, 0):
            yield Designs(self._space, codes)

    def count(self, most: int) -> int | None:
        """Return the number of designs; None where finding it would visit more than ``most``."""
        found = 0
        for batch in self.designs():
            found += len(batch)
            if found > most or self._visited > most:
                return None
        return found if self._visited <= most else None

    def _place(self, name: str, conditions: Mapping[str, object]) -> None:
        if name in self._order:
            return
        rule = conditions.get(name)
        for other in getattr(rule, "names", ()):
            self._place(other, conditions)
        self._order.append(name)

    def _expand(self, rows: Codes, depth: int) -> Iterator[Codes]:
        if not len(rows):
            return
        if depth == len(self._order):
            yield rows
            return
        name = self._order[depth]
        item, place = self._space.parameters[name], self._space.slice_of(name)
        size = int(item.size)
        active = np.ones(len(rows), dtype=bool)
        if name in self._conditions:
            active = self._space.holds(self._conditions[name], rows)
        if size > self._batch:
            for row, is_active in zip(rows, active.tolist(), strict=True):
                if not is_active:
                    yield from self._keep(row[None, :], depth)
                    continue
                for start in range(0, size, self._batch):
                    values = item.part(start, start + self._batch)
                    grown = np.repeat(row[None, :], len(values), axis=0)
                    grown[:, place] = values
                    yield from self._keep(grown, depth)
            return
        values = item.enumerate()
        step = max(1, self._batch // size)
        for start in range(0, len(rows), step):
            part, on = rows[start : start + step], active[start : start + step]
            times = np.where(on, size, 1)
            grown = np.repeat(part, times, axis=0)
            which = np.repeat(on, times)
            grown[which, place] = np.tile(values, (int(on.sum()), 1))
            yield from self._keep(grown, depth)

    def _keep(self, rows: Codes, depth: int) -> Iterator[Codes]:
        self._visited += len(rows)
        for i in self._rules[depth]:
            rows = rows[self._space.holds(self._space.require[i], rows, inactive=True)]
        yield from self._expand(rows, depth + 1)
