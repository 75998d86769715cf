"""When a study will end, from its first block on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archwright.cli import progress as module
from archwright.cli.progress import Lines, Pace, duration
from archwright.search.goal import Scores
from archwright.search.study import Progress
from archwright.search.study_file import load_study_file

STUDY = """
format = 1
[environment]
name = "archwright.testing:toy_environment"
[goal]
minimize = ["cost"]
[budget]
evaluations = 1000
"""


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module.time, "monotonic", found)
    return found


def load(tmp_path: Path, *changes: str) -> Any:
    path = tmp_path / "s.toml"
    path.write_text(STUDY)
    return load_study_file(path, changes)


def told(
    trials: int, *, evaluations: int | None = None, replayed: int = 0, seconds: float = 0.0
) -> Progress:
    """Return what a study tells after so many trials."""
    scores = Scores(losses=np.ones((1, 1)), violations=np.zeros((1, 0)), feasible=np.array([True]))
    return Progress(trials, evaluations or trials, trials, replayed, scores, seconds)


def test_the_first_block_tells_the_time_left(tmp_path: Path, clock: Clock) -> None:
    """16 of 1,000 in four seconds: 984 more take 246."""
    pace = Pace(load(tmp_path))
    clock.now += 4.0
    assert pace.left_s(told(16, evaluations=80)) == pytest.approx(246.0)


def test_workers_that_start_slowly_count_only_at_first(tmp_path: Path, clock: Clock) -> None:
    """A second of start and 10 ms a block are no hour."""
    pace = Pace(load(tmp_path))
    clock.now += 1.0
    pace.left_s(told(16))
    clock.now += 0.1
    assert pace.left_s(told(176)) == pytest.approx((1000 - 176) * 0.1 / 160)


def test_what_the_store_gives_is_no_pace(tmp_path: Path, clock: Clock) -> None:
    """A study continued at trial 500 reckons with its own time alone."""
    pace = Pace(load(tmp_path))
    clock.now += 50.0
    assert pace.left_s(told(500, replayed=500)) is None
    clock.now += 2.0
    assert pace.left_s(told(516, replayed=500)) == pytest.approx((1000 - 516) * 2.0 / 16)


def test_other_budgets(tmp_path: Path, clock: Clock) -> None:
    """Seconds end by the clock, cost of one fidelity as evaluations; the first limit counts."""
    seconds = Pace(load(tmp_path, "budget={seconds=60.0}"))
    assert seconds.left_s(told(16, seconds=12.0)) == 48.0
    cost = Pace(load(tmp_path, "budget={cost=100.0}"))
    clock.now += 1.0
    assert cost.total == 100
    assert cost.left_s(told(50)) == pytest.approx(1.0)
    both = Pace(load(tmp_path, "budget.seconds=5.0"))
    clock.now += 1.0
    assert both.left_s(told(16, seconds=1.0)) == 4.0


def test_lines_say_it_once_and_then_each_minute(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines(load(tmp_path), tmp_path, quiet=False)
    for block in range(1, 30):
        clock.now += 4.0
        lines.update(told(16 * block, seconds=4.0 * block))
    printed = [line for line in capsys.readouterr().err.splitlines() if "evaluations" in line]
    assert printed[0] == "16 of 1000 evaluations, 16 feasible, 4 s, ETA 4 min 6 s"
    assert len(printed) == 2  # 4 s and 64 s


def test_a_study_of_a_moment_prints_no_line(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines(load(tmp_path), tmp_path, quiet=False)
    clock.now += 0.5
    lines.update(told(16))
    assert "evaluations" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0.0, "ETA 1 s"), (59.2, "ETA 1 min 0 s"), (3600.0, "ETA 1 h 0 min"),
        (100_000.0, "ETA 1 d 3 h"),
    ],
)  # fmt: skip
def test_durations_as_people_write_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_the_panel_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The live line of a terminal ends the same way."""
    panel = module.Panel(load(tmp_path), tmp_path)
    try:
        time.sleep(0.01)
        panel.update(told(16))
        assert panel._bar.tasks[0].fields["left"].startswith("ETA ")
    finally:
        panel.close()
