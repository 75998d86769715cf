"""The session of a study: ask and tell, in the order that the study alone decides.

What is asked of the searcher, and when it is told, follows from the study: see
:class:`~archwright.search.study.study.Study`. Who measures, in which pieces and in which order,
changes no trial. ``Study.run`` drives a session with an executor; a laboratory, a cluster of
one's own or a notebook drives it by hand.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from archwright.errors import StudyError, unknown
from archwright.search.conclusion import conclude
from archwright.search.environments import Environment, Measurements, check_measurements
from archwright.search.executors.measure import Block
from archwright.search.goal import Scores
from archwright.search.searcher import Proposals, Trials
from archwright.search.seeds import trial_seeds
from archwright.search.start import Given, Start
from archwright.search.store.artifacts import Artifacts
from archwright.search.study import continuing
from archwright.search.study.blocks import Known, OpenBlock, Rows, marks
from archwright.search.study.budget import Progress
from archwright.search.study.recorded import Recorded
from archwright.search.study.recorder import Recorder
from archwright.search.study.result import Result

if TYPE_CHECKING:
    from archwright.search.study.study import Study

__all__ = ["Asked", "Session", "offered"]

STALE_WINDOWS = 20
SNAPSHOT_TRIALS = 8192
SNAPSHOT_SECONDS = 30.0
FLUSH_SECONDS = 0.5

Stop = Callable[[Progress], object]


@dataclass(frozen=True, eq=False)
class Asked:
    """Designs to measure: one fidelity, one replicate, one seed a design.

    Attributes:
        numbers: trial numbers, shape (n,).
        replicate: which of the study's replicates.
        work: designs, seeds, fidelity, parents and artifacts, as an executor takes them.
    """

    numbers: npt.NDArray[np.int64]
    replicate: int
    work: Block
    _block: OpenBlock = field(repr=False)
    _rows: Rows = field(repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def designs(self) -> Any:
        """The designs."""
        return self.work.designs

    @property
    def seeds(self) -> npt.NDArray[np.uint64]:
        """The seed of each."""
        return self.work.seeds

    @property
    def fidelity(self) -> str:
        """The fidelity of all."""
        return self.work.fidelity


class Session:
    """A study at work. Open it with :meth:`Study.session`.

    >>> from archwright.search import Budget, Goal, RandomSearch, Study
    >>> from archwright.testing import toy_environment
    >>> toy = toy_environment()
    >>> study = Study(toy, Goal(minimize=["cost"]), RandomSearch(),
    ...               budget=Budget(evaluations=20))
    >>> with study.session() as session:
    ...     while len(asked := session.ask(4)):
    ...         measured = toy.evaluate(asked.designs, seeds=asked.seeds,
    ...                                 fidelity=asked.fidelity)
    ...         session.tell(asked, measured)
    ...     result = session.finish()
    >>> len(result.table), result.stopped
    (20, 'the budget of 20 evaluations is used')

    Attributes:
        stopped: why no more is asked; empty while the study goes on.
    """

    def __init__(
        self,
        study: Study,
        recorder: Recorder,
        *,
        progress: Callable[[Progress], None] | None = None,
        stop: Sequence[Stop] = (),
    ) -> None:
        self.study = study
        self.recorder = recorder
        self.recorded: Recorded = recorder.recorded
        self.space = study.environment.space
        self._progress = progress
        self._stops = tuple(stop)
        fidelities = study.environment.fidelities
        self.costs = {f.name: f.relative_cost for f in fidelities}
        self.truest = fidelities[-1].name
        self.memoize = study.environment.deterministic
        self.as_completed = study.delivery == "as_completed"
        given = study.start if isinstance(study.start, Given) else None
        learns = hasattr(study.searcher, "learn")
        # a searcher that cannot learn what it did not ask for draws the given designs itself
        draws = study.start is not None and not learns
        self.begin = Start(self.space, _designs_of(study.start)) if draws else None
        if study.start is not None and not learns and given is None and not self.memoize:
            self._given = None  # it would measure each twice
        else:
            self._given = study.start
        self.memo: dict[bytes, int] = {}
        self.measured_keys: set[bytes] = set()  # of what was asked at the truest fidelity
        self.known = Known()
        self.flight: deque[OpenBlock] = deque()
        self.asked = self.told = self.evaluations = self.stale = self.feasible = 0
        self.asks = self.arrived = self.flushed = 0
        self.cost = 0.0
        self.stopped = ""
        self._halted = False
        self._waiting: deque[tuple[OpenBlock, Rows, int, str]] = deque()
        self._order: list[OpenBlock] = []  # what is complete, as it completed
        self._before = recorder.elapsed_s
        self._started = self._flushed_at = time.monotonic()
        self.snapshot_at = self._started
        self.snapshot_told = 0
        study.searcher.start(
            self.space if self.begin is None else self.begin.space,
            study.goal.objectives,
            seed=study.seed,
            capabilities=offered(study.environment),
        )
        continuing.restore(self)
        if not self.asked and self._given is not None:
            self._submit_given(self._given)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """Running time, over all runs of the study."""
        return self._before + time.monotonic() - self._started

    @property
    def waiting(self) -> int:
        """Designs that could be asked at once."""
        return sum(len(rows) for _, rows, _, _ in self._waiting)

    def ask(self, n: int = 1) -> Asked | tuple[()]:
        """Return up to n designs to measure; none while others are measured, or at the end.

        Where ``stopped`` is set and nothing is out, the study has ended: call :meth:`finish`.

        Raises:
            StudyError: the searcher broke its contract, or a replayed ask differs.
            StoreError: the folder cannot be written.
        """
        self._advance()
        self.halt_overdue()
        if not self._waiting:
            return ()
        block, rows, replicate, fidelity = self._waiting[0]
        if len(rows) <= n:
            self._waiting.popleft()
        else:
            self._waiting[0] = block, rows[n:], replicate, fidelity
            rows = rows[:n]
        return self._asked(block, rows, replicate, fidelity)

    def tell(
        self,
        asked: Asked,
        measurements: Measurements | Mapping[str, Any],
        *,
        seconds: float = 0.0,
    ) -> None:
        """Take what was measured; a mapping gives the metrics of feasible designs.

        Raises:
            EnvironmentFault: the measurements break their contract.
            StoreError: the folder cannot be written.
        """
        if not isinstance(measurements, Measurements):
            measurements = Measurements(metrics=measurements)
        n = len(asked)
        measured = check_measurements(measurements, n, self.study.environment.metrics)
        if asked.work.artifacts is not None and not measured.artifacts:
            measured = replace(measured, artifacts=asked.work.artifacts.written)
        each = np.full(n, seconds / n) if measured.cost_s is None else measured.cost_s
        self._take(asked, measured, each)
        self._advance()

    def fail(self, asked: Asked, kind: str, message: str, trace: str = "") -> None:
        """Record that designs could not be measured: searchers see them as unevaluable."""
        n = len(asked)
        for number in asked.numbers.tolist():
            self.recorder.event(
                "failed", trial=number, type=kind, message=message, traceback=trace
            )
        self._take(
            asked,
            Measurements(
                metrics={m.name: np.full(n, np.nan) for m in self.study.environment.metrics},
                feasible=np.zeros(n, dtype=bool),
                reason=[f"{kind}: {message}".replace("\n", " ")] * n,
                violation=np.full(n, np.nan),
                failed=np.ones(n, dtype=bool),
            ),
            np.zeros(n),
        )
        self._advance()

    def split(self, asked: Asked) -> list[Asked]:
        """Return the same designs one by one, with their seeds."""
        block, name = asked._block, asked.fidelity
        return [
            self._asked(block, asked._rows[i : i + 1], asked.replicate, name)
            for i in range(len(asked))
        ]

    def halt(self, why: str) -> None:
        """End the study: what was not begun is not measured; what comes back is kept."""
        self.stopped = self.stopped or why
        self._halted = True
        self._waiting.clear()

    @property
    def seconds_left(self) -> float | None:
        """Running time left of a budget in seconds; None without one."""
        limit = self.study.budget.seconds
        return None if limit is None else limit - self.seconds

    @property
    def halted(self) -> bool:
        """Whether what was not begun is left unmeasured."""
        return self._halted

    def halt_overdue(self) -> None:
        """End the study where its budget of seconds is used."""
        if self._out_of_time():
            self.halt(f"the budget of {self.study.budget.seconds:g} seconds is used")

    def keep(self) -> None:
        """Flush all that was measured, told or not, so that nothing of it is lost."""
        if not self.as_completed:
            self._flush_prefix()
        loose = [
            (block, rows)
            for block in self.flight
            if len(rows := _unflushed(block, told=self.as_completed))
        ]
        for block, rows in loose:
            whole = block.joined(self.known)
            results = [one.take(rows) for one in whole]
            self.recorder.append_ahead(block, rows, results, self._scores(results))
            block.ahead.update(rows.tolist())
        self._flushed_at = time.monotonic()

    def finish(self) -> Result:
        """Seal the study and return its result; the session has then ended.

        Raises:
            StudyError: the study goes on; call :meth:`close` to leave it for later.
        """
        self._advance()
        if not self.stopped:
            raise StudyError("the study has not ended: ask and tell until 'stopped' says why")
        self.keep()
        if not self._halted and not self.flight:
            self.recorder.drained(self.asks)
        continuing.snapshot(self)
        return self.recorder.finish(
            self.stopped,
            self.evaluations - self._out(),
            self.seconds,
            self.study.seed,
            budget=self.study.budget,
            complete=not self._halted,
            conclude=lambda result: conclude(result, self.study.environment),
        )

    def close(self) -> None:
        """Keep what was measured and give the folder up; the same study continues."""
        if self.recorder.open_now:
            try:
                self.keep()
                self.recorder.interrupted(self.seconds)
            finally:
                self.recorder.abandon()

    # asking

    def _advance(self) -> None:
        """Tell and ask as far as the measurements at hand allow."""
        if self.as_completed:
            self._advance_as_completed()
            return
        blocks = self.study.window // self.study.chunk
        while True:
            # where the study had ended before its budget grew, all was told before the next ask
            full = len(self.flight) == blocks or self.asks in self.recorder.drains
            if self.flight and (full or self.stopped or self.flight[0].given):
                if not self.flight[0].complete:
                    break
                self._tell(self.flight.popleft())
            elif self.stopped:
                break
            if not self.stopped:
                self._ask()
        if time.monotonic() - self._flushed_at > FLUSH_SECONDS:
            self.keep()

    def _advance_as_completed(self) -> None:
        while True:
            given = any(block.given for block in self.flight)
            while not self.stopped and not given and len(self.flight) < self.study.window:
                before = self.asked
                self._ask()
                if self.asked == before:
                    break
            block = self._next_completed()
            if block is None:
                break
            self.flight.remove(block)
            self._tell(block)

    def _next_completed(self) -> OpenBlock | None:
        """Return what is told next: as the record has it, else as it completed."""
        number = self.recorded.told_order(self.told)
        if number is not None:
            for block in self.flight:
                if block.first == number:
                    return block
            raise StudyError(
                f"{self.study.folder}: code or versions changed: trial {number} was told at place "
                f"{self.told}, and is not asked by then now"
            )
        if self._order:
            return self._order.pop(0)
        # a repeat is complete once what it repeats has been told
        out = {block.first for block in self.flight}
        for block in self.flight:
            if block.complete and int(block.repeat_of[0]) not in out:
                return block
        return None

    def _ask(self) -> None:
        n = self._room()
        if not n:
            return
        while True:
            found = self.study.searcher.ask(n)
            proposals = found if isinstance(found, Proposals) else Proposals(designs=found)
            if len(proposals.designs) or self._out_of_time() or not self._step():
                break
        if not len(proposals.designs) and not any(len(block) for block in self.flight):
            if self._out_of_time():
                self.halt_overdue()
                return
            self.stopped = "the searcher has finished"
            self.flight.clear()
            return
        if len(proposals.designs) > n:
            raise StudyError(
                f"the searcher returned {len(proposals.designs)} designs for ask({n})"
            )
        if n != self.study.chunk:
            self.recorder.asked_size(self.asks, n)
        self.asks += 1
        if self.as_completed and not len(proposals.designs):
            return
        self.submit(self.number(proposals))

    def _step(self) -> bool:
        started = time.monotonic()
        worked = self.study.searcher.step()
        if worked:
            self.cost += float(getattr(self.study.searcher, "step_cost", 0.0))
            if time.monotonic() - started > 1.0:
                self.snapshot_at = -SNAPSHOT_SECONDS  # dear work is kept soon
        return worked

    @property
    def replaying(self) -> bool:
        """Whether the next ask was recorded."""
        return bool(self.asked < self.recorded.known)

    def _out_of_time(self) -> bool:
        left = self.seconds_left
        return left is not None and not self.replaying and left <= 0

    def _room(self) -> int:
        """Return how many designs may be asked now; at 0 the study has stopped, and why is set."""
        budget, n = self.study.budget, self.study.chunk
        size = self.recorder.sizes.get(self.asks)
        if size is not None:
            n = size  # a study that has grown asks here what it asked when it was smaller
        if budget.evaluations is not None and (size is None or not self.replaying):
            left = (budget.evaluations - self.evaluations) // self.study.replicates
            if left <= 0 and not self.replaying:
                self.stopped = f"the budget of {budget.evaluations} evaluations is used"
                return 0
            n = min(n, left) if left > 0 else n
        if budget.cost is not None and (size is None or not self.replaying):
            left_cost = budget.cost - self.cost
            if left_cost <= 0 and not self.replaying:
                self.stopped = f"the budget of cost {budget.cost:g} is used"
                return 0
            dearest = max(self.costs.values()) * self.study.replicates
            n = min(n, max(1, int(left_cost // dearest))) if left_cost > 0 else n
        if self._out_of_time():
            self.halt_overdue()
            return 0
        total = self.space.size if self.memoize else None
        known = self.memo if len(self.costs) == 1 else self.measured_keys
        if total is not None and len(known) >= total:
            self.stopped = f"the space is exhausted: all {total} designs are known"
            return 0
        if self.stale >= STALE_WINDOWS * self.study.window:
            self.stopped = f"no new design in {STALE_WINDOWS} windows"
            return 0
        return n

    def number(self, proposals: Proposals) -> OpenBlock:
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
        self._check_replayed(keys, proposals.designs)
        if self.memoize:
            known = self.memo.setdefault
            marked = marks(fidelity, parents, self.truest)
            for number, key in enumerate(
                map(bytes.__add__, keys, marked) if marked else keys, self.asked
            ):
                first = known(key, number)
                if first != number:
                    repeat_of[number - self.asked] = first
        if len(self.costs) > 1:
            self.note_measured(keys, fidelity)
        fresh = repeat_of < 0
        new = int(fresh.sum())
        replicates = self.study.replicates
        self.stale = 0 if new else self.stale + n
        self.evaluations += new * replicates
        if len(self.costs) == 1:
            self.cost += new * replicates * self.costs[self.truest]
        else:
            self.cost += replicates * sum(
                self.costs[name]
                for name, is_fresh in zip(fidelity, fresh, strict=True)
                if is_fresh
            )
        block = OpenBlock(
            self.asked,
            proposals.designs,
            fidelity,
            parents,
            repeat_of,
            [[] for _ in range(replicates)],
            np.broadcast_to(~fresh, (replicates, n)).copy(),
            np.zeros((replicates, n)),
        )
        self.asked += n
        return block

    def _submit_given(self, start: Any) -> None:
        """Put the designs that the study begins from in flight, before the searcher's own."""
        designs = _designs_of(start)
        known = start.measurements if isinstance(start, Given) else None
        budget = self.study.budget.evaluations
        if known is None and budget is not None:
            most = budget // self.study.replicates
            designs = designs if len(designs) <= most else designs.take(np.arange(most))
        size = 1 if self.as_completed else max(1, len(designs))
        for first in range(0, len(designs), size):
            rows = np.arange(first, min(first + size, len(designs)))
            block = self.number(Proposals(designs=designs.take(rows)))
            block.given, block.known = True, known is not None
            if known is not None:
                fresh = np.flatnonzero(block.repeat_of < 0)
                self.evaluations -= len(fresh)
                self.cost -= len(fresh) * self.costs[self.truest]
                if not self.recorded.known:
                    block.take(fresh, 0, known.take(rows).take(fresh))
            self.submit(block)

    def _check_replayed(self, keys: list[bytes], designs: Any) -> None:
        """Refuse a replayed ask that is not the stored one: the trials would be another's."""
        for i, (key, stored) in enumerate(
            zip(keys, self.recorded.keys_from(self.asked, len(keys)), strict=False)
        ):
            if stored is not None and key != stored:
                raise StudyError(
                    f"{self.study.folder}: code or versions changed at trial {self.asked + i}: "
                    f"the searcher now asks {{{designs[i]}}} where the store has "
                    f"{{{self.recorded.design(self.asked + i)}}}"
                )

    def note_measured(self, keys: Sequence[bytes], fidelity: Sequence[str]) -> None:
        """Note which designs were asked at the truest fidelity."""
        self.measured_keys.update(
            k for k, f in zip(keys, fidelity, strict=True) if f == self.truest
        )

    def submit(self, block: OpenBlock) -> None:
        """Put a block in flight: recorded results are taken, the rest waits to be asked."""
        self.flight.append(block)
        if not len(block):
            return
        rows = self.recorded.rows_of(block.first, len(block))
        if len(rows):
            for replicate, one in enumerate(self.recorded.measured(block.first + rows)):
                fresh = block.repeat_of[rows] < 0
                everything = one if fresh.all() else one.take(np.flatnonzero(fresh))
                block.take(rows[fresh], replicate, everything)
            stored = min(len(block), max(0, len(self.recorded) - block.first))
            block.flushed = stored
            block.ahead.update(row for row in rows.tolist() if row >= stored)
        todo = np.flatnonzero(~block.measured[0])
        every = np.array(block.fidelity)[todo] if len(self.costs) > 1 else None
        for name in [self.truest] if every is None else dict.fromkeys(every.tolist()):
            some = todo if every is None else todo[every == name]
            if len(some):
                for replicate in range(self.study.replicates):
                    self._waiting.append((block, some, replicate, name))

    def _asked(self, block: OpenBlock, rows: Rows, replicate: int, fidelity: str) -> Asked:
        numbers = block.first + rows
        inherits = bool((block.parents[rows] >= 0).any())
        work = Block(
            first=int(numbers[0]),
            designs=block.designs if len(rows) == len(block) else block.designs.take(rows),
            seeds=trial_seeds(self.study.seed, numbers, replicate),
            fidelity=fidelity,
            parents=block.parents[rows] if inherits else None,
            artifacts=self._artifacts(block.parents[rows], replicate),
        )
        return Asked(numbers, replicate, work, block, rows)

    def _artifacts(self, parents: npt.NDArray[np.int64], replicate: int) -> Artifacts | None:
        """Return what designs of such parents inherit and may leave."""
        names = self.recorder.artifacts
        if not names:
            return None
        inherited = {
            name: [
                None if parent < 0 else self.known.artifact(parent, replicate, name)
                for parent in parents.tolist()
            ]
            for name in names
        }
        return Artifacts(
            self.recorder.artifacts_folder, names, inherited, len(parents), self.recorder.disk
        )

    # telling

    def _take(
        self, asked: Asked, measured: Measurements, seconds: npt.NDArray[np.float64]
    ) -> None:
        block = asked._block
        block.take(asked._rows, asked.replicate, measured)
        block.seconds[asked.replicate, asked._rows] = seconds
        self.arrived += len(asked)
        if self.as_completed and block.complete:
            self._order.append(block)

    def _tell(self, block: OpenBlock) -> None:
        n = len(block)
        if not n:
            return
        replay = block.flushed == n or (self.as_completed and bool(block.ahead))
        if not replay:
            self._flush(block, n)
            self.recorder.disk.reach("tell")
        elif not block.scores:
            results = block.joined(self.known)
            block.scores.append(self._scores(results))
            self.known.add(block.first, results)
        scores = _joined_scores(block.scores)
        self.told += n
        self.feasible += int(scores.feasible.sum())
        trials = Trials(
            numbers=np.arange(block.first, block.first + n),
            designs=block.designs,
            scores=scores,
            fidelity=block.fidelity,
            parents=block.parents,
            repeats=block.repeat_of >= 0,
        )
        searcher: Any = self.study.searcher
        if not block.given:
            searcher.tell(trials)
        elif hasattr(searcher, "learn"):
            searcher.learn(trials)
        due = self.told - self.snapshot_told >= SNAPSHOT_TRIALS
        if not replay and (due or time.monotonic() - self.snapshot_at > SNAPSHOT_SECONDS):
            continuing.snapshot(self)
        self._tell_progress(block, scores)

    def _tell_progress(self, block: OpenBlock, scores: Scores) -> None:
        if self._progress is None and not self._stops:
            return
        now = Progress(
            self.told,
            self.evaluations - self._out(),
            self.feasible,
            min(self.told, self.recorded.known),
            scores,
            self.seconds,
        )
        if self._progress is not None:
            self._progress(now)
        for stop in self._stops:
            why = stop(now)
            if why and not self.stopped and block.first + len(block) >= self.recorded.known:
                self.halt(why if isinstance(why, str) else "a stop callback ended it")

    def _out(self) -> int:
        """Return how many evaluations were asked and have not arrived."""
        return sum(int((~block.measured).sum()) for block in self.flight)

    def _flush(self, block: OpenBlock, upto: int) -> None:
        """Write the rows of a block up to one; all before it are written."""
        whole = block.joined(self.known)
        if block.flushed and not block.scores:  # written before this run
            block.scores.append(self._scores([one.take(slice(block.flushed)) for one in whole]))
        part = slice(block.flushed, upto)
        everything = upto - block.flushed == len(block)
        results = whole if everything else [one.take(part) for one in whole]
        scores = self._scores(results)
        told = self.told if self.as_completed else None
        if not self.as_completed or self.recorder.contiguous(block.first):
            self.recorder.append(block, part, results, scores, told=told)
        else:
            self.recorder.append_ahead(block, np.arange(len(block)), results, scores, told=told)
        block.scores.append(scores)
        block.flushed = upto
        self.flushed += len(scores)
        if upto == len(block):
            self.known.add(block.first, whole)
        self._flushed_at = time.monotonic()

    def _flush_prefix(self) -> None:
        """Write the trials that are measured with all before them, told or not."""
        for block in self.flight:
            upto = block.prefix()
            if upto > block.flushed:
                self._flush(block, upto)
            if upto < len(block):
                break

    def _scores(self, results: list[Measurements]) -> Scores:
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


def _designs_of(start: Any) -> Any:
    return start.designs if isinstance(start, Given) else start


def _unflushed(block: OpenBlock, *, told: bool) -> Rows:
    """Return the measured rows of a block that no file has yet; ``told`` leaves them for later."""
    if told or not len(block):
        return np.zeros(0, dtype=np.intp)
    rows = np.flatnonzero(block.measured.all(axis=0) & (block.repeat_of < 0))
    rows = rows[rows >= block.flushed]
    return np.array([row for row in rows.tolist() if row not in block.ahead], dtype=np.intp)


def _joined_scores(parts: list[Scores]) -> Scores:
    if len(parts) == 1:
        return parts[0]
    return Scores(
        losses=np.concatenate([part.losses for part in parts]),
        violations=np.concatenate([part.violations for part in parts]),
        feasible=np.concatenate([part.feasible for part in parts]),
    )


def offered(environment: Environment) -> Mapping[str, Any]:
    """Return what an environment offers a searcher beyond measuring, by name."""
    own: Mapping[str, Any] = getattr(environment, "capabilities", {})
    return {"fidelities": environment.fidelities, **own}
