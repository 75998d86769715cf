"""Studies under faults: killed, failed or cut short at every operation, or by a power cut."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import archwright.search.store.folder as store_folder
import archwright.search.study.session as study_module
from archwright.cli import main
from archwright.errors import StoreError
from archwright.search import NSGA2, Budget, Goal, Proposals, RandomSearch, Study
from archwright.search.store import Disk, read_trials, verify
from archwright.testing import same_trials, toy_environment
from archwright.testing.faults import FAULTS, FaultyDisk, PowerLoss
from archwright.testing.toys import ToyEvolution, ToyTraining

TRIALS = {"inheriting": 24}  # its artifacts make many operations; the others have 32


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seal and snapshot often, so that few trials pass every kind of operation."""
    monkeypatch.setattr(store_folder, "SEAL_ROWS", 16)
    monkeypatch.setattr(study_module, "SNAPSHOT_TRIALS", 16)


def study(name: str, folder: Path | None = None, disk: Disk | None = None) -> Study:
    """A stochastic, a two-fidelity, a generational study, or one whose trials inherit weights."""
    environment = {
        "stochastic": toy_environment(noise=0.1),
        "fidelities": toy_environment(fidelities={"low": 0.1, "full": 1.0}),
        "generational": toy_environment(limit=1.4),
        "inheriting": ToyTraining(),
    }[name]
    searchers: dict[str, Any] = {
        "fidelities": BothFidelities(),
        "generational": NSGA2(population=8),
        "inheriting": ToyEvolution(),
    }
    return Study(
        environment,
        Goal(minimize=["loss"] if name == "inheriting" else ["cost", "time"]),
        searchers.get(name, RandomSearch()),
        budget=Budget(evaluations=TRIALS.get(name, 32)),
        window=16,
        chunk=8,
        folder=folder,
        disk=disk,
    )


class BothFidelities(RandomSearch):
    """Every second design is asked at the low fidelity."""

    def ask(self, n: int) -> Any:
        designs = super().ask(n)
        return Proposals(
            designs=designs,
            fidelity=tuple("low" if i % 2 else "full" for i in range(len(designs))),
        )


@cache
def undisturbed(name: str) -> pa.Table:
    """The trials of a run that nobody disturbed, in memory."""
    return study(name).run().table


def operations(name: str, folder: Path) -> list[str]:
    """The operations of an undisturbed run, in order."""
    disk = FaultyDisk()
    study(name, folder, disk).run()
    return disk.log


NAMES = ["stochastic", "fidelities", "generational", "inheriting"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", NAMES)
def test_continued_after_a_fault_at_every_operation(name: str, fault: Any, tmp_path: Path) -> None:
    """One line ends the run; the same command then gives the undisturbed trials."""
    log = operations(name, tmp_path / "count")
    assert {"write", "sync", "publish", "rename", "seal", "tell"} <= set(log)
    assert "snapshot" in log or name == "generational"  # pymoo's state only pickles
    for at in range(len(log)):
        folder = tmp_path / f"run-{at}"
        disk = FaultyDisk(at, fault)
        with pytest.raises(StoreError, match=r"^[^\n]+$"):
            study(name, folder, disk).run()
        assert disk.tripped
        found = study(name, folder).run().table

        assert same_trials(found, undisturbed(name)), f"{fault} at {at}: {log[at]}"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NAMES)
def test_continued_after_a_power_cut_at_every_operation(
    name: str, seed: int, tmp_path: Path
) -> None:
    """Bytes and names that were not synced may be gone; what was sealed is not."""
    count = len(operations(name, tmp_path / "count"))
    for at in range(count):
        folder = tmp_path / f"run-{at}"
        disk = PowerLoss(at, seed=1000 * seed + at)
        with pytest.raises(StoreError):
            study(name, folder, disk).run()
        disk.crash()
        found = study(name, folder).run().table

        assert same_trials(found, undisturbed(name)), f"power cut at {at}"


