"""Drives a searcher as a study does, one ask or tell at a time, and checks what it answers."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.search import Environment, Goal, Measurements, Proposals, Searcher, Trials
from archwright.search.seeds import trial_seeds
from archwright.search.store.artifacts import Artifacts
from archwright.testing.conformance import ensure

__all__ = ["Drive", "Spoiled"]

_STEPS = 1000


class Spoiled:
    """An environment with further designs made infeasible or unknown, chosen by their keys.

    Args:
        environment: the environment.
        infeasible: share of designs that cannot be built.
        unknown: share of designs without metrics, though feasible.
        violations: whether an infeasible design tells how far it is from feasible.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        infeasible: float = 0.0,
        unknown: float = 0.0,
        violations: bool = True,
    ) -> None:
        self._environment = environment
        self._infeasible = infeasible
        self._unknown = unknown
        self._violations = violations
        self.space = environment.space
        self.metrics = environment.metrics
        self.version = environment.version
        self.deterministic = environment.deterministic
        self.fidelities = environment.fidelities

    def evaluate(
        self,
        designs: Any,
        *,
        seeds: npt.NDArray[np.uint64],
        fidelity: str,
        parents: npt.NDArray[np.int64] | None = None,
        artifacts: Artifacts | None = None,
    ) -> Measurements:
        """Measure, then take away."""
        measured = self._environment.evaluate(
            designs, seeds=seeds, fidelity=fidelity, parents=parents, artifacts=artifacts
        )
        drawn = np.array([zlib.crc32(key) / 2**32 for key in self.space.keys(designs)])
        spoiled = drawn < self._infeasible
        feasible = measured.is_feasible & ~spoiled
        hidden = ~feasible | (drawn > 1.0 - self._unknown)
        far = np.zeros(len(drawn)) if measured.violation is None else measured.violation
        far = (
            np.where(spoiled, 0.1 + drawn, far) if self._violations else np.full_like(far, np.nan)
        )
        reasons = measured.reason or [None] * len(drawn)
        return replace(
            measured,
            metrics={k: np.where(hidden, np.nan, v) for k, v in measured.metrics.items()},
            low={},
            high={},
            feasible=feasible,
            reason=[
                "made infeasible for a test" if bad else reason
                for bad, reason in zip(spoiled, reasons, strict=True)
            ],
            violation=far,
        )


class Drive:
    """One searcher at work: blocks are asked ahead and told strictly in order.

    Args:
        searcher: a searcher that has not been started.
        environment: what measures.
        goal: what scores.
        seed: seed of the searcher and of the trials.
        chunk: designs a block.
        ahead: blocks in flight.
    """

    def __init__(
        self,
        searcher: Searcher,
        environment: Environment,
        goal: Goal,
        *,
        seed: int = 0,
        chunk: int = 8,
        ahead: int = 2,
    ) -> None:
        self.searcher = searcher
        self.environment = environment
        self.goal = goal
        self.seed = seed
        self.chunk = chunk
        self.ahead = ahead
        self.keys: list[bytes] = []
        """Key of each design asked so far, in order."""
        self.finished = False
        self._seen: set[bytes] = set()
        self._flight: deque[tuple[int, Proposals]] = deque()
        searcher.start(
            environment.space,
            goal.objectives,
            seed=seed,
            capabilities={"fidelities": environment.fidelities},
        )

    def blocks(self, trials: int) -> Iterator[int]:
        """Ask and tell until so many trials are asked, or the searcher has finished.

        Yields the number of trials asked, after each tell.
        """
        while not self.finished and len(self.keys) < trials:
            count = self.ask(self.chunk)
            if self._flight and (len(self._flight) >= self.ahead or not count):
                self.tell()
                yield len(self.keys)
            elif not self._flight and not count:
                self.finished = True

    def run(self, trials: int) -> list[bytes]:
        """Return the keys of what is asked; what is in flight at the end is told too."""
        for _ in self.blocks(trials):
            pass
        while self._flight:
            self.tell()
        return self.keys

    def ask(self, n: int) -> int:
        """Ask once, stepping as long as there is nothing; return the number of designs."""
        for _ in range(_STEPS):
            found = self.searcher.ask(n)
            proposals = found if isinstance(found, Proposals) else Proposals(designs=found)
            count = len(proposals.designs)
            ensure(count <= n, f"ask({n}) gave {count} designs")
            if count:
                inside = np.asarray(self.environment.space.contains(proposals.designs))
                ensure(
                    inside.all(), f"ask({n}) gave {count - inside.sum()} designs outside the space"
                )
                self._check_extras(proposals, count)
                self._flight.append((len(self.keys), proposals))
                self.keys += self.environment.space.keys(proposals.designs)
                return count
            if not self.searcher.step():
                return 0
        ensure(False, f"ask({n}) gave nothing after {_STEPS} steps that each said there is work")
        return 0

    def tell(self) -> None:
        """Measure the oldest block in flight and tell of it."""
        first, proposals = self._flight.popleft()
        count = len(proposals.designs)
        numbers = np.arange(first, first + count)
        truest = self.environment.fidelities[-1].name
        fidelity = proposals.fidelity or (truest,) * count
        keys = self.keys[first : first + count]
        repeats = np.array(
            [self._again(key, name) for key, name in zip(keys, fidelity, strict=True)]
        )
        parents = proposals.parents
        self.searcher.tell(
            Trials(
                numbers=numbers,
                designs=proposals.designs,
                scores=self.goal.score(self._measure(proposals.designs, numbers, fidelity)),
                fidelity=tuple(fidelity),
                parents=np.full(count, -1, dtype=np.int64) if parents is None else parents,
                repeats=repeats,
            )
        )

    def _again(self, key: bytes, fidelity: str) -> bool:
        mark = key + fidelity.encode()
        known = self.environment.deterministic and mark in self._seen
        self._seen.add(mark)
        return known

    def _check_extras(self, proposals: Proposals, count: int) -> None:
        known = [f.name for f in self.environment.fidelities]
        if proposals.fidelity is not None:
            ensure(len(proposals.fidelity) == count, "one fidelity a design is needed")
            strange = set(proposals.fidelity) - set(known)
            ensure(not strange, f"it asked for the fidelity {sorted(strange)}; known: {known}")
        if proposals.parents is not None:
            told = self._flight[0][0] if self._flight else len(self.keys)
            ensure(len(proposals.parents) == count, "one parent a design is needed")
            ensure((proposals.parents < told).all(), "it named a parent that was not told yet")

    def _measure(self, designs: Any, numbers: Any, fidelity: tuple[str, ...]) -> Measurements:
        seeds = trial_seeds(self.seed, numbers)
        if len(set(fidelity)) == 1:
            return self.environment.evaluate(designs, seeds=seeds, fidelity=fidelity[0])
        parts = [
            self.environment.evaluate(
                designs.take(np.array([i])), seeds=seeds[i : i + 1], fidelity=name
            )
            for i, name in enumerate(fidelity)
        ]
        names = parts[0].metrics
        return Measurements(
            metrics={name: np.concatenate([p.metrics[name] for p in parts]) for name in names},
            feasible=np.concatenate([p.is_feasible for p in parts]),
            reason=[None if p.reason is None else p.reason[0] for p in parts],
            violation=np.array([np.nan if p.violation is None else p.violation[0] for p in parts]),
        )
