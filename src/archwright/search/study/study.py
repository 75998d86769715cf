"""The study: one environment, one goal, one searcher, a budget and a seed.

The order of asks and tells depends on the study alone. Trials are asked in blocks of ``chunk``;
block j is asked exactly when every block up to j - window/chunk has been told and no later one
has; ``tell`` gets trials strictly in ask order. Window and chunk follow from the searcher and the
budget where none are given. So serial and parallel runs give the same trials,
and a study that was killed continues as if nothing had happened: it restores the searcher's last
snapshot, replays recorded trials, checks that each replayed ask equals the stored design, and
runs again what was in flight.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from html import escape
from inspect import signature
from pathlib import Path
from typing import Any

from archwright.errors import EnvironmentFault, SpecificationError, StoreError, unknown
from archwright.registry import resolve
from archwright.search.environments import Environment, check_metrics
from archwright.search.executors import Executor, Serial
from archwright.search.goal import Goal
from archwright.search.numbers import positive, whole
from archwright.search.searcher import Searcher, make_searcher
from archwright.search.space import ParameterSpace
from archwright.search.start import Given, given_results
from archwright.search.store import Disk
from archwright.search.store.disk import unwritable
from archwright.search.study.budget import Budget, Progress
from archwright.search.study.dispatch import Dispatcher
from archwright.search.study.identity import class_name, plain_options, stored_layout
from archwright.search.study.layout import check_layout, layout
from archwright.search.study.recorder import Recorder
from archwright.search.study.result import Result
from archwright.search.study.session import Session, Stop

__all__ = ["DELIVERIES", "FAILURES", "Study"]

DELIVERIES = ("in_order", "as_completed")
FAILURES = ("stop", "record")


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
        window: most trials in flight, a multiple of ``chunk``; None for what the searcher prefers,
            at most a tenth of the budget where it learns.
        chunk: trials a block; None for what the searcher prefers.
        replicates: seeds a design is scored over (a stochastic environment).
        start: designs that are measured first, or the `Result` of another study, whose trials
            are learned without measuring them; see `archwright.search.start`.
        folder: where the study is kept and continued; None keeps it in memory.
        identity: plain data that says what the study is; None derives it from the parts.
        disk: the file layer of the folder; the fault harness puts its own here.
        delivery: ``in_order``, or ``as_completed``: each trial is told when it is measured, and
            the order of tells is recorded.
        failures: what is done about a trial that raises, dies or takes too long: ``stop`` the
            study, or ``record`` it as failed and go on.
        retries: further attempts of such a trial (at least two where its worker died).
        timeout_s: after so many seconds a trial's worker is ended; needs an executor with workers.

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
        window: int | None = None,
        chunk: int | None = None,
        replicates: int = 1,
        start: Any = None,
        folder: Path | str | None = None,
        identity: Mapping[str, Any] | None = None,
        disk: Disk | None = None,
        delivery: str = "in_order",
        failures: str = "stop",
        retries: int = 0,
        timeout_s: float | None = None,
    ) -> None:
        window, chunk = (
            None if value is None else whole(value, f"[run].{name}", least=1)
            for name, value in (("window", window), ("chunk", chunk))
        )
        replicates = whole(replicates, "[run].replicates", least=1)
        retries = whole(retries, "[run].retries", least=0)
        seed = whole(seed, "seed", least=0)
        for key, value, known in (
            ("delivery", delivery, DELIVERIES),
            ("failures", failures, FAILURES),
        ):
            if value not in known:
                raise SpecificationError(f"[run].{key}: {unknown('choice', value, known)}")
        if timeout_s is not None:
            timeout_s = positive(timeout_s, "[run].timeout_s")
        if window is not None and chunk is not None:
            check_layout(window, chunk, delivery)
        if replicates > 1 and environment.deterministic:
            raise SpecificationError(
                f"[run].replicates: {replicates} seeds of a deterministic environment measure the "
                "same; use 1"
            )
        if environment.space.size == 0:
            raise SpecificationError("require: no design of the space meets it")
        check_metrics(environment.metrics)
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
        self.delivery = delivery
        self.failures = failures
        self.retries = retries
        self.timeout_s = timeout_s
        self.replicates = replicates
        self.start = given_results(environment, start) if isinstance(start, Result) else start
        if isinstance(self.start, Given) and replicates > 1:
            raise SpecificationError("start: known results are of one seed; use replicates = 1")
        self.folder = None if folder is None else Path(folder)
        self._given = window, chunk
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
        options = ", ".join(f"{k}={v!r}" for k, v in plain_options(self.searcher).items())
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

    @property
    def window(self) -> int:
        """Most trials in flight: as given, else as the folder or the searcher has it."""
        return self._layout()[0]

    @property
    def chunk(self) -> int:
        """Trials a block: as given, else as the folder or the searcher has it."""
        return self._layout()[1]

    def _layout(self) -> tuple[int, int]:
        window, chunk = self._given
        if window is not None and chunk is not None:
            return window, chunk
        stored = stored_layout(self.folder)
        if stored is not None:  # a budget that has grown since changes no ask
            window, chunk = window or stored[0], chunk or stored[1]
        else:
            window, chunk = layout(
                self.searcher,
                self.budget,
                window=window,
                chunk=chunk,
                replicates=self.replicates,
                delivery=self.delivery,
            )
        check_layout(window, chunk, self.delivery)
        self._given = window, chunk
        return window, chunk

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
                "searcher": {"class": class_name(self.searcher), **plain_options(self.searcher)},
                "run": {},
            }
        )
        if "run" in parts:
            parts["run"] = {
                **parts["run"],
                "window": self.window,
                "chunk": self.chunk,
                "replicates": self.replicates,
            }
            if self.delivery != "in_order":
                parts["run"]["delivery"] = self.delivery
        space = environment.space
        if self.start is not None:
            designs = self.start.designs if isinstance(self.start, Given) else self.start
            keys = b"".join(space.keys(designs))
            if isinstance(self.start, Given):
                keys += self.start.digest().encode()
            parts["start"] = {"designs": len(designs), "sha256": sha256(keys).hexdigest()}
        parts["environment is"] = {
            "class": class_name(environment),
            "version": environment.version,
            "identity": identify(),
            "space": space.describe() if isinstance(space, ParameterSpace) else repr(space),
        }
        return json.loads(json.dumps(parts))  # type: ignore[no-any-return]

    def session(
        self,
        *,
        progress: Callable[[Progress], None] | None = None,
        stop: Sequence[Stop] = (),
    ) -> Session:
        """Open the study, new or to continue, for a loop of one's own; see :class:`Session`.

        Raises:
            StoreError: the folder cannot be used.
            StudyError: a replayed ask differs from the stored design.
        """
        recorder = self._open()
        try:
            return Session(self, recorder, progress=progress, stop=stop)
        except BaseException:
            recorder.abandon()
            raise

    def run(
        self,
        *,
        executor: Executor | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: Stop | Sequence[Stop] = (),
    ) -> Result:
        """Run, or continue, to the end of the budget.

        Ctrl-C leaves a study that the same call continues. A study that had ended under the same
        budget is read.

        Args:
            executor: what measures; None for this process.
            progress: called after each block.
            stop: called after each block too; what it returns, if true, ends the study (a text
                says why).

        Raises:
            StoreError: the folder cannot be used.
            StudyError: a replayed ask differs from the stored design.
            EnvironmentFault: the environment is broken.
            SpecificationError: the executor cannot do what the study asks.
        """
        executor = executor or Serial()
        if self.timeout_s is not None and "timeout_s" not in signature(executor.submit).parameters:
            raise SpecificationError(
                f"[run].timeout_s: {type(executor).__name__} cannot end a trial; use the executor "
                "'processes'"
            )
        idle = self.idle(executor)
        if idle:
            warnings.warn(idle, stacklevel=2)
        try:
            return self._run(executor, progress, (stop,) if callable(stop) else tuple(stop))
        except OSError as error:  # the store's: those of an environment come as EnvironmentFault
            if self.folder is None:
                raise
            raise unwritable(self.folder, error) from error

    def idle(self, executor: Executor) -> str:
        """Return a sentence where workers will have nothing to do, and what would employ them."""
        workers = getattr(executor, "workers", None) or 1
        if workers <= self.window:
            return ""
        return (
            f"{workers - self.window} of {workers} workers will be idle: the window of this study "
            f"is {self.window}; [run].window = {workers} employs them (and learns less a trial)"
        )

    def _open(self) -> Recorder:
        return Recorder.open(
            self.environment,
            self.goal,
            self.folder,
            self.identity(),
            self.files,
            self._disk,
            seed=self.seed,
            told=self.delivery == "as_completed",
        )

    def _run(
        self,
        executor: Executor,
        progress: Callable[[Progress], None] | None,
        stop: Sequence[Stop],
    ) -> Result:
        recorder = self._open()
        try:
            ended = recorder.finished(self.budget)
            if ended is not None:
                return ended
            executor.open(self.environment)
            try:
                session = Session(self, recorder, progress=progress, stop=stop)
                try:
                    Dispatcher(
                        session,
                        executor,
                        failures=self.failures,
                        retries=self.retries,
                        timeout_s=self.timeout_s,
                    ).run()
                    return session.finish()
                except (KeyboardInterrupt, EnvironmentFault):
                    session.keep()
                    recorder.interrupted(session.seconds)
                    raise
            finally:
                executor.close()  # while the folder is ours: workers may still write artifacts
        except BaseException as error:
            with contextlib.suppress(OSError, StoreError):
                recorder.event("stopped", why=type(error).__name__)
            raise
        finally:
            recorder.abandon()