def test_a_failed_sync_is_not_tried_again_on_the_same_file(tmp_path: Path) -> None:
    """The tail's sync fails once; sealing again writes a new file from memory instead."""
    from archwright.search.store import Store, TableSchema

    class NoSync(Disk):
        armed = False

        def __init__(self) -> None:
            self.failed: list[int] = []

        def sync(self, handle: int) -> None:
            if self.armed:
                self.failed.append(handle)
                raise OSError(5, "Input/output error")
            super().sync(handle)

    disk = NoSync()
    schema = TableSchema({"x": "int"}, ["m"], ["m"], ["environment"])
    store = Store.open(tmp_path / "s", {}, schema, disk=disk)
    store.append(_row(0))
    disk.armed = True
    with pytest.raises(StoreError, match="Input/output error"):
        store.seal()
    tail = disk.failed[0]
    with pytest.raises(StoreError, match="Input/output error"):
        store.seal()
    store.abandon()

    assert disk.failed.count(tail) == 1
    assert read_trials(tmp_path / "s")["trial"].to_pylist() == [0]


def _row(trial: int) -> dict[str, Any]:
    return {
        "trial": np.array([trial]), "replicate": np.zeros(1, np.int32), "state": ["complete"],
        "fidelity": ["full"], "seed": np.array([trial], np.uint64), "param.x": np.array([trial]),
        "metric.m": np.array([0.5]), "loss.m": np.array([0.5]),
        "constraint.environment": np.zeros(1), "feasible": np.array([True]),
    }  # fmt: skip


def finished(folder: Path) -> Path:
    """A finished study of several parts."""
    study("stochastic", folder).run()
    return folder


def test_verify_counts_what_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An undamaged folder has no damage, and exit code 0."""
    folder = finished(tmp_path / "run")
    found = verify(folder)

    assert (found.trials, found.sealed, found.parts, found.damage) == (32, 32, 2, [])
    assert main(["verify", str(folder)]) == 0
    assert capsys.readouterr().out.startswith(
        "32 trials are whole and in order: 32 rows in 2 parts"
    )


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("trials/part-00000.parquet", 0),
        ("trials/part-00001.parquet", 16),
        ("commits.jsonl", 0),
        ("searcher/*", 32),
    ],
)
def test_repair_sets_damage_aside_and_the_trials_run_again(
    tmp_path: Path, name: str, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is deleted, the damage is named, and continuing gives the undisturbed trials."""
    folder = finished(tmp_path / "run")
    path = sorted(folder.glob(name))[-1]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(data)
    if not name.startswith("searcher"):
        with pytest.raises(StoreError, match="damaged"):
            study("stochastic", folder).run()

    assert main(["verify", str(folder)]) == 1
    assert str(path) in capsys.readouterr().out
    assert verify(folder, repair=True).trials == kept
    aside = [p for p in folder.rglob("*.damaged-*") if p.name.startswith(path.name)]
    assert [p.read_bytes() for p in aside] == [bytes(data)]
    assert same_trials(study("stochastic", folder).run().table, undisturbed("stochastic"))
    assert verify(folder).damage == []


def test_a_commit_log_of_another_study_is_refused(tmp_path: Path) -> None:
    """The first record names its study."""
    one, other = finished(tmp_path / "one"), tmp_path / "other"
    study("generational", other).run()
    (one / "commits.jsonl").write_bytes((other / "commits.jsonl").read_bytes())

    with pytest.raises(StoreError, match="record 1 is damaged or of another study"):
        study("stochastic", one).run()


def test_single_bit_flips_are_never_read_as_data(tmp_path: Path) -> None:
    """Flips in parts, tail, commits and snapshots are refused, healed, or change nothing."""
    folder = tmp_path / "run"
    with pytest.raises(StoreError):
        study("stochastic", folder, FaultyDisk(40, "kill before")).run()
    whole = read_trials(folder)
    rng = np.random.default_rng(0)
    files = [
        p for p in folder.rglob("*") if p.suffix in (".parquet", ".arrows", ".jsonl", ".json")
    ]
    files = [p for p in files if p.name not in ("events.jsonl", "elapsed.json", "origin.json")]
    assert any(p.name == "tail.arrows" for p in files)
    for _ in range(300):
        path = files[int(rng.integers(len(files)))]
        data = path.read_bytes()
        if not data:
            continue
        flipped = bytearray(data)
        flipped[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            found = read_trials(folder)
        except StoreError:
            pass
        else:  # a prefix: a damaged last batch counts as torn
            assert same_trials(found, whole.slice(0, len(found))), path
        path.write_bytes(data)
