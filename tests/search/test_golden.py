"""A folder of the first store format, which every later version must open."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars
import pyarrow as pa

from archwright.search import (
    Budget,
    Choice,
    Goal,
    Integer,
    Ordinal,
    ParameterSpace,
    Permutation,
    RandomSearch,
    Real,
    Study,
)
from archwright.search.store import read_trials, verify
from archwright.search.study import load_result
from archwright.testing import same_trials, toy_environment

GOLDEN = Path(__file__).parent.parent / "golden" / "store-format-1"


def study(folder: Path | None) -> Study:
    """The study that the folder holds; every kind of parameter, infeasible designs, a limit."""
    space = ParameterSpace(
        {
            "family": Choice(["dense", "moe"]),
            "experts": Ordinal([8, 16], when="family == 'moe'"),
            "layers": Integer(4, 9),
            "order": Permutation(3),
            "ratio": Real(0.1, 0.9),
        }
    )
    return Study(
        toy_environment(space=space, limit=2.5),
        Goal(minimize=["cost", "time"], subject_to=["time <= 2.5"]),
        RandomSearch(),
        budget=Budget(evaluations=40),
        window=16,
        chunk=8,
        folder=folder,
    )


def test_the_golden_folder_is_whole() -> None:
    """Sealed parts, a tail and a snapshot, every digest right."""
    found = verify(GOLDEN)

    assert found.damage == []
    assert found.parts == 2
    assert found.tail >= 8
    assert found.snapshots >= 1


def test_its_rows_are_what_they_were() -> None:
    """Trials, parameters and metrics read back as a run in memory gives them."""
    rows = read_trials(GOLDEN)

    assert rows["trial"].to_pylist() == list(range(len(rows)))
    assert same_trials(rows, study(None).run().table.slice(0, len(rows)))
    result = load_result(GOLDEN)
    assert set(result.design(0)) == {"family", "experts", "layers", "order", "ratio"}
    assert len(result.front) > 0


def test_it_is_continued_to_the_end(tmp_path: Path) -> None:
    """The same study goes on from the folder, to the trials of an undisturbed run."""
    folder = tmp_path / "run"
    shutil.copytree(GOLDEN, folder)
    found = study(folder).run().table

    assert same_trials(found, study(None).run().table)


def test_other_tools_read_it() -> None:
    """pandas, Polars and DuckDB read the parts, Polars the tail, with no code of ours."""
    import duckdb
    import pandas

    parts = str(GOLDEN / "trials" / "*.parquet")
    rows = read_trials(GOLDEN)
    sealed = rows.slice(0, polars.read_parquet(parts).height)
    count, best = duckdb.sql(
        f"SELECT count(*), min(\"metric.cost\") FROM '{parts}' WHERE feasible"
    ).fetchall()[0]
    feasible = np.asarray(sealed["feasible"].to_numpy(zero_copy_only=False), dtype=bool)
    cost = sealed["metric.cost"].to_numpy()[feasible]

    assert count == feasible.sum()
    assert best == cost.min()
    frames = [pandas.read_parquet(p) for p in sorted((GOLDEN / "trials").glob("*.parquet"))]
    assert sum(map(len, frames)) == len(sealed)
    tail = pa.ipc.open_stream((GOLDEN / "tail.arrows").read_bytes()).read_all()
    assert polars.read_ipc_stream(GOLDEN / "tail.arrows").height == len(tail)
    assert len(sealed) + len(tail) == len(rows)
