"""Requests a second of the DRAM simulator, beside DRAMSys 4.0's own wall times.

Every configuration of the reference runs is timed on one core with its trace loaded and decoded;
the best of a few runs counts, as the machine may be shared. DRAMSys's times are those that the
reference file holds, from another machine.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np

from archwright.memory import dram

PARAMETERS = (
    "PagePolicy", "Scheduler", "SchedulerBuffer", "RequestBufferSize", "RespQueue",
    "RefreshPolicy", "RefreshMaxPostponed", "RefreshMaxPulledin", "Arbiter",
    "MaxActiveTransactions",
)  # fmt: skip


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("ARCHWRIGHT_DATA", "../shared/data"))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    folder = Path(options.data) / "dramsys"
    reference = folder / "reference.csv"
    if not reference.exists():
        print(f"{reference} is absent; give --data or set ARCHWRIGHT_DATA")
        return
    files = folder / "memspecs"
    memories = {path.stem: dram.load_memory(path) for path in files.glob("MICRON_*.json")}
    mappings = {path.stem: dram.load_mapping(path) for path in files.glob("am_*.json")}
    traces = {path.name: dram.load_trace(path) for path in (folder / "traces").glob("*.stl")}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with reference.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            trace, memory = traces[row["trace"]], memories[row["memory"]]
            values = {k: int(row[k]) if row[k].isdigit() else row[k] for k in PARAMETERS}
            controller = dram.DramController.from_dramsys(values)
            mapping, clock = mappings[row["address_mapping"]], float(row["trace_clock_mhz"])
            seconds = []
            for _ in range(options.repeats):
                start = time.perf_counter()
                dram.simulate(trace, memory, mapping, controller, clock)
                seconds.append(time.perf_counter() - start)
            best = min(seconds)
            found.setdefault((memory.kind, trace.name), []).append(
                (len(trace) / best, float(row["simulator_wall_s"]) / best)
            )
    print(f"{'memory':8}{'trace':18}{'runs':>6}{'requests/s, median':>20}{'over DRAMSys*':>15}")
    for (kind, name), rows in found.items():
        rate, ratio = np.median(np.array(rows), axis=0)
        stem = Path(name).stem
        print(f"{kind:8}{stem:18}{len(rows):6}{rate / 1e6:18.2f} M{ratio:14.1f}x")
    print("* its wall times as recorded, on another machine")


if __name__ == "__main__":
    main()
