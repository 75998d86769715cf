"""Folders and names that go wrong: one clear line each, or nothing to notice at all."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import os
import time
from pathlib import Path
from typing import Any

import pytest

from archwright.cli import main
from archwright.errors import StoreError
from archwright.search import Budget, Choice, Goal, Integer, ParameterSpace, RandomSearch, Study
from archwright.search.store import Disk, read_trials, verify
from archwright.search.store import folder as store_folder
from archwright.search.study import load_result
from archwright.testing import same_trials, toy_environment
from archwright.testing.faults import FaultyDisk


def study(folder: Path | None, *, disk: Disk | None = None, **options: Any) -> Study:
    return Study(
        toy_environment(noise=0.1, **options),
        Goal(minimize=["cost"]),
        RandomSearch(),
        budget=Budget(evaluations=48),
        window=16,
        chunk=8,
        folder=folder,
        disk=disk,
    )


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three parts a study."""
    monkeypatch.setattr(store_folder, "SEAL_ROWS", 16)


def refused(folder: Path, match: str) -> None:
    """Neither writer nor reader takes it, verify names it, one line each."""
    for attempt in (lambda: study(folder).run(), lambda: read_trials(folder)):
        with pytest.raises(StoreError, match=rf"^[^\n]*{match}[^\n]*$"):
            attempt()
    assert any(match in line for line in verify(folder).damage)


def test_a_truncated_part_is_refused(tmp_path: Path) -> None:
    """A part that lost its end."""
    study(tmp_path / "run").run()
    part = tmp_path / "run" / "trials" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-40])
    refused(tmp_path / "run", "part-00001.parquet: is damaged")


def test_swapped_parts_are_refused(tmp_path: Path) -> None:
    """Two whole parts under each other's name."""
    study(tmp_path / "run").run()
    trials = tmp_path / "run" / "trials"
    one, two = trials / "part-00000.parquet", trials / "part-00001.parquet"
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    refused(tmp_path / "run", "part-00000.parquet: is damaged")


def test_a_part_of_another_study_is_refused(tmp_path: Path) -> None:
    """A whole part with the right name, from elsewhere."""
    study(tmp_path / "run").run()
    study(tmp_path / "other", limit=1.0).run()
    name = "trials/part-00002.parquet"
    (tmp_path / "run" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    refused(tmp_path / "run", "part-00002.parquet: is damaged")


def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock on the wall goes back and forth by days; trials and continuing do not care."""
    expected = study(None).run().table
    jumps = itertools.cycle([0.0, 3e5, -3e5, 86400.0, -1e6])
    real = time.time

    def jumping() -> float:
        return real() + next(jumps)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "strftime", lambda _, *__: f"1970-01-01T00:00:{next(jumps)}")
    for at in (10, 25, 40):
        with pytest.raises(StoreError):
            study(tmp_path / "run", disk=FaultyDisk(at, "kill before")).run()

    assert same_trials(study(tmp_path / "run").run().table, expected)
    assert verify(tmp_path / "run").damage == []


def test_files_from_the_future_change_nothing(tmp_path: Path) -> None:
    """Times of files play no part."""
    folder = tmp_path / "run"
    expected = study(folder).run().table
    for path in folder.rglob("*"):
        os.utime(path, (4e9, 4e9) if path.name.startswith("part") else (1.0, 1.0))

    assert same_trials(study(folder).run().table, expected)


def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    """For a file system mounted read-only too, where being root does not help."""

    class ReadOnly(Disk):
        def _refuse(self, *_: Any) -> int:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        open_append = open_new = _refuse

    with pytest.raises(StoreError, match=r"^[^\n]*cannot be written \(Read-only file system\)"):
        study(tmp_path / "run", disk=ReadOnly()).run()


def test_a_full_disk_ends_the_study_and_it_continues_when_there_is_room(tmp_path: Path) -> None:
    """One line; the flushed trials are safe."""
    with pytest.raises(StoreError, match=r"^[^\n]*No space left on device[^\n]*continues$"):
        study(tmp_path / "run", disk=FaultyDisk(20, "no space")).run()
    kept = len(read_trials(tmp_path / "run"))

    assert kept > 0
    assert same_trials(study(tmp_path / "run").run().table, study(None).run().table)


ODD = [
    "plain", "with space", "dot.ted", "sla/sh", "quo'te\"s", "naïve-δ-名", "new\nline", "100%",
    "{brace}", "[bracket]", "<b>&amp;", "a" * 200, "metric.cost", "trial",
]  # fmt: skip


def test_odd_names_of_parameters_and_values_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names and values with blanks, dots, quotes, newlines, letters of any script."""
    names = {name: Integer(0, 9) for name in ODD} | {"choice": Choice(ODD)}
    space = ParameterSpace(names)
    folder = tmp_path / "odd näme, 'quoted' (名) %20"
    expected = study(None, space=space).run().table
    with pytest.raises(StoreError):
        study(folder, disk=FaultyDisk(25, "kill before"), space=space).run()
    found = study(folder, space=space).run()

    assert same_trials(found.table, expected)
    assert set(load_result(folder).column("param.choice")) <= set(ODD)
    assert main(["export", str(folder)]) == 0
    header = next(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert {f"param.{name}" for name in ODD} < set(header)
