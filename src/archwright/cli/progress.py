"""What a running study shows of itself: a live line on a terminal, else a line a minute."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archwright.search.study import Progress
    from archwright.search.study_file import StudyFile

__all__ = ["Lines", "Pace", "Panel", "duration", "progress_of"]

_QUIET_SECONDS = 60.0
_FIRST_SECONDS = 2.0
"""When a line is printed first: at the first block, or where blocks are faster than this."""
_SETTLED = 8
"""Blocks after which the pace is that of all blocks but the first."""


def progress_of(file: StudyFile, folder: Path, *, quiet: bool) -> Lines | Panel:
    """Return what shows the progress of a study kept in a folder."""
    if quiet or not sys.stderr.isatty():
        return Lines(file, folder, quiet=quiet)
    return Panel(file, folder)


class Pace:
    """When a study will end, told from its first block on.

    Of several budgets the first to be used up ends the study. A cost is known as evaluations
    only where all fidelities cost alike; else such a budget has no time to name.

    Args:
        file: the study.
    """

    def __init__(self, file: StudyFile) -> None:
        study, environment = file.study, file.study.environment
        totals = [study.budget.evaluations]
        costs = {fidelity.relative_cost for fidelity in environment.fidelities}
        if study.budget.cost is not None and len(costs) == 1:
            totals.append(max(1, int(study.budget.cost / costs.pop())))
        if environment.deterministic:  # each design once, by the searchers that ask one fidelity
            totals.append(environment.space.size)
        self.total = min((total for total in totals if total is not None), default=None)
        self._seconds = study.budget.seconds
        self._replicates = study.replicates
        self._from = (time.monotonic(), 0.0)
        self._first: tuple[float, float] | None = None

    def left_s(self, progress: Progress) -> float | None:
        """Return the seconds left, None where they cannot be known."""
        ends = []
        if self._seconds is not None:
            ends.append(self._seconds - progress.seconds)
        if progress.trials == progress.replayed or not progress.evaluations:
            # what the store or another study gives takes no time
            self._from = (time.monotonic(), 0.0)
        elif self.total is not None:
            # what is measured but not told yet says nothing of the pace
            done = min(progress.evaluations, progress.trials * self._replicates)
            new = done * (1.0 - progress.replayed / progress.trials)
            now = (time.monotonic(), max(new, 1.0))
            if self._first is None:
                self._first = now
            elif now[1] >= _SETTLED * self._first[1]:
                self._from = self._first  # the first block has waited for the workers to start
            each = (now[0] - self._from[0]) / (now[1] - self._from[1])
            ends.append((self.total - done) * each)
        return max(0.0, min(ends)) if ends else None


def duration(seconds: float | None) -> str:
    """Return ``ETA 2 min 5 s`` or the like; empty where nothing is known.

    >>> duration(0.4), duration(125), duration(7300), duration(None)
    ('ETA 1 s', 'ETA 2 min 5 s', 'ETA 2 h 1 min', '')
    """
    if seconds is None:
        return ""
    whole = max(1, math.ceil(seconds))
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"),
                                      (60, "min", 1, "s")):  # fmt: skip
        if whole >= size:
            return f"ETA {whole // size} {unit} {whole % size // smaller} {name}"
    return f"ETA {whole} s"


class Lines:
    """Progress without a terminal: a line after the first block or 2 s, then one a minute."""

    def __init__(self, file: StudyFile, folder: Path, *, quiet: bool) -> None:
        self._folder: Path | None = folder
        self._quiet = quiet
        self._pace = Pace(file)
        self._next = time.monotonic() + _FIRST_SECONDS

    def update(self, progress: Progress) -> None:
        """Print what is new, where it is time."""
        left = self._pace.left_s(progress)
        if self._quiet:
            return
        if self._folder is not None:
            print(_store_line(self._folder), file=sys.stderr)
            self._folder = None
        if time.monotonic() >= self._next and progress.trials > progress.replayed:
            self._next = time.monotonic() + _QUIET_SECONDS
            of = "" if self._pace.total is None else f" of {self._pace.total}"
            parts = [
                f"{progress.evaluations}{of} evaluations",
                f"{progress.feasible} feasible",
                f"{progress.seconds:.0f} s",
                duration(left),
            ]
            print(", ".join(filter(None, parts)), file=sys.stderr)

    def close(self) -> None:
        """Nothing to close."""


class Panel:
    """Progress on a terminal: one live line with the best values so far."""

    def __init__(self, file: StudyFile, folder: Path) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._names = file.study.goal.objectives.losses
        self._best: Any = None
        self._pace = Pace(file)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} evaluations"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[best]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("search", total=self._pace.total, best="", left="")
        self._bar.console.print(_store_line(folder), highlight=False)
        self._bar.start()

    def update(self, progress: Progress) -> None:
        """Draw the line anew."""
        import numpy as np

        good = progress.scores.losses[progress.scores.feasible]
        if len(good):
            with np.errstate(all="ignore"):
                lowest = np.fmin.reduce(good, axis=0)
            self._best = lowest if self._best is None else np.fmin(self._best, lowest)
        best = (
            ""
            if self._best is None
            else "best "
            + ", ".join(
                f"{name} {abs(value):.4g}"
                for name, value in zip(self._names, self._best, strict=True)
            )
        )
        self._bar.update(
            self._task,
            completed=progress.evaluations,
            best=best,
            left=duration(self._pace.left_s(progress)),
        )

    def close(self) -> None:
        """Take the line away."""
        self._bar.stop()


def _store_line(folder: Path) -> str:
    """Say where the trials go, and what that place promises."""
    from archwright.search.store import durability

    return f"store: {folder} ({durability(folder)})"
