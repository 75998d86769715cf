"""Studies under real use: budgets that hold and grow, failures, as completed, by hand, warm."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archwright.errors import EnvironmentFault, SpecificationError
from archwright.search import (
    NSGA2,
    Budget,
    Fidelity,
    Goal,
    Integer,
    Measurements,
    Metric,
    ParameterSpace,
    Processes,
    RandomSearch,
    Study,
)
from archwright.search.study import load_result
from archwright.search.study.dispatch import Pace
from archwright.testing import toy_environment

GOAL = Goal(minimize=["y"])


class Strange:
    """An environment that misbehaves where ``a`` ends in 3, as its mode says."""

    space = ParameterSpace({"a": Integer(0, 10_000), "b": Integer(0, 10_000)})
    metrics = (Metric("y"),)
    version = "1"
    deterministic = True
    fidelities = (Fidelity("full"),)

    def __init__(self, mode: str = "", sleep_s: float = 0.0, log: Path | None = None) -> None:
        self.mode = mode
        self.sleep_s = sleep_s
        self.log = log
        self.calls: list[int] = []

    def evaluate(self, designs: Any, **_: Any) -> Measurements:
        self.calls.append(len(designs))
        for design in designs:
            time.sleep(self.sleep_s)
            if design["a"] % 10 == 3:
                self._misbehave()
        y = designs.codes.sum(axis=1)
        return Measurements(metrics={"y": y})

    def _misbehave(self) -> None:
        if self.mode == "raise":
            raise ValueError("three")
        if self.mode == "exit":
            sys.exit(0)
        if self.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "hang":
            time.sleep(1000)
        if self.mode == "fork" and os.fork() == 0:
            raise ValueError("the child must not go on")
        if self.mode == "late":
            time.sleep(0.2)


def _study(environment: Any, searcher: Any = None, n: int = 100, **options: Any) -> Study:
    options.setdefault("budget", Budget(evaluations=n))
    return Study(environment, GOAL, searcher or RandomSearch(), **options)


def _rows(result: Any) -> str:
    return repr(result.table.drop_columns(["seconds"]).to_pydict())


def test_window_and_chunk_follow_from_the_searcher_and_the_budget(tmp_path: Path) -> None:
    """A learning searcher has at most a tenth of the budget out; a folder keeps what it began."""

    class Learning(RandomSearch):
        preferred_block = 4
        preferred_window = 16
        adaptive = True

    small = _study(Strange(), Learning(), n=50, folder=tmp_path / "s")
    assert (small.window, small.chunk) == (5, 1)
    assert (_study(Strange(), Learning(), n=1000).window) == 16
    small.run()
    grown = _study(Strange(), Learning(), n=1000, folder=tmp_path / "s")
    assert (grown.window, grown.chunk) == (5, 1)


def test_slow_trials_are_sent_one_by_one_and_fast_ones_together() -> None:
    """Pieces grow while they are short and are single trials where a trial takes long."""
    fast, slow = Strange(), Strange(sleep_s=0.1)
    _study(fast, n=640).run()
    _study(slow, n=12).run()

    assert max(fast.calls) >= 32
    assert slow.calls.count(1) >= len(slow.calls) - 1  # one piece of two asks whether it batches


def test_pieces_follow_an_environment_that_batches() -> None:
    """Where two take as long as one, pieces grow though they are slow."""
    pace = Pace()
    for n in (1, 2, 4, 8):
        assert pace.size == n
        pace.note(n, 1.0)
    assert pace.size == 16


@pytest.mark.parametrize("workers", [0, 4])
def test_a_budget_in_seconds_ends_within_one_trial(workers: int) -> None:
    """What was not begun is not run, and what was measured stays."""
    study = _study(Strange(sleep_s=0.25), budget=Budget(seconds=1.0))
    started = time.monotonic()
    result = study.run(executor=Processes(workers) if workers else None)

    assert result.stopped == "the budget of 1 seconds is used"
    assert 3 <= len(result.table) <= 6 * max(1, workers)
    assert time.monotonic() - started < 4.0  # a window of 64 trials takes 16 s


def test_a_searcher_that_only_steps_meets_its_budget_of_seconds() -> None:
    """Steps without end are ended by the clock."""

    class Stepping(RandomSearch):
        def ask(self, n: int) -> Any:
            return self._space.sample(self._rng, 0)

        def step(self) -> bool:
            time.sleep(0.05)
            return True

    result = _study(Strange(), Stepping(), budget=Budget(seconds=0.3)).run()
    assert result.stopped == "the budget of 0.3 seconds is used"


@pytest.mark.parametrize("make", [RandomSearch, lambda: NSGA2(population=8)])
def test_a_budget_grows(make: Any, tmp_path: Path) -> None:
    """More evaluations continue a finished study, and all of it replays."""
    folder = tmp_path / "s"
    first = _study(Strange(), make(), n=50, folder=folder).run()
    second = _study(Strange(), make(), n=110, folder=folder).run()
    assert len(first.table) == 50
    assert second.table.slice(0, 50).equals(first.table)
    assert len(second.table) >= 110

    (folder / "summary.json").unlink()
    for snapshot in (folder / "searcher").glob("*"):
        snapshot.unlink()
    again = _study(Strange(), make(), n=110, folder=folder).run()
    assert _rows(again) == _rows(second)


def test_an_interrupted_block_keeps_what_was_measured(tmp_path: Path) -> None:
    """Ctrl-C within a block of slow trials loses none that was measured."""

    class Interrupted(Strange):
        def evaluate(self, designs: Any, **options: Any) -> Measurements:
            if len(self.calls) == 9:
                raise KeyboardInterrupt
            return super().evaluate(designs, **options)

    environment = Interrupted(sleep_s=0.06)
    with pytest.raises(KeyboardInterrupt):
        _study(environment, folder=tmp_path / "s").run()

    assert len(load_result(tmp_path / "s").table) == sum(environment.calls)
    undisturbed = _rows(_study(Strange()).run())
    environment.calls = [0] * 100
    environment.sleep_s = 0.0
    assert _rows(_study(environment, folder=tmp_path / "s").run()) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_what_is_told_is_stored(number: int, tmp_path: Path) -> None:
    """It comes while the searcher is told; the handler runs where nothing is being written."""

    class Ended(KeyboardInterrupt):
        pass

    def end(*_: object) -> None:
        raise Ended

    class Signalled(RandomSearch):
        _whole = 0

        def tell(self, trials: Any) -> None:
            if trials.numbers[0] >= 20 and not self._whole:
                signal.raise_signal(number)
            super().tell(trials)
            self._whole += int(trials.numbers[0] >= 20)

    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, end)
    searcher = Signalled()
    try:
        with pytest.raises(KeyboardInterrupt) as stop:
            _study(Strange(), searcher, folder=tmp_path / "s", window=5, chunk=1).run()
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)

    assert isinstance(stop.value, Ended) == (number == signal.SIGTERM)
    assert searcher._whole > 0
    undisturbed = _rows(_study(Strange(), RandomSearch(), window=5, chunk=1).run())
    searcher._whole = 1
    assert _rows(_study(Strange(), searcher, folder=tmp_path / "s", window=5, chunk=1).run()) == (
        undisturbed
    )


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("raise", "ValueError"), ("exit", "SystemExit"), ("kill", "WorkerDied"),
     ("hang", "TimeoutError")],
)  # fmt: skip
def test_failures_are_recorded(mode: str, kind: str, tmp_path: Path) -> None:
    """A failed trial is a row without results, with its reason; the others are as ever."""
    options: dict[str, Any] = {"failures": "record", "n": 30}
    if mode == "hang":
        options["timeout_s"] = 0.5
    result = _study(Strange(mode), folder=tmp_path / "s", **options).run(executor=Processes(2))
    table = result.table.to_pydict()
    failed = [a % 10 == 3 for a in table["param.a"]]

    assert [state == "failed" for state in table["state"]] == failed
    assert 0 < sum(failed) < 30
    assert all(np.isnan(y) == bad for y, bad in zip(table["metric.y"], failed, strict=True))
    assert all(kind in table["reason"][i] for i, bad in enumerate(failed) if bad)
    lines = (tmp_path / "s" / "events.jsonl").read_text().splitlines()
    events = [event for line in lines if (event := json.loads(line))["event"] == "failed"]
    assert sorted(event["trial"] for event in events) == [i for i, bad in enumerate(failed) if bad]
    assert {event["type"] for event in events} == {kind}
    (tmp_path / "s" / "summary.json").unlink()
    again = _study(Strange("raise"), folder=tmp_path / "s", **options)
    again.timeout_s = None
    assert _rows(again.run()) == _rows(result)  # it does not run into the same ones again


@pytest.mark.parametrize("workers", [0, 2])
def test_an_environment_that_ends_the_program_is_a_fault(workers: int) -> None:
    """``sys.exit(0)`` ends no study silently."""
    with pytest.raises(EnvironmentFault, match="SystemExit: exit code 0"):
        _study(Strange("exit")).run(executor=Processes(workers) if workers else None)


def test_a_forked_child_does_not_go_on_as_the_study() -> None:
    """A child that an environment leaves behind ends where it would return."""
    own = os.getpid()
    result = _study(Strange("fork"), n=30).run()
    assert os.getpid() == own
    assert len(result.table) == 30


def test_retries_run_again_with_the_same_seed(tmp_path: Path) -> None:
    """A trial that fails once is measured by its second attempt."""
    marker = tmp_path / "marker"

    class Flaky(Strange):
        def _misbehave(self) -> None:
            if not marker.exists():
                marker.touch()
                raise ValueError("once")

    assert _rows(_study(Flaky(), retries=1).run()) == _rows(_study(Strange()).run())


def test_a_timeout_needs_workers() -> None:
    """This process cannot end a trial that runs in itself."""
    with pytest.raises(SpecificationError, match="Serial cannot end a trial"):
        _study(Strange(), timeout_s=1.0).run()


@pytest.mark.parametrize("make", [RandomSearch, lambda: NSGA2(population=8)])
def test_delivery_as_completed_is_replayed_from_its_record(make: Any, tmp_path: Path) -> None:
    """Tell order is recorded; killed or finished, the record gives the same trials."""
    options: dict[str, Any] = {"delivery": "as_completed", "window": 8, "n": 60}
    folder = tmp_path / "s"
    result = _study(Strange("late"), make(), folder=folder, **options).run(executor=Processes(4))
    told = result.table["told"].to_pylist()
    assert sorted(told) == list(range(60))
    assert told != sorted(told)
    (folder / "summary.json").unlink()
    again = _study(Strange("late"), make(), folder=folder, **options).run()
    assert _rows(again) == _rows(result)

    killed = tmp_path / "k"
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            study = _study(Strange("late"), make(), folder=killed, **options)
            study.run(executor=Processes(4))
        os._exit(0)
    time.sleep(0.4)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    time.sleep(0.3)
    part = load_result(killed).table.to_pylist() if (killed / "store.json").exists() else []
    whole = _study(Strange("late"), make(), folder=killed, **options).run(executor=Processes(4))
    rows = {row["trial"]: row for row in whole.table.to_pylist()}
    assert sorted(row["told"] for row in rows.values()) == list(range(60))
    assert all(rows[row["trial"]] == row for row in part)


@pytest.mark.parametrize("size", [1, 5])
def test_a_session_gives_the_trials_of_a_run(size: int, tmp_path: Path) -> None:
    """Asked in any pieces and told in any order, by hand and over two sittings."""
    environment, rng = Strange(), random.Random(size)
    undisturbed = _rows(_study(environment, NSGA2(population=8)).run())
    study = _study(environment, NSGA2(population=8), folder=tmp_path / "s")
    with study.session() as session:
        out = [asked for _ in range(3) if len(asked := session.ask(size))]
        asked = out[-1]
        session.tell(asked, environment.evaluate(asked.designs))
    study = _study(environment, NSGA2(population=8), folder=tmp_path / "s")
    with study.session() as session:
        out = []
        while True:
            asked = session.ask(size)
            if len(asked):
                out.append(asked)
                continue
            if not out:
                break
            one = out.pop(rng.randrange(len(out)))
            session.tell(one, {"y": environment.evaluate(one.designs).metrics["y"]})
        result = session.finish()
    assert _rows(result) == undisturbed


def test_results_are_learned_without_measuring_them() -> None:
    """Known trials stand in the table, cost no budget, and reach the searcher."""
    before = _study(Strange(), n=40).run()
    environment = Strange()
    learned: list[int] = []

    class Learning(RandomSearch):
        def learn(self, trials: Any) -> None:
            learned.extend(trials.numbers.tolist())

    result = _study(environment, Learning(), n=20, start=before, seed=5).run()
    states = result.table["state"].to_pylist()

    assert states[:40] == ["known"] * 40
    assert sum(environment.calls) == 20 == len(states) - 40
    assert learned == list(range(40))
    assert result.metric("y").min() <= before.metric("y").min()


def test_a_callback_ends_a_study_and_says_why() -> None:
    """What a stop callback returns is the reason."""
    result = _study(Strange(), n=1000).run(
        stop=lambda now: "good enough" if now.evaluations >= 64 else False
    )
    assert result.stopped == "good enough"
    assert 64 <= len(result.table) < 1000


def test_idle_workers_are_warned_of() -> None:
    """The warning names the key that would employ them."""
    study = _study(Strange(), window=2, chunk=1, n=4)
    with pytest.warns(UserWarning, match=r"2 of 4 workers will be idle: .*\[run\].window = 4"):
        study.run(executor=Processes(4))


def test_a_finished_study_is_read_and_keeps_its_provenance(tmp_path: Path) -> None:
    """Running it again asks nothing of the searcher."""

    class Labelled(Strange):
        def evaluate(self, designs: Any, **options: Any) -> Measurements:
            found = super().evaluate(designs, **options)
            return Measurements(metrics=found.metrics, provenance={"y": "measured"})

    class Mute(RandomSearch):
        def ask(self, n: int) -> Any:
            raise AssertionError("it was asked again")

    first = _study(Labelled(), folder=tmp_path / "s").run()
    study = _study(Labelled(), folder=tmp_path / "s")
    study.searcher.__class__ = RandomSearch
    study.searcher.ask = Mute().ask  # type: ignore[method-assign]
    assert _rows(study.run()) == _rows(first)
    summary = json.loads((tmp_path / "s" / "summary.json").read_text())
    assert summary["provenance"] == {"y": "measured"}


def test_progress_counts_what_was_measured() -> None:
    """Not what was asked and is still out."""
    seen: list[tuple[int, int]] = []
    _study(Strange(), window=64, chunk=16).run(
        progress=lambda now: seen.append((now.trials, now.evaluations))
    )
    assert seen[0] == (16, 16)


def test_replicates_leave_every_reason_and_all_seconds() -> None:
    """A design infeasible under one seed only has that seed's reason; its seconds add up."""
    noisy = toy_environment(noise=0.3, limit=1.6)
    result = Study(
        noisy, Goal(minimize=["cost"]), RandomSearch(), budget=Budget(evaluations=90), replicates=3
    ).run()
    trials = result.trials.to_pydict()
    assert not all(trials["feasible"])
    for feasible, reason in zip(trials["feasible"], trials["reason"], strict=True):
        assert feasible or reason
    seconds = np.array(result.table["seconds"].to_pylist()).reshape(-1, 3)
    assert trials["seconds"] == pytest.approx(seconds.sum(axis=1))


def test_an_unsigned_metric_is_maximized() -> None:
    """Its negative is no large positive number."""

    class Unsigned(Strange):
        def evaluate(self, designs: Any, **_: Any) -> Measurements:
            return Measurements(metrics={"y": (designs.codes[:, 0] % 251).astype(np.uint8)})

    result = Study(
        Unsigned(), Goal(maximize=["y"]), RandomSearch(), budget=Budget(evaluations=300)
    ).run()
    best = result.best()
    assert best is not None
    assert result.metric("y")[best] == result.metric("y").max() > 200
