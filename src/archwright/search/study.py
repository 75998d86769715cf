"""The study: one environment, one goal, one searcher, a budget and a seed.

The order of asks and tells depends on the study alone. Trials are asked in blocks of ``chunk``;
block j is asked exactly when every block up to j - window/chunk has been told and no later one
has; ``tell`` gets trials strictly in ask order. So serial and parallel runs give the same trials,
and a study that was killed continues as if nothing had happened: it restores the searcher's last
snapshot, replays recorded trials, checks that each replayed ask equals the stored design, and
runs again what was in flight.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, StudyError, unknown
from archwright.registry import resolve
from archwright.search.conclusion import conclude
from archwright.search.environment import Environment, Measurements
from archwright.search.executors import Block, Executor, Serial
from archwright.search.goal import Goal, Scores
from archwright.search.record import Recorded, Recorder, Result
from archwright.search.searcher import Proposals, Searcher, Trials, make_searcher
from archwright.search.seeds import trial_seeds
from archwright.search.space import ParameterSpace, designs_from, plain_designs
from archwright.search.start import Start
from archwright.search.store import Disk
from archwright.search.store.artifacts import Artifacts
from archwright.search.store.disk import unwritable

__all__ = ["Budget", "Progress", "Result", "Study"]

STALE_WINDOWS = 20
SNAPSHOT_TRIALS = 8192
SNAPSHOT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a study ends; a total, counted over all its runs. The first limit reached ends it.

    Attributes:
        evaluations: unique evaluations (a replicate is one; a repeat is none).
        cost: sum of the relative costs of the fidelities asked.
        seconds: running time; decides only when to stop, never what is asked.
    """

    evaluations: int | None = None
    cost: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if all(value is None for value in given.values()):
            raise SpecificationError("[budget]: give evaluations, cost or seconds")
        for name, value in given.items():
            if value is None:
                continue
            whole = name == "evaluations"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise SpecificationError(f"[budget].{name}: expected a number, found {value!r}")
            if not value > 0:
                raise SpecificationError(f"[budget].{name}: expected more than 0, found {value!r}")


@dataclass(frozen=True)
class Progress:
    """What a running study tells of itself after each block.

    Attributes:
        trials: trials told so far, repeats included.
        evaluations: unique evaluations asked so far.
        feasible: feasible trials so far.
        replayed: trials that were read from the store.
        scores: scores of the block just told.
        seconds: running time, over all runs.
    """

    trials: int
    evaluations: int
    feasible: int
    replayed: int
    scores: Scores
    seconds: float


