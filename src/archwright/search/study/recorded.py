"""The trials that a store already holds, in columns, as a session replays them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from archwright.search.environments import Measurements
from archwright.search.space import Design
from archwright.search.store import TableSchema
from archwright.search.study.columns import booleans

__all__ = ["Recorded", "measurements_of"]


class Recorded:
    """Recorded trials: those in order from the first, and those measured ahead of them.

    Args:
        table: the trials in order, without gaps.
        ahead: trials behind the first gap.
        schema: the columns.
        space: the space of the designs.
    """

    def __init__(self, table: pa.Table, ahead: pa.Table, schema: TableSchema, space: Any) -> None:
        self._schema = schema
        self._space = space
        replicate = table["replicate"].to_numpy()
        also = ahead["replicate"].to_numpy()
        highest = [int(column.max()) for column in (replicate, also) if len(column)]
        self._replicates = max(highest) + 1 if highest else 1
        self._length = int((replicate == 0).sum())
        if self._replicates > 1 or len(ahead):
            whole = pa.concat_tables([table, ahead])
            every = whole["replicate"].to_numpy()
            self._tables = [whole.filter(pa.array(every == r)) for r in range(self._replicates)]
        else:
            self._tables = [table]
        behind = self._tables[0]["trial"].to_numpy()[self._length :].tolist()
        self._at = {trial: self._length + i for i, trial in enumerate(behind)}
        self.known: int = max([self._length, *(trial + 1 for trial in behind)])
        """Trials that were asked, by what is recorded."""

    def __len__(self) -> int:
        return self._length

    @cached_property
    def _designs(self) -> Any:
        if not len(self._tables[0]):
            return self._space.concatenate([])
        return self._space.from_columns(self._schema.parameter_columns(self._tables[0]))

    @cached_property
    def keys(self) -> list[bytes]:
        """Key of each recorded design: those in order, then those ahead."""
        keys: list[bytes] = self._space.keys(self._designs) if len(self._tables[0]) else []
        return keys

    def keys_from(self, first: int, n: int) -> list[bytes | None]:
        """Return the keys of n trials; None where one is not recorded."""
        if first >= self.known:
            return []
        if first + n <= self._length:
            return list(self.keys[first : first + n])
        places = [self._place(trial) for trial in range(first, first + n)]
        return [None if place is None else self.keys[place] for place in places]

    @cached_property
    def feasible(self) -> npt.NDArray[np.bool_]:
        """Feasibility of each trial, under every seed."""
        columns = [booleans(table["feasible"]) for table in self._tables]
        return np.asarray(np.logical_and.reduce(columns))

    @cached_property
    def _measured(self) -> list[Measurements]:
        return [measurements_of(table, self._schema) for table in self._tables]

    @cached_property
    def _told(self) -> dict[int, int]:
        if not self._schema.told:
            return {}
        table = self._tables[0]
        places, trials = table["told"].to_pylist(), table["trial"].to_pylist()
        return dict(zip(places, trials, strict=True))

    def told_order(self, place: int) -> int | None:
        """Return the trial that was told at a place, where trials were told as they completed."""
        return self._told.get(place)

    def design(self, trial: int) -> Design:
        """Return the stored design of a trial."""
        design: Design = self._designs[self._place(trial)]
        return design

    def inherited(self, n: int) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        """Return fidelity and parent (-1 for none) of the first n trials."""
        head = self._tables[0].slice(0, n)
        parents = head["parent"].fill_null(-1).to_numpy()
        return tuple(head["fidelity"].to_pylist()), parents

    def rows_of(self, first: int, n: int) -> npt.NDArray[np.intp]:
        """Return which of n trials from ``first`` on are recorded, as rows from 0."""
        if first + n <= self._length:
            return np.arange(n)
        if first >= self.known:
            return np.zeros(0, dtype=np.intp)
        places = [self._place(trial) for trial in range(first, first + n)]
        return np.array([i for i, place in enumerate(places) if place is not None], dtype=np.intp)

    def measured(self, trials: npt.NDArray[np.int64]) -> list[Measurements]:
        """Return the measurements of recorded trials, one a replicate."""
        rows: Any = np.array([self._place(trial) for trial in trials.tolist()], dtype=np.intp)
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            rows = slice(int(rows[0]), int(rows[-1]) + 1)
        return [whole.take(rows) for whole in self._measured]

    def _place(self, trial: int) -> int | None:
        return trial if trial < self._length else self._at.get(trial)


def measurements_of(table: pa.Table, schema: TableSchema) -> Measurements:
    """Return what stored trials measured."""

    def read(suffix: str) -> dict[str, npt.NDArray[np.float64]]:
        found = {}
        for name in schema.metrics:
            column = table[f"metric.{name}{suffix}"]
            if not suffix or column.null_count < len(column):
                found[name] = column.to_numpy()
        return found

    outside = table["constraint.environment"].to_numpy()
    failed = np.array([state == "failed" for state in table["state"].to_pylist()], dtype=bool)
    measured = ~(np.isnan(outside) | (outside > 0)) if len(outside) else np.ones(0, dtype=bool)
    return Measurements(
        metrics=read(""),
        low=read(".low"),
        high=read(".high"),
        feasible=measured,
        reason=table["reason"].to_pylist(),
        violation=outside,
        failed=failed if failed.any() else None,
        artifacts={name: table[f"artifact.{name}"].to_pylist() for name in schema.artifacts},
    )
