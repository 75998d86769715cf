"""Artifacts: what trials leave for those that inherit from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archwright.cli import main
from archwright.errors import EnvironmentFault, SpecificationError, StoreError
from archwright.search import Budget, Goal, Processes, Serial, Study
from archwright.search.store import Disk, verify
from archwright.search.store.artifacts import collect_artifacts, write_artifact
from archwright.search.study import load_result
from archwright.testing import same_trials
from archwright.testing.faults import FaultyDisk
from archwright.testing.toys import ToyEvolution, ToyTraining


def study(folder: Path | None = None, *, disk: Disk | None = None, **options: Any) -> Study:
    return Study(
        ToyTraining(),
        Goal(minimize=["loss"]),
        ToyEvolution(),
        budget=Budget(evaluations=48),
        window=16,
        chunk=8,
        folder=folder,
        disk=disk,
        **options,
    )


def oracle(rows: list[dict[str, Any]]) -> list[float]:
    """The losses, from the rows' designs, seeds and parents alone."""
    weights: dict[int, Any] = {}
    best = np.array([1.0, -1.0])
    losses = []
    for row in rows:
        if row["parent"] is None:
            left = np.random.default_rng(row["seed"]).normal(size=2)
        else:
            left = weights[row["parent"]]
        for _ in range(row["param.steps"]):
            left = left - row["param.rate"] * (left - best)
        weights[row["trial"]] = left
        losses.append(float(np.abs(left - best).sum()))
    return losses


def test_children_go_on_from_the_weights_of_their_parents(tmp_path: Path) -> None:
    """Losses equal an oracle that follows the lineage; inheriting trains on."""
    result = study(tmp_path / "run").run()
    rows = result.table.to_pylist()

    assert [row["metric.loss"] for row in rows] == oracle(rows)
    assert sum(row["parent"] is not None for row in rows) >= 24
    # a single trial shrinks its distance by at most 2 ** 8
    assert min(row["metric.loss"] for row in rows) < 1e-4


@pytest.mark.parametrize("executor", [Serial(), Processes(1), Processes(2)])
def test_every_executor_and_memory_give_the_same(tmp_path: Path, executor: Any) -> None:
    """The files a worker writes are those that the next one reads."""
    kept = study(tmp_path / "run").run(executor=executor).table
    assert same_trials(kept, study().run().table)


def test_a_result_gives_back_what_was_left(tmp_path: Path) -> None:
    """By row of its trials, with one line for what there is not."""
    study(tmp_path / "run").run()
    result = load_result(tmp_path / "run")
    weights = np.frombuffer(result.artifact(5, "weights") or b"")

    assert np.abs(weights - [1.0, -1.0]).sum() == result.metric("loss")[5]
    with pytest.raises(SpecificationError, match=r"artifact 'weight' \(nearest: 'weights'\)"):
        result.artifact(5, "weight")
    with pytest.raises(SpecificationError, match="without a folder are not kept"):
        study().run().artifact(0, "weights")


def test_replicates_inherit_from_their_own_replicate(tmp_path: Path) -> None:
    """Replicate r of a child reads what replicate r of its parent left."""
    table = study(tmp_path / "run", replicates=2).run().table
    rows = table.to_pylist()
    for replicate in (0, 1):
        own = [row for row in rows if row["replicate"] == replicate]
        assert [row["metric.loss"] for row in own] == oracle(own)


def test_equal_contents_are_one_file(tmp_path: Path) -> None:
    """A file is named by its content, and an existing one is not written again."""
    folder = tmp_path / "artifacts"
    disk = FaultyDisk()
    first = write_artifact(folder, b"weights", disk)
    written = disk.log.count("write")

    assert write_artifact(folder, b"weights", disk) == first
    assert disk.log.count("write") == written == 1
    assert [path.name for path in folder.iterdir()] == [first]


def test_what_no_trial_names_is_collected(tmp_path: Path) -> None:
    """Files of trials in flight at a kill go when the study is continued, and no others."""
    folder = tmp_path / "run"
    with pytest.raises(StoreError):
        study(folder, disk=FaultyDisk(60, "kill before")).run()
    write_artifact(folder / "artifacts", b"nobody names this", Disk())
    result = study(folder).run()
    named = set(result.table["artifact.weights"].to_pylist())

    assert any("artifacts that no trial names" in note for note in result.notes)
    assert {path.name for path in (folder / "artifacts").iterdir()} == named
    assert collect_artifacts(folder / "artifacts", result.table, Disk()) == 0
    assert same_trials(result.table, study().run().table)


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_verify_sees_a_lost_artifact_and_its_trials_run_again(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows that name it are not whole; repair sets them aside."""
    folder = tmp_path / "run"
    expected = study(folder).run().table
    assert verify(folder).artifacts == len(set(expected["artifact.weights"].to_pylist()))
    path = folder / "artifacts" / expected["artifact.weights"][20].as_py()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])

    assert main(["verify", str(folder)]) == 1
    assert f"{path}: is {how}" in capsys.readouterr().out
    assert verify(folder, repair=True).trials < 48
    assert same_trials(study(folder).run().table, expected)
    assert verify(folder).damage == []


def test_an_inherited_artifact_that_is_lost_stops_the_study(tmp_path: Path) -> None:
    """It is never replaced by a fresh start in silence."""
    folder = tmp_path / "run"
    with pytest.raises(StoreError):
        study(folder, disk=FaultyDisk(100, "kill before")).run()
    for path in (folder / "artifacts").iterdir():
        path.unlink()
    with pytest.raises(StoreError, match="is missing, though a trial names it"):
        study(folder).run()


def test_an_artifact_that_is_not_declared_is_a_broken_environment() -> None:
    """One line names it and the nearest that is declared."""

    class Undeclared(ToyTraining):
        artifacts = ("weight",)

    with pytest.raises(EnvironmentFault, match=r"uses the.*'weights'.*'weight'"):
        Study(
            Undeclared(), Goal(minimize=["loss"]), ToyEvolution(), budget=Budget(evaluations=8)
        ).run()
