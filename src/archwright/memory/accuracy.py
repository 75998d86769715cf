"""How far the DRAM simulator is from runs of DRAMSys 4.0."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError
from archwright.hardware.accuracy import AccuracyRow, accuracy_row
from archwright.memory.dram.mapping import load_mapping
from archwright.memory.dram.memory import load_memory
from archwright.memory.dram.simulation import simulate
from archwright.memory.dram.trace import DramTrace, load_trace

__all__ = ["DramAccuracyRow", "dram_accuracy"]

# The controller that the files with one change a row start from.
_BASE = {
    "PagePolicy": "Open", "Scheduler": "FrFcfs", "SchedulerBuffer": "Bankwise",
    "RequestBufferSize": 8, "RespQueue": "Fifo", "RefreshPolicy": "NoRefresh",
    "RefreshMaxPostponed": 8, "RefreshMaxPulledin": 8, "Arbiter": "Simple",
    "MaxActiveTransactions": 128,
}  # fmt: skip
_PARAMETERS = tuple(_BASE)
_DDR3 = ("MICRON_1Gb_DDR3-1600_8bit_G", "am_ddr3_8x1Gbx8_dimm_p1KB_rbc", 800.0)
_DDR4 = ("MICRON_4Gb_DDR4-2400_8bit_A", "am_ddr4_8x4Gbx8_dimm_p1KB_brc", 1200.0)


@dataclass(frozen=True, kw_only=True)
class DramAccuracyRow(AccuracyRow):
    """Errors and agreement of one quantity on the reference runs of one trace and memory.

    Attributes:
        exact: share equal within what the reference prints: a tenth of a clock in time, 0.01 pJ.
        within_1_percent: share within 1 %.
    """

    exact: float
    within_1_percent: float


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One reference run: what to simulate, and its time and energy."""

    table: str
    trace: DramTrace
    memory: str
    mapping: str
    clock_mhz: float
    controller: Mapping[str, Any]
    time_ns: float
    energy_pj: float


def _setup(row: Mapping[str, str]) -> tuple[str, str, float]:
    """Return memory, mapping and clock of a row that does not name them."""
    return _DDR3 if row.get("device", "DDR3").startswith("DDR3") else _DDR4


class _Reference:
    """The files of a data folder, each read once."""

    def __init__(self, data_dir: Path) -> None:
        self._dramsys, self._archgym = data_dir / "dramsys", data_dir / "archgym"
        specifications = self._dramsys / "memspecs"
        self.memories = {p.stem: load_memory(p) for p in specifications.glob("MICRON_*.json")}
        self.mappings = {p.stem: load_mapping(p) for p in specifications.glob("am_*.json")}
        self.traces = {p.name: load_trace(p) for p in (self._dramsys / "traces").glob("*.stl")}
        self.skipped: Counter[str] = Counter()

    def runs(self) -> Iterator[_Run]:
        for row in self._rows(self._archgym / "dramsys_micro.csv"):
            memory, mapping, clock = _setup(row)
            changes = row["change_from_base"]
            pairs = [] if changes == "base" else [c.split("=") for c in changes.split(";")]
            yield _Run(
                table="dramsys_micro.csv",
                trace=_micro(row["requests(cycle:op:hexaddr)"]),
                memory=memory,
                mapping=mapping,
                clock_mhz=clock,
                controller=_BASE | {key: _value(value) for key, value in pairs},
                time_ns=float(row["time_ns"]),
                energy_pj=float(row["energy_pj"]),
            )
        for row in self._rows(self._archgym / "dramsys_one_at_a_time.csv"):
            change = {
                "RefreshPolicy": "AllBank",
                "Arbiter": row["arbiter"],
                row["parameter"]: _value(row["value"]),
            }
            yield self._on_ddr3("dramsys_one_at_a_time.csv", row, _BASE | change)
        for row in self._rows(self._archgym / "dramsys_sweep.csv"):
            yield self._on_ddr3("dramsys_sweep.csv", row, _controller(row))
        for row in self._rows(self._dramsys / "reference.csv"):
            yield _Run(
                table="reference.csv",
                trace=self.traces[row["trace"]],
                memory=row["memory"],
                mapping=row["address_mapping"],
                clock_mhz=float(row["trace_clock_mhz"]),
                controller=_controller(row),
                time_ns=float(row["total_time_ns"]),
                energy_pj=float(row["total_energy_pj"]),
            )

    def _rows(self, path: Path) -> Iterator[dict[str, str]]:
        """Read a file, without the rows whose trace, memory or mapping is not at hand."""
        if not path.exists():
            self.skipped[f"{path}: is missing"] += 1
            return
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            memory, mapping, _ = _setup(row)
            needs: list[tuple[str, Mapping[str, Any], str]] = [
                (row.get("memory", memory), self.memories, "memory"),
                (row.get("address_mapping", mapping), self.mappings, "mapping"),
            ]
            if "requests(cycle:op:hexaddr)" not in row:  # else the row holds its own trace
                needs.append((row["trace"], self.traces, "trace"))
            lacking = [f"{kind} {name!r}" for name, known, kind in needs if name not in known]
            if lacking:
                self.skipped[f"{path.name}: no {lacking[0]}"] += 1
            else:
                yield row

    def _on_ddr3(self, table: str, row: Mapping[str, str], controller: Mapping[str, Any]) -> _Run:
        memory, mapping, clock = _DDR3
        return _Run(
            table=table,
            trace=self.traces[row["trace"]],
            memory=memory,
            mapping=mapping,
            clock_mhz=clock,
            controller=controller,
            time_ns=float(row["time_ns"]),
            energy_pj=float(row["energy_pj"]),
        )


