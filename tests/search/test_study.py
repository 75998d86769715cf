"""The study: who is asked when, exact continuation, budgets, repeats and faults."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archwright.errors import EnvironmentFault, SpecificationError, StoreError, StudyError
from archwright.search import (
    NSGA2,
    Budget,
    Choice,
    Exhaustive,
    Goal,
    Integer,
    ParameterSpace,
    Processes,
    RandomSearch,
    Serial,
    Study,
)
from archwright.search.study import load_result
from archwright.search.study import session as study_module
from archwright.testing import ToyEnvironment, toy_environment

GOAL = Goal(minimize=["cost", "time"])
SMALL = ParameterSpace({"a": Choice(["x", "y", "z"]), "b": Integer(1, 4)})


def _study(searcher: Any = None, **options: Any) -> Study:
    filled: dict[str, Any] = {
        "environment": toy_environment(limit=2.0),
        "goal": GOAL,
        "budget": Budget(evaluations=100),
        "window": 32,
        "chunk": 8,
    } | options
    return Study(
        filled.pop("environment"), filled.pop("goal"), searcher or RandomSearch(), **filled
    )


def _rows(result: Any) -> str:
    """Return the rows as text, without the seconds, so that NaN equals NaN."""
    return repr(result.table.drop_columns(["seconds"]).to_pydict())


def _stop_after(blocks: int) -> Callable[[Any], None]:
    told = 0

    def progress(_: Any) -> None:
        nonlocal told
        told += 1
        if told == blocks:
            raise KeyboardInterrupt

    return progress


class Recording(RandomSearch):
    """A random search that notes its asks and tells."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []

    def ask(self, n: int) -> Any:
        self.log.append(("ask", n))
        return super().ask(n)

    def tell(self, trials: Any) -> None:
        self.log.append(("tell", int(trials.numbers[0])))
        super().tell(trials)


@pytest.mark.parametrize(("window", "chunk"), [(32, 8), (8, 8), (12, 4), (5, 1)])
def test_block_j_is_asked_when_the_blocks_before_its_window_are_told(
    window: int, chunk: int
) -> None:
    """Asks and tells come in the one order that the rule allows."""
    searcher = Recording()
    _study(
        searcher, environment=toy_environment(noise=0.1), window=window, chunk=chunk,
        budget=Budget(evaluations=10 * chunk),
    ).run()  # fmt: skip

    depth, expected, told = window // chunk, [], 0
    for block in range(10):
        while told <= block - depth:  # block j needs every block up to j - window/chunk
            expected.append(("tell", told * chunk))
            told += 1
        expected.append(("ask", chunk))
    expected += [("tell", block * chunk) for block in range(told, 10)]
    assert searcher.log == expected


