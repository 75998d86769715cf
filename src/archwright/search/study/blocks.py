"""Blocks of trials between their ask and their tell, and what is known of told ones."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search.environments import Measurements, merge
from archwright.search.goal import Scores

__all__ = ["Known", "OpenBlock", "marks"]

Rows = npt.NDArray[np.intp]


@dataclass(eq=False)
class OpenBlock:
    """A block that was asked and is not yet told.

    Attributes:
        first: number of its first trial.
        designs: the designs.
        fidelity: fidelity of each.
        parents: parent of each, -1 for none.
        repeat_of: trial that each repeats, -1 for none.
        parts: for each replicate, measurements of some rows.
        measured: shape (replicates, n): which rows have arrived; repeats are never sent.
        seconds: shape (replicates, n): what each took.
        given: the study began from these designs; the searcher did not ask for them.
        known: their results were given too.
        flushed: rows that the store already has.
        ahead: rows that the store has ahead of trials before them.
        scores: scores of the flushed rows, in order.
        results: one a replicate, once all rows have arrived.
    """

    first: int
    designs: Any
    fidelity: tuple[str, ...]
    parents: npt.NDArray[np.int64]
    repeat_of: npt.NDArray[np.int64]
    parts: list[list[tuple[Rows, Measurements]]]
    measured: npt.NDArray[np.bool_]
    seconds: npt.NDArray[np.float64]
    given: bool = False
    known: bool = False
    flushed: int = 0
    ahead: set[int] = field(default_factory=set)
    scores: list[Scores] = field(default_factory=list)
    results: list[Measurements] | None = None

    def __len__(self) -> int:
        return len(self.repeat_of)

    @property
    def complete(self) -> bool:
        """Whether every new design of the block has been measured."""
        return bool(self.measured.all())

    def take(self, rows: Rows, replicate: int, measured: Measurements) -> None:
        """Take the measurements of some rows."""
        self.parts[replicate].append((rows, measured))
        self.measured[replicate, rows] = True

    def prefix(self) -> int:
        """Return how many trials from the first have all their measurements."""
        whole = self.measured.all(axis=0)
        return len(self) if whole.all() else int(np.argmin(whole))

    def joined(self, known: Known) -> list[Measurements]:
        """Return the measurements, one a replicate; rows that have not arrived are NaN."""
        if self.results is not None:
            return self.results
        n = len(self)
        again = np.flatnonzero(self.repeat_of >= 0)
        whole_yet = self.complete
        if not len(again) and all(len(p) == 1 and len(p[0][0]) == n for p in self.parts):
            joined = [part[0][1] for part in self.parts]
        else:
            parts = [list(part) for part in self.parts]
            for i in again.tolist():
                source = int(self.repeat_of[i])
                if source >= self.first:
                    continue  # a repeat within the block, filled below
                if source not in known:
                    whole_yet = False
                    continue
                for part, row in zip(parts, known.row(source), strict=True):
                    part.append((np.array([i]), row))
            joined = [merge(n, part) for part in parts]
            inner = self.repeat_of >= self.first
            if inner.any():
                source_rows = np.arange(n)
                source_rows[inner] = self.repeat_of[inner] - self.first
                joined = [whole.take(source_rows) for whole in joined]
        if whole_yet:
            self.results = joined
        return joined


class Known:
    """The measurements of earlier trials, for repeats and for what is inherited."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._results: list[list[Measurements]] = []

    def add(self, first: int, results: Sequence[Measurements]) -> None:
        """Keep the results of the trials from ``first`` on."""
        kept = [replace(one, reason=_lean(one.reason)) for one in results]
        at = bisect.bisect(self._firsts, first)
        self._firsts.insert(at, first)
        self._results.insert(at, kept)

    def __contains__(self, trial: int) -> bool:
        at, row = self._place(trial)
        return at >= 0 and row < len(self._results[at][0])

    def row(self, trial: int) -> list[Measurements]:
        """Return the results of one trial, one a replicate."""
        at, row = self._place(trial)
        return [one.take(np.array([row])) for one in self._results[at]]

    def artifact(self, trial: int, replicate: int, name: str) -> str | None:
        """Return the digest of what a trial left."""
        at, row = self._place(trial)
        column = self._results[at][replicate].artifacts.get(name)
        return None if column is None else column[row]

    def _place(self, trial: int) -> tuple[int, int]:
        at = bisect.bisect_right(self._firsts, trial) - 1
        return at, trial - self._firsts[at]


def marks(
    fidelity: tuple[str, ...], parents: npt.NDArray[np.int64], truest: str
) -> list[bytes] | None:
    """Return what tells equal designs of other fidelity or parent apart; None where all agree."""
    if (parents < 0).all() and fidelity.count(truest) == len(fidelity):
        return None
    return [
        b"" if name == truest and parent < 0 else f"|{name}|{parent}".encode()
        for name, parent in zip(fidelity, parents.tolist(), strict=True)
    ]


def _lean(reason: Sequence[str | None] | None) -> Sequence[str | None] | None:
    return None if reason is None or not any(reason) else reason
