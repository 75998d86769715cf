"""The simulator against runs of DRAMSys 4.0: equal to the clock, energy to the last digit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archwright.errors import SpecificationError
from archwright.memory.accuracy import DramAccuracyRow, dram_accuracy

DATA = Path(os.environ.get("ARCHWRIGHT_DATA", "../shared/data"))
FILES = [
    ("dramsys_micro.csv", 418),
    ("dramsys_one_at_a_time.csv", 123),
    ("dramsys_sweep.csv", 3600),
    ("reference.csv", 1300),
]

needs_data = pytest.mark.skipif(
    not (DATA / "dramsys" / "reference.csv").exists(), reason=f"no reference runs in {DATA}"
)


@pytest.fixture(scope="module")
def agreement() -> list[DramAccuracyRow]:
    return dram_accuracy(DATA)


@needs_data
@pytest.mark.parametrize(("table", "runs"), FILES)
def test_time_and_energy_equal_every_reference_run(
    agreement: list[DramAccuracyRow], table: str, runs: int
) -> None:
    rows = [row for row in agreement if row.table == table]

    for quantity in ("total_time_ns", "total_energy_pj"):
        assert sum(row.n for row in rows if row.quantity == quantity) == runs
    assert [row for row in rows if row.exact < 1.0] == []


@needs_data
def test_accuracy_rows(tmp_path: Path) -> None:
    # The whole reference takes seconds; the micro runs say enough about the rows' form.
    for folder in ("dramsys", "archgym"):
        (tmp_path / folder).mkdir()
    for name in ("memspecs", "traces"):
        (tmp_path / "dramsys" / name).symlink_to((DATA / "dramsys" / name).resolve())
    for name in ("one_at_a_time", "sweep", "micro"):
        lines = (DATA / "archgym" / f"dramsys_{name}.csv").read_text().splitlines(keepends=True)
        few = lines if name == "micro" else lines[:4]
        (tmp_path / "archgym" / f"dramsys_{name}.csv").write_text("".join(few))
    reference = (DATA / "dramsys" / "reference.csv").read_text().splitlines(keepends=True)
    (tmp_path / "dramsys" / "reference.csv").write_text("".join(reference[:4]))

    rows = dram_accuracy(tmp_path)

    micro = [row for row in rows if row.subset == "micro, DDR3"]
    assert [(row.quantity, row.n, row.split) for row in micro] == [
        ("total_time_ns", 209, "shipped"),
        ("total_energy_pj", 209, "shipped"),
    ]
    assert max(row.p95_error for row in rows) < 1e-9
    assert micro[0].spearman == pytest.approx(1.0)


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    skipped: dict[str, int] = {}
    with pytest.raises(SpecificationError, match="holds no reference run of DRAMSys"):
        dram_accuracy(tmp_path, skipped=skipped)
    assert len(skipped) == 4 and all("is missing" in reason for reason in skipped)


@needs_data
def test_a_run_whose_trace_is_not_at_hand_is_counted(tmp_path: Path) -> None:
    (tmp_path / "dramsys").mkdir()
    for name in ("memspecs", "traces"):
        (tmp_path / "dramsys" / name).symlink_to((DATA / "dramsys" / name).resolve())
    lines = (DATA / "dramsys" / "reference.csv").read_text().splitlines(keepends=True)[:4]
    lines[1] = lines[1].replace("stream.stl", "unknown.stl").replace("random.stl", "unknown.stl")
    (tmp_path / "dramsys" / "reference.csv").write_text("".join(lines))
    skipped: dict[str, int] = {}
    rows = dram_accuracy(tmp_path, skipped=skipped)

    assert sum(row.n for row in rows if row.quantity == "total_time_ns") == 2
    assert skipped["reference.csv: no trace 'unknown.stl'"] == 1
