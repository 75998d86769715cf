"""The store's layout, and what reads it without Archwright."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas
import polars
import pytest

from archwright.errors import StoreError
from archwright.search import Budget, Goal, RandomSearch, Result, Study
from archwright.search.store import Store, TableSchema, read_study, read_trials
from archwright.search.study import load_result
from archwright.testing import toy_environment

SCHEMA = TableSchema({"layers": "int"}, ["cost"], ["cost"], ["environment"])
STUDY = {"seed": 0}


def _rows(first: int, n: int = 4) -> dict[str, Any]:
    numbers = np.arange(first, first + n)
    return {
        "trial": numbers,
        "replicate": np.zeros(n, dtype=np.int32),
        "state": ["complete"] * n,
        "fidelity": ["full"] * n,
        "seed": numbers.astype(np.uint64),
        "param.layers": numbers,
        "metric.cost": numbers / 3,
        "loss.cost": numbers / 3,
        "constraint.environment": np.zeros(n),
        "feasible": np.ones(n, dtype=bool),
        "seconds": np.zeros(n),
    }


def _run(folder: Path, evaluations: int = 50) -> Result:
    study = Study(
        toy_environment(limit=2.0),
        Goal(minimize=["cost", "time"], subject_to=["time <= 1"]),
        RandomSearch(),
        budget=Budget(evaluations=evaluations),
        folder=folder,
    )
    study.files = {"study.toml": "format = 1\n"}
    return study.run()


def test_layout_and_columns(tmp_path: Path) -> None:
    """A finished study is one folder with the files and columns that are promised."""
    result = _run(tmp_path / "s")

    names = {
        p.relative_to(tmp_path / "s").as_posix()
        for p in (tmp_path / "s").rglob("*")
        if p.is_file()
    }
    assert {
        "store.json", "study.toml", "commits.jsonl", "tail.arrows", "events.jsonl", "lock",
        "summary.json", "front.csv", "trials/part-00000.parquet",
    } <= names  # fmt: skip
    assert not [name for name in names if ".tmp" in name]
    metrics = [f"metric.{m}{end}" for m in ("cost", "time") for end in ("", ".low", ".high")]
    assert result.table.column_names == [
        "trial", "replicate", "parent", "state", "fidelity", "seed",
        *(f"param.{p}" for p in ("family", "experts", "layers", "batch", "ratio")), *metrics,
        "loss.cost", "loss.time", "constraint.environment", "constraint.time <= 1",
        "feasible", "reason", "seconds",
    ]  # fmt: skip
    assert read_study(tmp_path / "s")["format"] == 1


def test_other_tools_read_the_parts(tmp_path: Path) -> None:
    """DuckDB, Polars and pandas read the sealed parts directly."""
    result = _run(tmp_path / "s")
    parts = f"{tmp_path}/s/trials/*.parquet"
    column = result.table["metric.cost"].to_numpy()
    feasible = result.table["feasible"].to_numpy(zero_copy_only=False)
    count, total = int(feasible.sum()), pytest.approx(float(column[feasible].sum()))

    by_duckdb = duckdb.sql(f"select count(*), sum(\"metric.cost\") from '{parts}' where feasible")
    by_polars = polars.read_parquet(parts).filter(polars.col("feasible"))["metric.cost"]
    frame = pandas.read_parquet(tmp_path / "s" / "trials" / "part-00000.parquet")

    assert by_duckdb.fetchall() == [(count, total)]
    assert (len(by_polars), by_polars.sum()) == (count, total)
    assert frame["metric.cost"][frame["feasible"]].sum() == total
    assert len(frame) == 50


def test_other_tools_and_readers_read_the_tail_of_a_running_study(tmp_path: Path) -> None:
    """While a writer holds the lock, its flushed rows are read by us and by Polars."""
    store = Store.open(tmp_path / "s", STUDY, SCHEMA)
    store.append(_rows(0))
    store.append(_rows(4))
    assert read_trials(tmp_path / "s")["trial"].to_pylist() == list(range(8))
    frame = polars.read_ipc_stream(tmp_path / "s" / "tail.arrows")
    assert frame["param.layers"].to_list() == list(range(8))

    store.seal()
    store.append(_rows(8))
    assert read_trials(tmp_path / "s")["trial"].to_pylist() == list(range(12))
    assert len(load_result(tmp_path / "s").table) == 12
    store.close()


def test_an_orphan_part_is_set_aside(tmp_path: Path) -> None:
    """A part without a commit record (killed in between) is renamed; its rows are in the tail."""
    store = Store.open(tmp_path / "s", STUDY, SCHEMA)
    store.append(_rows(0))
    store.abandon()
    trials = tmp_path / "s" / "trials"
    trials.mkdir()
    (trials / "part-00000.parquet").write_bytes(b"PAR1")
    (trials / "part-00000.parquet.host-1-ab.tmp").write_bytes(b"half")

    store = Store.open(tmp_path / "s", STUDY, SCHEMA)
    store.close()

    assert store.notes == ["set aside the orphan part part-00000.parquet"]
    assert store.recorded["trial"].to_pylist() == [0, 1, 2, 3]
    names = sorted(
        path.name.rpartition("-")[0] if "orphan" in path.name else path.name
        for path in trials.iterdir()
    )
    assert names == ["part-00000.parquet", "part-00000.parquet.orphan"]
    assert read_trials(tmp_path / "s").num_rows == 4


def test_a_torn_commit_record_is_cut(tmp_path: Path) -> None:
    """A commit record that was cut off is taken away and its part set aside; no row is lost."""
    store = Store.open(tmp_path / "s", STUDY, SCHEMA)
    store.append(_rows(0))
    store.close()
    commits = tmp_path / "s" / "commits.jsonl"
    whole = commits.read_bytes()
    store = Store.open(tmp_path / "s", STUDY, SCHEMA)
    store.append(_rows(4))
    tail = (tmp_path / "s" / "tail.arrows").read_bytes()
    store.close()
    commits.write_bytes(commits.read_bytes()[:-7])
    (tmp_path / "s" / "tail.arrows").write_bytes(tail)  # the kill came before the tail began anew

    store = Store.open(tmp_path / "s", STUDY, SCHEMA)
    store.abandon()

    assert [note.split(" ")[0] for note in store.notes] == ["cut", "set"]
    assert commits.read_bytes() == whole
    assert store.recorded["trial"].to_pylist() == list(range(8))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "store.json").write_text("{"), "store.json: is damaged"),
        (
            lambda f: (f / "commits.jsonl").write_text("x\n"),
            "record 1 is damaged or of another study",
        ),
        (
            lambda f: (f / "trials" / "part-00000.parquet").unlink(),
            "is missing, though its commit",
        ),
        (lambda f: (f / "tail.arrows").write_bytes(b"x" * 99), "the file is damaged or foreign"),
    ],
)
def test_damage_is_reported_and_nothing_changed(damage: Any, message: str, tmp_path: Path) -> None:
    """Damage is one clear line, for the writer and for readers, and the folder stays as it is."""
    folder = tmp_path / "s"
    Store.open(folder, STUDY, SCHEMA).close()
    store = Store.open(folder, STUDY, SCHEMA)
    store.append(_rows(0))
    store.close()
    damage(folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}

    with pytest.raises(StoreError, match=message):
        Store.open(folder, STUDY, SCHEMA)
    with pytest.raises(StoreError, match=message):
        read_trials(folder)

    assert before == {
        p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"
    }


def test_the_lock_says_who_holds_it(tmp_path: Path) -> None:
    """A second writer is told the process and the host."""
    store = Store.open(tmp_path / "s", STUDY, SCHEMA)
    owner = json.loads((tmp_path / "s" / "lock").read_text())
    with pytest.raises(StoreError, match=f"is being run by process {owner['process']} on "):
        Store.open(tmp_path / "s", STUDY, SCHEMA)
    store.close()
    Store.open(tmp_path / "s", STUDY, SCHEMA).close()