def test_tells_come_strictly_in_order_under_two_workers() -> None:
    """Worker processes change neither the order of asks and tells nor a single row."""
    serial, parallel, one = Recording(), Recording(), Recording()
    noisy = toy_environment(noise=0.1, limit=2.0)

    rows = [
        _rows(_study(searcher, environment=noisy).run(executor=executor))
        for searcher, executor in (
            (serial, Serial()), (parallel, Processes(2)), (one, Processes(1)),
        )
    ]  # fmt: skip

    assert rows[0] == rows[1] == rows[2]
    assert serial.log == parallel.log == one.log


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("snapshots", [8192, 1])
@pytest.mark.parametrize("make", [RandomSearch, lambda: NSGA2(population=12)])
def test_interrupted_at_every_block_it_equals_the_undisturbed(
    make: Any, noise: float, snapshots: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after each block, again and again, leaves a study that ends as if undisturbed."""
    monkeypatch.setattr(study_module, "SNAPSHOT_TRIALS", snapshots)
    options: dict[str, Any] = {
        "environment": toy_environment(noise=noise, limit=1.5),
        "budget": Budget(evaluations=60),
        "replicates": 2 if noise else 1,
        "window": 16,
    }
    undisturbed = _rows(_study(make(), **options).run())
    for stop in range(1, 9):
        with pytest.raises(KeyboardInterrupt):
            _study(make(), folder=tmp_path / f"{stop}", **options).run(
                progress=_stop_after(min(stop, 3))
            )
        if stop > 3:  # a second time, further on
            with contextlib.suppress(KeyboardInterrupt):
                _study(make(), folder=tmp_path / f"{stop}", **options).run(progress=_stop_after(2))
        assert _rows(_study(make(), folder=tmp_path / f"{stop}", **options).run()) == undisturbed
    events = (tmp_path / "1" / "events.jsonl").read_text()
    assert '"stopped", "why": "KeyboardInterrupt"' in events
    assert '"event": "continued"' in events


def test_a_finished_study_continues_to_the_same_end(tmp_path: Path) -> None:
    """The same call on a finished folder changes no row."""
    first = _study(folder=tmp_path / "s").run()
    again = _study(folder=tmp_path / "s").run()

    assert _rows(again) == _rows(first)
    assert again.stopped == first.stopped == "the budget of 100 evaluations is used"


def test_repeats_are_rows_without_cost() -> None:
    """A repeat has the state ``repeat`` and its first result; the budget counts unique designs."""
    result = _study(environment=ToyEnvironment(space=SMALL), budget=Budget(evaluations=10)).run()

    states = result.table["state"].to_pylist()
    assert states.count("complete") == 10 == len(result.trials)
    assert states.count("repeat") == len(states) - 10 > 0
    seen: dict[tuple[Any, ...], float] = {}
    table = result.table.to_pydict()
    for a, b, cost in zip(table["param.a"], table["param.b"], table["metric.cost"], strict=True):
        assert seen.setdefault((a, b), cost) == cost


def test_noise_is_never_memoized() -> None:
    """Equal designs of a stochastic environment are measured again, under their own seeds."""
    noisy = ToyEnvironment(space=SMALL, noise=0.1)
    result = _study(environment=noisy, budget=Budget(evaluations=50)).run()

    assert set(result.table["state"].to_pylist()) == {"complete"}
    assert len(set(result.table["metric.cost"].to_pylist())) == 50


def test_an_exhausted_space_ends_the_study() -> None:
    """When every design is known the study says so, for random and exhaustive search."""
    toy = ToyEnvironment(space=SMALL)

    random = _study(environment=toy, budget=Budget(evaluations=1000)).run()
    every = _study(Exhaustive(), environment=toy, budget=Budget(evaluations=1000)).run()

    assert random.stopped == "the space is exhausted: all 12 designs are known"
    assert len(random.trials) == len(every.table) == 12


def test_twenty_windows_without_a_new_design_end_the_study() -> None:
    """A searcher that only repeats itself is stopped, and the study says why."""

    class Stuck(RandomSearch):
        def ask(self, n: int) -> Any:
            return self._space.sample(np.random.default_rng(0), n)

    result = _study(Stuck()).run()

    assert result.stopped == "no new design in 20 windows"
    assert len(result.table) == 8 + 20 * 32


def test_replicates_are_rows_and_the_searcher_sees_the_mean() -> None:
    """Each trial has one row a seed, next to each other; losses told are their means."""
    told: list[Any] = []

    class Told(RandomSearch):
        def tell(self, trials: Any) -> None:
            told.append(trials.scores.losses)

    result = _study(
        Told(), environment=toy_environment(noise=0.1), replicates=3, budget=Budget(evaluations=30)
    ).run()

    table = result.table.to_pydict()
    assert table["trial"] == [i for i in range(10) for _ in range(3)]
    assert table["replicate"] == [0, 1, 2] * 10
    assert len(set(table["seed"])) == 30
    rows = np.column_stack([table["loss.cost"], table["loss.time"]]).reshape(10, 3, 2)
    assert np.concatenate(told) == pytest.approx(rows.mean(axis=1))
    assert result.losses == pytest.approx(rows.mean(axis=1))


def test_budgets_of_cost_and_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cost counts declared fidelities; seconds decide only when to stop."""
    dear = toy_environment(fidelities={"full": 2.5})
    cost = _study(environment=dear, budget=Budget(cost=100.0)).run()
    assert (len(cost.table), cost.stopped) == (40, "the budget of cost 100 is used")

    clock = iter(range(10**6))
    monkeypatch.setattr(study_module.time, "monotonic", lambda: float(next(clock)))
    timed = _study(budget=Budget(seconds=60.0)).run()
    assert timed.stopped == "the budget of 60 seconds is used"
    longer = _study(budget=Budget(evaluations=len(timed.table)))
    assert _rows(longer.run()) == _rows(timed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give evaluations, cost or seconds"),
        ({"evaluations": 0}, "evaluations: expected more than 0, found 0"),
        ({"evaluations": 1.5}, "evaluations: expected a number, found 1.5"),
        ({"seconds": float("nan")}, "seconds: expected more than 0, found nan"),
    ],
)
def test_impossible_budgets_are_refused(options: Any, message: str) -> None:
    """A budget needs at least one positive limit."""
    with pytest.raises(SpecificationError, match=message):
        Budget(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 20, "chunk": 8}, "window \\(20\\) must be a multiple of chunk \\(8\\)"),
        ({"chunk": 0}, "chunk: expected at least 1, found 0"),
        ({"seed": -1}, "seed: expected a whole number from 0, found -1"),
        ({"replicates": 2}, "2 seeds of a deterministic environment measure the same"),
        ({"goal": Goal(minimize=["csot"])}, "unknown metric 'csot' \\(nearest: 'cost'\\)"),
    ],
)
def test_studies_that_do_not_fit_are_refused(options: Any, message: str) -> None:
    """The parts of a study are checked against each other before it runs."""
    with pytest.raises(SpecificationError, match=message):
        _study(**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 7}, "seed was 0, is 7"),
        ({"chunk": 16}, "run.chunk was 8, is 16"),
        (
            {"goal": Goal(minimize=["cost"])},
            "goal.minimize was \\['cost', 'time'\\], is \\['cost'\\]",
        ),
        (
            {"environment": ToyEnvironment(space=SMALL)},
            "environment is.space.parameters.family was",
        ),
        ({"searcher": NSGA2(population=8)}, "searcher.class was .*RandomSearch.*, is .*NSGA2"),
    ],
)
def test_a_changed_study_is_refused_with_the_difference(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """A folder continues only the study it was made for."""
    _study(folder=tmp_path / "s").run()
    with pytest.raises(StoreError, match=f"holds a different study: .*{message}"):
        _study(folder=tmp_path / "s", **change).run()


def test_changed_code_is_found_when_an_ask_differs(tmp_path: Path) -> None:
    """A replayed ask that is not the stored design names the trial and both designs."""

    class Changed(RandomSearch):
        code = 1

        def ask(self, n: int) -> Any:
            designs = super().ask(n)
            return designs.take(np.arange(n)[::-1]) if self.code == 2 else designs

    with pytest.raises(KeyboardInterrupt):
        _study(Changed(), folder=tmp_path / "s").run(progress=_stop_after(3))
    Changed.code = 2
    with pytest.raises(
        StudyError, match=r"code or versions changed at trial 0: .* now asks {family"
    ):
        _study(Changed(), folder=tmp_path / "s").run()
    assert len(load_result(tmp_path / "s").table) == 24


def test_a_searcher_that_asks_too_much_is_named() -> None:
    """More designs than asked for are refused."""

    class Greedy(RandomSearch):
        def ask(self, n: int) -> Any:
            return super().ask(n + 1)

    with pytest.raises(StudyError, match="returned 9 designs for ask\\(8\\)"):
        _study(Greedy()).run()


class Crashing(ToyEnvironment):
    """Fails in the block of one trial."""

    def evaluate(self, designs: Any, **options: Any) -> Any:
        if self.crash == len(self.told):
            raise ZeroDivisionError("no cores")
        self.told.append(len(designs))
        return super().evaluate(designs, **options)

    crash = 2

    def __init__(self) -> None:
        super().__init__()
        self.told: deque[int] = deque()


def test_a_crash_names_the_trials_and_leaves_a_folder_that_continues(tmp_path: Path) -> None:
    """A broken environment is a fault, not an infeasible design."""
    undisturbed = _rows(_study(environment=toy_environment()).run())
    crashing = Crashing()
    with pytest.raises(
        EnvironmentFault, match="crashed in trials 3 to 6: ZeroDivisionError: no cores"
    ):
        _study(environment=crashing, folder=tmp_path / "s").run()
    crashing.crash = -1

    assert _rows(_study(environment=crashing, folder=tmp_path / "s").run()) == undisturbed


class Dying(ToyEnvironment):
    """Ends its process the first time, and each time where there is no marker to be left."""

    def __init__(self, marker: Path | None) -> None:
        super().__init__()
        self.marker = marker

    def evaluate(self, designs: Any, **options: Any) -> Any:
        if self.marker is None:
            os._exit(3)
        if not self.marker.exists():
            self.marker.touch()
            os._exit(3)
        return super().evaluate(designs, **options)


class Broken(ToyEnvironment):
    """Raises."""

    def evaluate(self, designs: Any, **options: Any) -> Any:
        raise ZeroDivisionError("boom")


class Watching(Serial):
    """Tries to open the folder of the study that it ends with."""

    refused = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def close(self) -> None:
        try:
            _study(environment=Broken(), folder=self.folder).run()
        except StoreError as error:
            self.refused = str(error)


def test_the_folder_is_kept_until_the_workers_have_ended(tmp_path: Path) -> None:
    """Where a block fails, others that still run may write artifacts there."""
    executor = Watching(tmp_path / "s")
    with pytest.raises(EnvironmentFault, match="boom"):
        _study(environment=Broken(), folder=tmp_path / "s").run(executor=executor)
    assert str(tmp_path / "s") in executor.refused


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """A block whose worker died runs again; after three deaths the trial is named."""
    undisturbed = _rows(_study(environment=toy_environment()).run())

    found = _study(environment=Dying(tmp_path / "marker")).run(executor=Processes(2))

    assert _rows(found) == undisturbed
    with pytest.raises(EnvironmentFault, match="trial 0: the worker process died 3 times"):
        _study(environment=Dying(None)).run(executor=Processes(1))
