"""Rows a second flushed in batches of 64, against SQLite, DuckDB and Optuna's storages.

Rows have ten integer parameters and two metrics. Ours: one flush a batch as the study does it.
SQLite and DuckDB: one transaction a batch. Optuna: trials told one by one, as its studies do. Then
a study of 100,000 trials is continued and opened for reading.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 64
NAMES = [f"x{i}" for i in range(10)]


def ours(folder: Path, rows: int) -> float:
    """Return rows a second of the store."""
    from archwright.search.store import Store, TableSchema

    schema = TableSchema(dict.fromkeys(NAMES, "int"), ["a", "b"], ["a", "b"], ["environment"])
    store = Store.open(folder, {"bench": 1}, schema)
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    for first in range(0, rows, BATCH):
        numbers = np.arange(first, first + BATCH)
        values = rng.random((2, BATCH))
        columns: dict[str, Any] = {
            "trial": numbers,
            "replicate": np.zeros(BATCH, np.int32),
            "state": ["complete"] * BATCH,
            "fidelity": ["full"] * BATCH,
            "seed": numbers.astype(np.uint64),
            "feasible": np.ones(BATCH, bool),
            "seconds": values[0],
            "constraint.environment": np.zeros(BATCH),
        }
        for name in NAMES:
            columns[f"param.{name}"] = numbers
        for name, column in zip("ab", values, strict=True):
            columns[f"metric.{name}"] = columns[f"loss.{name}"] = column
        store.append(columns)
    store.close()
    return rows / (time.perf_counter() - started)


def table_rows(rng: np.random.Generator, first: int) -> list[tuple[Any, ...]]:
    """Return a batch as tuples."""
    values = rng.random((BATCH, 2)).tolist()
    return [(first + i, *[first + i] * 10, *values[i]) for i in range(BATCH)]


def sqlite(folder: Path, rows: int, synchronous: str) -> float:
    """Return rows a second of SQLite in write-ahead mode."""
    columns = ", ".join(["trial INTEGER PRIMARY KEY", *(f"{n} INTEGER" for n in NAMES), "a", "b"])
    connection = sqlite3.connect(folder / "t.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute(f"CREATE TABLE t ({columns})")
    marks = ", ".join("?" * 13)
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    for first in range(0, rows, BATCH):
        with connection:
            connection.executemany(f"INSERT INTO t VALUES ({marks})", table_rows(rng, first))
    elapsed = time.perf_counter() - started
    connection.close()
    return rows / elapsed


def duckdb_rows(folder: Path, rows: int) -> float:
    """Return rows a second of DuckDB, a transaction a batch."""
    import duckdb

    connection = duckdb.connect(str(folder / "t.duckdb"))
    columns = ", ".join(["trial BIGINT", *(f"{n} BIGINT" for n in NAMES), "a DOUBLE", "b DOUBLE"])
    connection.execute(f"CREATE TABLE t ({columns})")
    marks = ", ".join("?" * 13)
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    for first in range(0, rows, BATCH):
        connection.begin()
        connection.executemany(f"INSERT INTO t VALUES ({marks})", table_rows(rng, first))
        connection.commit()
    elapsed = time.perf_counter() - started
    connection.close()
    return rows / elapsed


def optuna_rows(make: Callable[[], Any], rows: int) -> float:
    """Return trials a second told to an Optuna storage."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=make(), directions=["minimize", "minimize"])
    spread = optuna.distributions.IntDistribution(0, 1 << 30)
    started = time.perf_counter()
    for first in range(rows):
        trial = optuna.trial.create_trial(
            params=dict.fromkeys(NAMES, first),
            distributions=dict.fromkeys(NAMES, spread),
            values=[0.5, 0.5],
        )
        study.add_trial(trial)
    return rows / (time.perf_counter() - started)


def large_study(folder: Path, trials: int) -> tuple[float, float]:
    """Return seconds to continue and to open for reading a finished study of many trials."""
    from archwright.search import Budget, Goal, Integer, ParameterSpace, RandomSearch, Study
    from archwright.search.store import read_trials
    from archwright.testing import toy_environment

    space = ParameterSpace({name: Integer(0, 1000) for name in NAMES})

    def study() -> Study:
        return Study(
            toy_environment(space=space),
            Goal(minimize=["cost", "time"]),
            RandomSearch(),
            budget=Budget(evaluations=trials),
            window=256,
            chunk=256,
            folder=folder,
        )

    study().run()
    started = time.perf_counter()
    study().run()
    resume = time.perf_counter() - started
    started = time.perf_counter()
    read_trials(folder)
    return resume, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("--rows", type=int, default=64 * 300)
    parser.add_argument("--trials", type=int, default=100_000)
    options = parser.parse_args()
    rows, few = options.rows, max(BATCH, options.rows // 40)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)

        def journal() -> Any:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            return JournalStorage(JournalFileBackend(str(root / "journal.log")))

        (root / "full").mkdir()
        (root / "normal").mkdir()
        ours(root / "warm", BATCH * 4)
        speed = {
            "archwright": ours(root / "ours", rows),
            "sqlite, WAL, full": sqlite(root / "full", rows, "FULL"),
            "sqlite, WAL, normal": sqlite(root / "normal", rows, "NORMAL"),
            "duckdb": duckdb_rows(root, few),
            "optuna journal": optuna_rows(journal, few),
            "optuna sqlite": optuna_rows(lambda: f"sqlite:///{root / 'optuna.db'}", few),
        }
        resume, reading = large_study(root / "large", options.trials)
    best = max(speed["optuna journal"], speed["optuna sqlite"])
    figures: dict[str, Any] = {
        "rows_per_s": speed,
        "over_optuna": speed["archwright"] / best,
        "trials": options.trials,
        "resume_s": resume,
        "open_for_reading_s": reading,
    }
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    for peer, value in speed.items():
        print(
            f"{peer:<22} {value:10,.0f} rows/s, "
            f"ours is {speed['archwright'] / value:6.1f} times it"
        )
    print(f"over the faster of Optuna's: {figures['over_optuna']:.0f} times (goal 5)")
    print(
        f"{options.trials:,} trials: continued in {resume:.2f} s (goal 2), "
        f"opened for reading in {reading:.2f} s (goal 0.3)"
    )


if __name__ == "__main__":
    main()