_Cells = dict[tuple[str, str, str], npt.NDArray[np.float64]]


def _simulated(data_dir: Path) -> tuple[_Cells, Counter[str]]:
    """Return (simulated, reference, tolerance) columns by table, subset and quantity."""
    reference = _Reference(data_dir)
    found: dict[tuple[str, str, str], list[tuple[float, float, float]]] = {}
    for run in reference.runs():
        memory = reference.memories[run.memory]
        result = simulate(
            run.trace, memory, reference.mappings[run.mapping], run.controller, run.clock_mhz
        )
        trace = Path(run.trace.name).stem
        subset = f"{trace}, {memory.kind}"
        pairs = {
            "total_time_ns": (result.total_time_ns, run.time_ns, memory.period_ps / 10_000),
            "total_energy_pj": (result.total_energy_pj, run.energy_pj, 0.0100001),
        }
        for quantity, values in pairs.items():
            found.setdefault((run.table, subset, quantity), []).append(values)
    return {key: np.array(values) for key, values in found.items()}, reference.skipped


def dram_accuracy(
    data_dir: str | Path, *, skipped: dict[str, int] | None = None
) -> list[DramAccuracyRow]:
    """Return the errors of time and energy on every reference run of a data folder.

    Args:
        data_dir: folder that holds ``dramsys`` and ``archgym``, or one of them.
        skipped: filled with reasons and the number of files or rows that each left out.

    Raises:
        SpecificationError: there is no run.
    """
    cells, missing = _simulated(Path(data_dir))
    if skipped is not None:
        skipped.update(missing)
    if not cells:
        raise SpecificationError(f"{data_dir}: holds no reference run of DRAMSys")
    rows = []
    for (table, subset, quantity), values in cells.items():
        ours, theirs, tolerance = values.T
        away = np.abs(ours - theirs)
        row = accuracy_row(
            ours, theirs, table=table, subset=subset, quantity=quantity, split="shipped"
        )
        rows.append(
            DramAccuracyRow(
                **vars(row),
                exact=float((away <= tolerance).mean()),
                within_1_percent=float((away <= 0.01 * theirs).mean()),
            )
        )
    return rows


def _value(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _controller(row: Mapping[str, str]) -> dict[str, int | str]:
    return {key: _value(row[key]) for key in _PARAMETERS}


def _micro(text: str) -> DramTrace:
    """Read the requests of a micro trace: ``cycle:r|w:address …``, or a stream in words."""
    if text.startswith("256 x "):
        n = np.arange(256)
        return DramTrace(n, np.full(256, "write" in text), n * 64, name="micro")
    parts = [request.split(":") for request in text.split()]
    return DramTrace(
        [int(cycle) for cycle, _, _ in parts],
        [operation == "w" for _, operation, _ in parts],
        [int(address, 16) for _, _, address in parts],
        name="micro",
    )
