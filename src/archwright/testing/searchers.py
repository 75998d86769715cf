"""The conformance suite of searchers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archwright.search import (
    Budget,
    Choice,
    Environment,
    Executor,
    Goal,
    Integer,
    ParameterSpace,
    Processes,
    Searcher,
    Study,
)
from archwright.search.seeds import trial_seeds
from archwright.testing.conformance import Checks, ensure, global_randomness
from archwright.testing.drive import Drive, Spoiled
from archwright.testing.toys import ToyEnvironment

__all__ = ["check_searcher"]


def check_searcher(
    factory: Callable[[], Searcher],
    *,
    environment: Environment | None = None,
    objectives: Sequence[int] = (1, 2),
    seeded: bool = True,
    trials: int = 96,
    processes: bool = True,
) -> None:
    """Check a searcher against its contract: asks, tells, determinism, resume.

    >>> from archwright.search import RandomSearch
    >>> check_searcher(RandomSearch, processes=False)

    Args:
        factory: makes a new searcher each time it is called.
        environment: what it searches; the default has a conditional parameter, most kinds and
            two metrics. The suite makes further designs of it infeasible or unknown.
        objectives: numbers of losses that it can take.
        seeded: whether another seed must give other designs (not so for an exhaustive search).
        trials: trials of each drive; raise it above several generations.
        processes: also run a study in two worker processes.

    Raises:
        ConformanceError: the message lists every broken clause with the likely mistake.
    """
    first = factory()
    checks = Checks(f"the searcher {type(first).__name__}")
    with checks.clause("it has the members of a searcher", "a method is missing or misnamed"):
        missing = [
            name
            for name in ("start", "ask", "tell", "step", "state", "restore")
            if not callable(getattr(first, name, None))
        ]
        ensure(not missing, f"lacks {', '.join(missing)}")
        ensure(factory() is not first, "the factory gave the same searcher twice")
    if checks.broken:
        checks.finish()
    where = environment or ToyEnvironment()
    for count in objectives:
        _Suite(checks, factory, where, count, trials).run(seeded, processes)
    checks.finish()


class _Suite:
    """The clauses at one number of objectives."""

    def __init__(
        self,
        checks: Checks,
        factory: Callable[[], Searcher],
        environment: Environment,
        objectives: int,
        trials: int,
    ) -> None:
        self.checks = checks
        self.factory = factory
        self.environment = environment
        self.trials = trials
        self.what = f"with {objectives} objective{'s' if objectives > 1 else ''}"
        metrics = environment.metrics[:objectives]
        if len(metrics) < objectives:
            checks.broken.append(
                (f"{objectives} objectives", f"the environment has only {len(metrics)} metrics")
            )
        self.sides: dict[str, Any] = {
            "minimize": [m.name for m in metrics if m.better == "lower"],
            "maximize": [m.name for m in metrics if m.better == "higher"],
        }
        self.goal = Goal(**self.sides)
        self.spoiled = Spoiled(environment, infeasible=0.2, unknown=0.1)

    def drive(self, **options: Any) -> Drive:
        """Return a new searcher, started."""
        filled: dict[str, Any] = {"environment": self.environment, "goal": self.goal, "seed": 3}
        return Drive(self.factory(), **(filled | options))

    def run(self, seeded: bool, processes: bool) -> None:
        checks, trials = self.checks, self.trials
        before = len(checks.broken)
        with checks.clause(
            "ask gives at most n designs of the space", "a whole population for every ask"
        ):
            for chunk, ahead in ((8, 2), (1, 3), (trials, 1)):
                asked = self.drive(chunk=chunk, ahead=ahead).run(trials)
                ensure(asked, f"{self.what} it asked for nothing at all")
        if len(checks.broken) > before:
            return
        self._seeds(seeded)
        self._answers()
        self._state()
        self._studies(processes)

    def _seeds(self, seeded: bool) -> None:
        trials = self.trials
        with self.checks.clause(
            "the seed decides what is asked",
            "np.random or random without the seed given to start; see isolated_rng",
        ):
            with global_randomness(1) as untouched:
                first = list(self.drive().run(trials))
                ensure(untouched(), "it draws from or seeds the global generators")
            with global_randomness(2):
                again = self.drive().run(trials)
            at = _parting(first, again)
            ensure(at is None, f"under equal seeds trial {at} differs between two runs")
            if seeded:
                other = self.drive(seed=4).run(trials)
                ensure(other != first, f"seeds 3 and 4 asked the same {len(first)} designs")

    def _answers(self) -> None:
        trials, checks, base = self.trials, self.checks, self.environment
        cases = {
            "infeasible designs": (Spoiled(base, infeasible=0.4), self.goal),
            "infeasible designs at an unknown distance": (
                Spoiled(base, infeasible=0.4, violations=False),
                self.goal,
            ),
            "nothing but infeasible designs": (Spoiled(base, infeasible=1.0), self.goal),
            "unknown losses (NaN)": (Spoiled(base, unknown=0.4), self.goal),
            "nothing but unknown losses": (Spoiled(base, unknown=1.0), self.goal),
            "constraints": (base, self._constrained()),
        }
        for name, (environment, goal) in cases.items():
            with checks.clause(
                f"it copes with {name}", "NaN in an order or a fit, or an empty selection"
            ):
                asked = self.drive(environment=environment, goal=goal).run(trials)
                ensure(asked, f"{self.what} it asked for nothing at all")
        with checks.clause(
            "asked again while trials are in flight, it gives more or nothing",
            "a generation that is built from results that are not there yet",
        ):
            waiting = self.drive(ahead=2**30)
            for _ in range(40):
                waiting.ask(16)
            waiting.run(len(waiting.keys))  # tells all of it
            waiting.ask(16)
        if isinstance(base.space, ParameterSpace):
            with checks.clause(
                "a tiny space ends or repeats", "a loop that waits for a design not seen before"
            ):
                tiny = ParameterSpace({"a": Choice(["x", "y"]), "b": Integer(1, 2)})
                costs = {f.name: f.relative_cost for f in base.fidelities}
                toy = ToyEnvironment(space=tiny, fidelities=costs)
                self.drive(environment=toy).run(64)

    def _state(self) -> None:
        """A searcher restored at any tell goes on as the one that was never stopped."""
        spoiled = self.spoiled
        with self.checks.clause(
            "state and restore continue exactly",
            "something the asks depend on is not in the state, such as designs in flight",
        ):
            undisturbed = list(self.drive(environment=spoiled).run(self.trials))
            drive = self.drive(environment=spoiled)
            states: list[tuple[int, int, str]] = []
            for asked in drive.blocks(self.trials):
                state = drive.searcher.state()
                if state is None:
                    return  # a continued study replays its trials then
                states.append((len(states) + 1, asked, json.dumps(state)))
            at = _parting(undisturbed, drive.keys)
            ensure(at is None, f"calling state() changed what is asked at trial {at}")
            for tells, asked, text in states[:: max(1, len(states) // 6)]:
                other = self.drive(environment=spoiled)
                for told, _ in enumerate(other.blocks(self.trials), 1):
                    if told == tells:  # not by trials asked: a tell may follow an empty ask
                        break
                fresh = self.factory()
                space = self.environment.space
                fresh.start(space, self.goal.objectives, seed=3, capabilities={})
                fresh.restore(json.loads(text))
                other.searcher = fresh
                at = _parting(undisturbed, other.run(self.trials))
                ensure(at is None, f"restored after {asked} trials, it differs at trial {at}")

    def _studies(self, processes: bool) -> None:
        undisturbed = ""
        with self.checks.clause(
            "a study that is interrupted continues exactly", "see state and restore"
        ):
            undisturbed = self._study(None)
            for stop in (1, 2, 5):
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        self._study(Path(folder) / "study", stop=stop)
                    except KeyboardInterrupt:
                        found = self._study(Path(folder) / "study")
                        same = found == undisturbed
                        ensure(same, f"interrupted after block {stop}, the trials differ")
        if processes and undisturbed:
            with self.checks.clause(
                "worker processes give the trials of one process", "results used before a tell"
            ):
                found = self._study(None, executor=Processes(2))
                ensure(found == undisturbed, "two workers gave other trials")

    def _study(
        self, folder: Path | None, *, stop: int | None = None, executor: Executor | None = None
    ) -> str:
        """Run a study; return its rows as text, so that NaN equals NaN."""
        told = 0

        def progress(_: Any) -> None:
            nonlocal told
            told += 1
            if told == stop:
                raise KeyboardInterrupt

        study = Study(
            self.spoiled,
            self.goal,
            self.factory(),
            budget=Budget(evaluations=min(self.trials, 64)),
            seed=3,
            window=16,
            chunk=8,
            folder=folder,
        )
        table = study.run(executor=executor, progress=progress).table
        return repr(table.drop_columns(["seconds"]).to_pydict())

    def _constrained(self) -> Goal:
        """Return the goal with a limit on the first metric that about half the designs meet."""
        drawn = self.environment.space.sample(np.random.default_rng(0), 64)
        metric = self.environment.metrics[0]
        values = self.environment.evaluate(
            drawn,
            seeds=trial_seeds(0, np.arange(64)),
            fidelity=self.environment.fidelities[-1].name,
        ).metrics[metric.name]
        known = values[np.isfinite(values)]
        middle = float(np.median(known)) if len(known) else 0.0
        return Goal(**self.sides, subject_to=[f"{metric.name} <= {middle!r}"])


def _parting(a: list[bytes], b: list[bytes]) -> int | None:
    """Return the first trial at which two runs differ."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return None if len(a) == len(b) else min(len(a), len(b))