class Study:
    """One search. See the module for what it promises.

    >>> from archwright.search import Budget, Goal, RandomSearch, Study
    >>> from archwright.testing import toy_environment
    >>> study = Study(toy_environment(), Goal(minimize=["cost"]), RandomSearch(),
    ...               budget=Budget(evaluations=100))
    >>> result = study.run()
    >>> len(result.table)
    100

    Args:
        environment: what measures designs.
        goal: what matters.
        searcher: the method, or the name of one with its default options.
        budget: when to stop.
        seed: the one seed of the study.
        window: most trials in flight, a multiple of ``chunk``.
        chunk: trials a block.
        replicates: seeds a design is scored over (a stochastic environment).
        start: designs that the searcher draws first; see `archwright.search.start`.
        folder: where the study is kept and continued; None keeps it in memory.
        identity: plain data that says what the study is; None derives it from the parts.
        disk: the file layer of the folder; the fault harness puts its own here.

    Attributes:
        files: further files of a new folder, name to text.

    Raises:
        SpecificationError: the parts do not fit together.
    """

    def __init__(
        self,
        environment: Environment,
        goal: Goal,
        searcher: Searcher | str,
        *,
        budget: Budget,
        seed: int = 0,
        window: int = 64,
        chunk: int = 16,
        replicates: int = 1,
        start: Any = None,
        folder: Path | str | None = None,
        identity: Mapping[str, Any] | None = None,
        disk: Disk | None = None,
    ) -> None:
        for name, value in (("window", window), ("chunk", chunk), ("replicates", replicates)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SpecificationError(f"[run].{name}: expected at least 1, found {value!r}")
        if window % chunk:
            raise SpecificationError(
                f"[run]: window ({window}) must be a multiple of chunk ({chunk})"
            )
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise SpecificationError(f"seed: expected a whole number from 0, found {seed!r}")
        if replicates > 1 and environment.deterministic:
            raise SpecificationError(
                f"[run].replicates: {replicates} seeds of a deterministic environment measure the "
                "same; use 1"
            )
        if environment.space.size == 0:
            raise SpecificationError("require: no design of the space meets it")
        goal.check(environment.metrics)
        adapt: Any = getattr(environment, "for_goal", None)
        if adapt is not None:  # what the goal asks may change how the environment plans
            environment = adapt(goal)
        self.environment = environment
        self.goal = goal
        self.searcher: Searcher = (
            make_searcher(resolve("searchers", searcher), {}, name=searcher)
            if isinstance(searcher, str)
            else searcher
        )
        self.budget = budget
        self.seed = seed
        self.window = window
        self.chunk = chunk
        self.replicates = replicates
        self.start = start
        self.folder = None if folder is None else Path(folder)
        self._identity = identity
        self.files: Mapping[str, str] = {}
        self._disk = disk

    def __repr__(self) -> str:
        return "Study(" + "; ".join(f"{name}: {text}" for name, text in self._facts()) + ")"

    def _repr_html_(self) -> str:
        """Return a small table for notebooks: what is searched, for what, how, how long."""
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>"
            for name, text in self._facts()
        )
        return f"<table><tbody>{rows}</tbody></table>"

    def _facts(self) -> list[tuple[str, str]]:
        environment, goal = self.environment, self.goal
        size = environment.space.size
        designs = "" if size is None else f", {size:,} designs"
        if size is not None and size >= 10**12:
            designs = f", 10^{len(str(size)) - 1} designs"
        options = ", ".join(f"{k}={v!r}" for k, v in _options(self.searcher).items())
        budget = [
            f"{getattr(self.budget, f.name):,} {f.name}"
            for f in dataclasses.fields(self.budget)
            if getattr(self.budget, f.name) is not None
        ]
        facts = [
            ("environment", f"{type(environment).__name__}{designs}"),
            ("minimize", ", ".join(goal.minimize)),
            ("maximize", ", ".join(goal.maximize)),
            ("combined by", goal.combine or ""),
            ("subject to", ", ".join(goal.subject_to)),
            ("searcher", f"{type(self.searcher).__name__}({options})"),
            ("budget", ", ".join(budget)),
            ("seed", str(self.seed)),
            ("folder", "" if self.folder is None else str(self.folder)),
        ]
        return [(name, text) for name, text in facts if text]

    def identity(self) -> dict[str, Any]:
        """Return plain data that says what this study is; a folder continues only its own."""
        environment = self.environment
        identify: Any = getattr(environment, "identity", dict)
        parts: dict[str, Any] = (
            dict(self._identity)
            if self._identity is not None
            else {
                "seed": self.seed,
                "goal": {k: v for k, v in dataclasses.asdict(self.goal).items() if v},
                "searcher": {"class": _name(self.searcher), **_options(self.searcher)},
                "budget": dataclasses.asdict(self.budget),
                "run": {
                    "window": self.window,
                    "chunk": self.chunk,
                    "replicates": self.replicates,
                },
            }
        )
        space = environment.space
        if self.start is not None:
            keys = b"".join(space.keys(self.start))
            parts["start"] = {"designs": len(self.start), "sha256": sha256(keys).hexdigest()}
        parts["environment is"] = {
            "class": _name(environment),
            "version": environment.version,
            "identity": identify(),
            "space": space.describe() if isinstance(space, ParameterSpace) else repr(space),
        }
        return json.loads(json.dumps(parts))  # type: ignore[no-any-return]

    def run(
        self,
        *,
        executor: Executor | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Result:
        """Run, or continue, to the end of the budget.

        Ctrl-C leaves a study that the same call continues.

        Raises:
            StoreError: the folder cannot be used.
            StudyError: a replayed ask differs from the stored design.
            EnvironmentFault: the environment is broken.
        """
        try:
            return self._run(executor or Serial(), progress)
        except OSError as error:  # the store's: those of an environment come as EnvironmentFault
            if self.folder is None:
                raise
            raise unwritable(self.folder, error) from error

    def _run(self, executor: Executor, progress: Callable[[Progress], None] | None) -> Result:
        recorder = Recorder.open(
            self.environment,
            self.goal,
            self.folder,
            self.identity(),
            self.files,
            self._disk,
        )
        try:
            executor.open(self.environment)
            try:
                return _Loop(self, recorder, executor, progress).run()
            finally:
                executor.close()  # while the folder is ours: workers may still write artifacts
        except BaseException as error:
            with contextlib.suppress(OSError):
                recorder.event("stopped", why=type(error).__name__)
            raise
        finally:
            recorder.abandon()


@dataclass
class _Asked:
    """A block between its ask and its tell."""

    first: int
    designs: Any
    fidelity: tuple[str, ...]
    parents: npt.NDArray[np.int64]
    repeat_of: npt.NDArray[np.int64]
    work: list[tuple[npt.NDArray[np.intp], int, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.repeat_of)


class _Loop:
    """One run of a study."""

    def __init__(
        self,
        study: Study,
        recorder: Recorder,
        executor: Executor,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.study = study
        self.recorder = recorder
        self.executor = executor
        self.progress = progress
        self.recorded: Recorded = recorder.recorded
        self.space = study.environment.space
        fidelities = study.environment.fidelities
        self.costs = {f.name: f.relative_cost for f in fidelities}
        self.truest = fidelities[-1].name
        self.memoize = study.environment.deterministic
        self.begin = None if study.start is None else Start(self.space, study.start)
        self.memo: dict[bytes, int] = {}
        self.measured: set[bytes] = set()  # keys of what was asked at the truest fidelity
        self.firsts: list[int] = []  # first trial of each told block, for repeats
        self.told_blocks: list[list[Measurements]] = []
        self.flight: deque[_Asked] = deque()
        self.asked = self.told = self.evaluations = self.stale = self.feasible = 0
        self.cost = 0.0
        self.stopped = ""
        self.before = recorder.elapsed_s
        self.started = time.monotonic()
        self.snapshot_at = self.started
        self.snapshot_told = 0

    def run(self) -> Result:
        study, searcher = self.study, self.study.searcher
        searcher.start(
            self.space if self.begin is None else self.begin.space,
            study.goal.objectives,
            seed=study.seed,
            capabilities=_offered(study),
        )
        self._restore()
        blocks = study.window // study.chunk
        try:
            while True:
                if self.flight and (len(self.flight) == blocks or self.stopped):
                    self._tell(self.flight.popleft())
                elif self.stopped:
                    break
                if not self.stopped:
                    self._ask()
        except KeyboardInterrupt:
            self.recorder.interrupted(self.seconds)
            raise
        self._snapshot()
        return self.recorder.finish(
            self.stopped,
            self.evaluations,
            self.seconds,
            study.seed,
            conclude=lambda result: conclude(result, study.environment),
        )

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    # asking

    def _ask(self) -> None:
        n = self._room()
        if not n:
            return
        while True:
            found = self.study.searcher.ask(n)
            proposals = found if isinstance(found, Proposals) else Proposals(designs=found)
            if len(proposals.designs) or not self._step():
                break
        if not len(proposals.designs) and not any(len(block) for block in self.flight):
            self.stopped = "the searcher has finished"
            self.flight.clear()
            return
        if len(proposals.designs) > n:
            raise StudyError(
                f"the searcher returned {len(proposals.designs)} designs for ask({n})"
            )
        block = self._number(proposals)
        self._submit(block)
        self.flight.append(block)

    def _step(self) -> bool:
        started = time.monotonic()
        worked = self.study.searcher.step()
        if worked:
            self.cost += float(getattr(self.study.searcher, "step_cost", 0.0))
            if time.monotonic() - started > 1.0:
                self.snapshot_at = -SNAPSHOT_SECONDS  # dear work is kept soon
        return worked

    def _room(self) -> int:
        """Return how many designs may be asked now; at 0 the study has stopped, and why is set."""
        budget, n = self.study.budget, self.study.chunk
        if budget.evaluations is not None:
            left = (budget.evaluations - self.evaluations) // self.study.replicates
            if left <= 0:
                self.stopped = f"the budget of {budget.evaluations} evaluations is used"
                return 0
            n = min(n, left)
        if budget.cost is not None:
            left_cost = budget.cost - self.cost
            if left_cost <= 0:
                self.stopped = f"the budget of cost {budget.cost:g} is used"
                return 0
            dearest = max(self.costs.values()) * self.study.replicates
            n = min(n, max(1, int(left_cost // dearest)))
        replaying = self.asked < len(self.recorded)
        if budget.seconds is not None and not replaying and self.seconds >= budget.seconds:
            self.stopped = f"the budget of {budget.seconds:g} seconds is used"
            return 0
        size = self.space.size if self.memoize else None
        known = self.memo if len(self.costs) == 1 else self.measured
        if size is not None and len(known) >= size:
            self.stopped = f"the space is exhausted: all {size} designs are known"
            return 0
        if self.stale >= STALE_WINDOWS * self.study.window:
            self.stopped = f"no new design in {STALE_WINDOWS} windows"
            return 0
        return n

    def _number(self, proposals: Proposals) -> _Asked:
        """Give a block its trial numbers, and find its repeats."""
        n = len(proposals.designs)
        fidelity = proposals.fidelity or (self.truest,) * n
        for name in set(fidelity):
            if name not in self.costs:
                raise StudyError(f"the searcher asked for {unknown('fidelity', name, self.costs)}")
        parents = proposals.parents
        if parents is None:
            parents = np.full(n, -1, dtype=np.int64)
        elif (parents >= self.told).any():
            raise StudyError(f"the searcher named the parent {parents.max()}, not yet told")
        repeat_of = np.full(n, -1, dtype=np.int64)
        keys = self.space.keys(proposals.designs) if n else []
        replayed = self.recorded.keys[self.asked : self.asked + n]
        for i, (key, stored) in enumerate(zip(keys, replayed, strict=False)):
            if key != stored:
                raise StudyError(
                    f"{self.study.folder}: code or versions changed at trial {self.asked + i}: "
                    f"the searcher now asks {{{proposals.designs[i]}}} where the store has "
                    f"{{{self.recorded.design(self.asked + i)}}}"
                )
        if self.memoize:
            known = self.memo.setdefault
            marks = _marks(fidelity, parents, self.truest)
            for number, key in enumerate(
                map(bytes.__add__, keys, marks) if marks else keys, self.asked
            ):
                first = known(key, number)
                if first != number:
                    repeat_of[number - self.asked] = first
        if len(self.costs) > 1:
            self._note_measured(keys, fidelity)
        fresh = repeat_of < 0
        new = int(fresh.sum())
        self.stale = 0 if new else self.stale + n
        self.evaluations += new * self.study.replicates
        if len(self.costs) == 1:
            self.cost += new * self.study.replicates * self.costs[self.truest]
        else:
            self.cost += self.study.replicates * sum(
                self.costs[name]
                for name, is_fresh in zip(fidelity, fresh, strict=True)
                if is_fresh
            )
        block = _Asked(self.asked, proposals.designs, fidelity, parents, repeat_of)
        self.asked += n
        return block

    def _note_measured(self, keys: list[bytes], fidelity: tuple[str, ...]) -> None:
        self.measured.update(k for k, f in zip(keys, fidelity, strict=True) if f == self.truest)

    def _submit(self, block: _Asked) -> None:
        """Hand the new designs of a block to the executor, unless the store has their results."""
        if not len(block) or block.first < len(self.recorded):
            return
        fresh = np.flatnonzero(block.repeat_of < 0)
        every = np.array(block.fidelity)[fresh] if len(self.costs) > 1 else None
        for name in [self.truest] if every is None else dict.fromkeys(every.tolist()):
            rows = fresh if every is None else fresh[every == name]
            if not len(rows):
                continue
            inherits = bool((block.parents[rows] >= 0).any())
            everything = len(rows) == len(block)
            for replicate in range(self.study.replicates):
                work = Block(
                    first=block.first,
                    designs=block.designs if everything else block.designs.take(rows),
                    seeds=trial_seeds(self.study.seed, block.first + rows, replicate),
                    fidelity=name,
                    parents=block.parents[rows] if inherits else None,
                    artifacts=self._artifacts(block.parents[rows], replicate),
                )
                block.work.append((rows, replicate, self.executor.submit(work)))

    def _artifacts(self, parents: npt.NDArray[np.int64], replicate: int) -> Artifacts | None:
        """Return what designs of such parents inherit and may leave."""

        def inherit(parent: int) -> Mapping[str, str | None]:
            if parent < 0:
                return {}
            at = bisect.bisect_right(self.firsts, parent) - 1
            left = self.told_blocks[at][replicate].artifacts
            return {name: column[parent - self.firsts[at]] for name, column in left.items()}

        if not self.recorder.artifacts:
            return None
        left = [inherit(parent) for parent in parents.tolist()]
        names = self.recorder.artifacts
        inherited = {name: [one.get(name) for one in left] for name in names}
        return Artifacts(
            self.recorder.artifacts_folder, names, inherited, len(parents), self.recorder.disk
        )

    # telling

    def _tell(self, block: _Asked) -> None:
        n = len(block)
        if not n:
            return
        replay = block.first < len(self.recorded)
        if replay:
            results, seconds = self.recorded.measured(block.first, n), np.zeros(n)
        else:
            results, seconds = self._collect(block)
        self.firsts.append(block.first)
        self.told_blocks.append(results)
        scores = self._mean_scores(results)
        if not replay:
            self.recorder.append(block, results, scores, seconds, self.study.seed)
            self.recorder.disk.reach("tell")
        self.told += n
        self.feasible += int(scores.feasible.sum())
        self.study.searcher.tell(
            Trials(
                numbers=np.arange(block.first, block.first + n),
                designs=block.designs,
                scores=scores,
                fidelity=block.fidelity,
                parents=block.parents,
                repeats=block.repeat_of >= 0,
            )
        )
        due = self.told - self.snapshot_told >= SNAPSHOT_TRIALS
        if not replay and (due or time.monotonic() - self.snapshot_at > SNAPSHOT_SECONDS):
            self._snapshot()
        if self.progress is not None:
            replayed = min(self.told, len(self.recorded))
            self.progress(
                Progress(
                    self.told, self.evaluations, self.feasible, replayed, scores, self.seconds
                )
            )

    def _collect(self, block: _Asked) -> tuple[list[Measurements], npt.NDArray[np.float64]]:
        """Wait for a block's results; join them with those of its repeats."""
        n = len(block)
        seconds = np.zeros(n)
        parts: list[list[tuple[npt.NDArray[np.intp], Measurements]]]
        parts = [[] for _ in range(self.study.replicates)]
        for rows, replicate, handle in block.work:
            measured, elapsed = self.executor.result(handle)
            seconds[rows] = elapsed / len(rows) if measured.cost_s is None else measured.cost_s
            parts[replicate].append((rows, measured))
        block.work.clear()
        if not (block.repeat_of >= 0).any() and all(len(part) == 1 for part in parts):
            return [part[0][1] for part in parts], seconds
        for i in np.flatnonzero(block.repeat_of >= 0):
            source = int(block.repeat_of[i])
            if source >= block.first:
                continue  # a repeat within the block, filled below
            at = bisect.bisect_right(self.firsts, source) - 1
            row = np.array([source - self.firsts[at]])
            for replicate, part in enumerate(parts):
                part.append((np.array([i]), self.told_blocks[at][replicate].take(row)))
        joined = [_merge(n, part) for part in parts]
        inner = block.repeat_of >= block.first
        if inner.any():
            source_rows = np.arange(n)
            source_rows[inner] = block.repeat_of[inner] - block.first
            joined = [whole.take(source_rows) for whole in joined]
        return joined, seconds

    def _mean_scores(self, results: list[Measurements]) -> Scores:
        """Score a design over its seeds: mean losses and violations; feasible under every seed."""
        scores = [self.study.goal.score(result) for result in results]
        if len(scores) == 1:
            return scores[0]
        feasible = np.logical_and.reduce([score.feasible for score in scores])
        violations = np.mean([score.violations for score in scores], axis=0)
        return Scores(
            losses=np.mean([score.losses for score in scores], axis=0),
            violations=np.where(feasible[:, None], 0.0, violations),
            feasible=feasible,
        )

    # continuing

    def _snapshot(self) -> None:
        self.snapshot_at, self.snapshot_told = time.monotonic(), self.told
        state = self.study.searcher.state()
        if state is None or self.study.folder is None:
            self.recorder.note_elapsed(self.seconds)
            return
        flight = [
            {
                "first": block.first,
                "columns": plain_designs(self.space, block.designs),
                "fidelity": list(block.fidelity),
                "parents": block.parents.tolist(),
            }
            for block in self.flight
        ]
        self.recorder.snapshot(
            {
                "told": self.told,
                "cost": self.cost,
                "stale": self.stale,
                "stopped": self.stopped,
                "begun": 0 if self.begin is None else self.begin.given,
                "flight": flight,
                "searcher": state,
            },
            self.seconds,
        )

    def _restore(self) -> None:
        """Go to the newest snapshot that the recorded trials reach; without one, to trial 0."""
        snapshot = self.recorder.newest_snapshot(len(self.recorded))
        if snapshot is None:
            return
        self.study.searcher.restore(snapshot["searcher"])
        if self.begin is not None:
            self.begin.given = snapshot["begun"]
        told = self.told = self.asked = self.snapshot_told = snapshot["told"]
        self.firsts, self.told_blocks = [0], [self.recorded.measured(0, told)]
        if not told:
            self.firsts, self.told_blocks = [], []
        self.feasible = int(self.recorded.feasible[:told].sum())
        if self.memoize:
            fidelity, parents = self.recorded.inherited(told)
            marks = _marks(fidelity, parents, self.truest)
            keys = self.recorded.keys[:told]
            for number, key in enumerate(map(bytes.__add__, keys, marks) if marks else keys):
                self.memo.setdefault(key, number)
            if len(self.costs) > 1:
                self._note_measured(keys, fidelity)
            self.evaluations = len(self.memo)
        else:
            self.evaluations = told * self.study.replicates
        for kept in snapshot["flight"]:
            count = len(kept["fidelity"])
            designs = designs_from(self.space, kept["columns"])
            block = self._number(
                Proposals(
                    designs=designs,
                    fidelity=tuple(kept["fidelity"]) or None,
                    parents=np.array(kept["parents"], dtype=np.int64) if count else None,
                )
            )
            self._submit(block)
            self.flight.append(block)
        self.cost, self.stale = snapshot["cost"], snapshot["stale"]


def _offered(study: Study) -> Mapping[str, Any]:
    """Return what the environment offers beyond measuring, by name."""
    offered: Mapping[str, Any] = getattr(study.environment, "capabilities", {})
    return {"fidelities": study.environment.fidelities, **offered}


def _marks(
    fidelity: tuple[str, ...], parents: npt.NDArray[np.int64], truest: str
) -> list[bytes] | None:
    """Return what tells equal designs of other fidelity or parent apart; None where all agree."""
    if (parents < 0).all() and fidelity.count(truest) == len(fidelity):
        return None
    return [
        b"" if name == truest and parent < 0 else f"|{name}|{parent}".encode()
        for name, parent in zip(fidelity, parents.tolist(), strict=True)
    ]


def _merge(n: int, parts: list[tuple[npt.NDArray[np.intp], Measurements]]) -> Measurements:
    """Join measurements of some rows into one of n rows."""

    def join(pick: Callable[[Measurements], Mapping[str, Any]]) -> dict[str, Any]:
        names = dict.fromkeys(name for _, part in parts for name in pick(part))
        joined = {name: np.full(n, np.nan) for name in names}
        for rows, part in parts:
            for name, column in pick(part).items():
                joined[name][rows] = column
        return joined

    feasible = np.ones(n, dtype=bool)
    reason: list[str | None] = [None] * n
    violation = np.full(n, np.nan)
    artifacts: dict[str, list[str | None]] = {}
    for rows, part in parts:
        feasible[rows] = part.is_feasible
        for i, row in enumerate(rows):
            reason[row] = None if part.reason is None else part.reason[i]
        if part.violation is not None:
            violation[rows] = part.violation
        for name, digests in part.artifacts.items():
            column = artifacts.setdefault(name, [None] * n)
            for i, row in enumerate(rows):
                column[row] = digests[i]
    return Measurements(
        metrics=join(lambda part: part.metrics),
        low=join(lambda part: part.low),
        high=join(lambda part: part.high),
        provenance=parts[0][1].provenance if parts else {},
        feasible=feasible,
        reason=reason,
        violation=violation,
        artifacts=artifacts,
    )


def _name(part: object) -> str:
    return f"{type(part).__module__}:{type(part).__qualname__}"


def _options(searcher: object) -> dict[str, Any]:
    return {
        key: value
        for key, value in sorted(vars(searcher).items())
        if not key.startswith("_") and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return isinstance(value, (int, float, str, bool, type(None)))
