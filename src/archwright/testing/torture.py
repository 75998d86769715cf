"""Kill studies at random moments, continue them, and compare with runs that nobody disturbed.

    python -m archwright.testing.torture --kills 1000

Children are forked from a warmed process and end by SIGKILL; each run is serial or has one or two
workers, at random. Printed: kills, studies continued, trials lost, rows that differ, the slowest
resume (seconds from the start to the first new trial). Exit code 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from archwright.errors import StoreError
from archwright.search import (
    NSGA2,
    Budget,
    Exhaustive,
    Goal,
    ParameterSpace,
    Processes,
    Proposals,
    RandomSearch,
    Serial,
    Study,
)
from archwright.search.space import Integer, Ordinal
from archwright.search.store import Disk, read_trials
from archwright.search.store import folder as store_folder
from archwright.search.store.tail import read_tail
from archwright.search.study import Progress
from archwright.testing.compare import same_trials
from archwright.testing.faults import FaultyDisk
from archwright.testing.toys import ToyEvolution, ToyTraining, toy_environment

__all__ = ["main"]

_TRIALS = 256
_GRID = ParameterSpace({"a": Integer(0, 31), "b": Ordinal([1, 2, 4, 8, 16, 32, 64, 128])})


class _BothFidelities(RandomSearch):
    """Random designs, every second one at the low fidelity."""

    def ask(self, n: int) -> Any:
        designs = super().ask(n)
        names = tuple("low" if i % 2 else "full" for i in range(len(designs)))
        return Proposals(designs=designs, fidelity=names)


_STUDIES: dict[str, Callable[[Path | None], Study]] = {
    "random, deterministic": lambda folder: _study(RandomSearch(), folder, noise=0.0),
    "random, stochastic": lambda folder: _study(RandomSearch(), folder, noise=0.1),
    "two fidelities": lambda folder: _study(
        _BothFidelities(), folder, fidelities={"low": 0.1, "full": 1.0}
    ),
    "nsga2, stochastic": lambda folder: _study(NSGA2(population=24), folder, noise=0.1),
    "nsga2, with limits": lambda folder: _study(NSGA2(population=24), folder, limit=1.2),
    "exhaustive": lambda folder: _study(Exhaustive(), folder, space=_GRID),
    "inherited weights": lambda folder: Study(
        ToyTraining(),
        Goal(minimize=["loss"]),
        ToyEvolution(),
        budget=Budget(evaluations=_TRIALS // 2),
        folder=folder,
    ),
}


def _study(
    searcher: object,
    folder: Path | None,
    disk: Disk | None = None,
    *,
    chunk: int = 16,
    **options: object,
) -> Study:
    return Study(
        toy_environment(**options),
        Goal(minimize=["cost", "time"]),
        searcher,  # type: ignore[arg-type]
        budget=Budget(evaluations=_TRIALS),
        chunk=chunk,
        folder=folder,
        disk=disk,
    )


@dataclass(frozen=True)
class _Ran:
    """How a child ended: killed or not, and the seconds to its first new trial."""

    killed: bool
    first_s: float | None


def _run_forked(
    make: Callable[[Path | None], Study], folder: Path, workers: int, kill_after_s: float
) -> _Ran:
    """Run a study in a child and kill it after a while; 0 workers are the serial executor."""
    heard, tell = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()

            def progress(now: Progress) -> None:
                if now.trials > now.replayed:
                    os.write(tell, b"%f\n" % (time.monotonic() - started))

            make(folder).run(
                executor=Processes(workers) if workers else Serial(), progress=progress
            )
            code = 0
        finally:
            os._exit(code)
    os.close(tell)
    killed = False
    while not killed:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if status:
                raise SystemExit(f"a continued study failed with status {status} in {folder}")
            break
        if time.monotonic() - started >= kill_after_s:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed = True
        time.sleep(0.0005)
    os.set_blocking(heard, False)  # workers hold the other end while they die
    first = b""
    with suppress(BlockingIOError):
        first = os.read(heard, 4096)
    os.close(heard)
    return _Ran(killed, float(first.split()[0]) if first else None)


def _start_of_last(data: bytes, records: int) -> int:
    """Return the byte at which the last records of a tail begin."""
    reader = pa.BufferReader(data)
    starts = []
    while reader.tell() < len(data):
        starts.append(reader.tell())
        pa.ipc.read_message(reader)
    return int(starts[1:][-records])  # the first message is the schema


def _cuts_and_flips(records: int, flips: int, rng: random.Random) -> tuple[int, int, int]:
    """Cut a tail at every byte of its last records, flip bits everywhere; read after each.

    Returns cuts, flips, and readings that gave anything but a prefix of the true trials.
    """
    folder = Path(tempfile.mkdtemp(prefix="archwright-torture-")) / "run"
    sealed = store_folder.SEAL_ROWS
    store_folder.SEAL_ROWS = 160  # leaves 24 records of 4 rows behind the one part
    try:
        _study(RandomSearch(), folder, noise=0.1, chunk=4).run()
        with suppress(StoreError):  # stop before the last seal, so that the tail holds rows
            count = FaultyDisk()
            other = folder.with_name("other")
            _study(RandomSearch(), other, count, noise=0.1, chunk=4).run()
            at = max(i for i, kind in enumerate(count.log) if kind == "publish") - 2
            shutil.rmtree(folder)
            _study(RandomSearch(), folder, FaultyDisk(at, "kill before"), noise=0.1, chunk=4).run()
    finally:
        store_folder.SEAL_ROWS = sealed
    whole = read_trials(folder)
    wrong = 0

    def look() -> None:
        nonlocal wrong
        try:
            found = read_trials(folder)
        except StoreError:
            return
        wrong += not same_trials(found, whole.slice(0, len(found)))

    tail = folder / "tail.arrows"
    data = tail.read_bytes()
    schema = whole.schema
    batches = read_tail(tail, schema).batches
    rows = pa.Table.from_batches(batches, schema=schema)
    first = _start_of_last(data, records)
    for length in range(first, len(data)):
        tail.write_bytes(data[:length])
        found = pa.Table.from_batches(read_tail(tail, schema).batches, schema=schema)
        # a cut loses the record it falls in and what follows, and nothing before it
        wrong += len(found) < len(rows) - sum(b.num_rows for b in batches[-records:])
        wrong += not same_trials(found, rows.slice(0, len(found)))
    tail.write_bytes(data)
    files = [
        path
        for pattern in ("trials/*.parquet", "tail.arrows", "commits.jsonl", "searcher/*.json")
        for path in folder.glob(pattern)
    ]
    for _ in range(flips):
        path = rng.choice(files)
        before = path.read_bytes()
        flipped = bytearray(before)
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        look()
        path.write_bytes(before)
    shutil.rmtree(folder.parent)
    return len(data) - first, flips, wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the torture; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--records", type=int, default=20, help="records cut at every byte")
    parser.add_argument(
        "--parallel", type=float, default=0.02, help="share of runs with one or two workers"
    )
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    rng = random.Random(seed)
    print(f"seed {seed}", flush=True)
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning"  # loky tells of each killed pool
    expected, usual = {}, {}
    for name, make in _STUDIES.items():
        started = time.monotonic()
        expected[name] = make(None).run().table
        usual[name] = time.monotonic() - started
    kills = with_workers = continued = lost = wrong = 0
    slowest = 0.0
    names = itertools.cycle(_STUDIES)
    while kills < options.kills:
        name = next(names)
        folder = Path(tempfile.mkdtemp(prefix="archwright-torture-"))
        flushed = 0
        resumed = False
        while True:
            # a pool takes a second to start, so few runs have one
            workers = rng.choice([1, 2]) if rng.random() < options.parallel else 0
            hurried = kills < options.kills and rng.random() < 0.8
            limit = rng.uniform(0.0, 1.5 * usual[name] + 1.5 * bool(workers)) if hurried else 60.0
            ran = _run_forked(_STUDIES[name], folder, workers, limit)
            if resumed and not workers and ran.first_s is not None:
                slowest = max(slowest, ran.first_s)
            if not ran.killed:
                break
            kills += 1
            if kills % 500 == 0:
                print(f"{kills} kills, lost {lost}, differ {wrong}", file=sys.stderr, flush=True)
            with_workers += bool(workers)
            resumed = True
            if (folder / "store.json").exists():
                rows = len(read_trials(folder))
                lost += max(0, flushed - rows)
                flushed = rows
        continued += resumed
        wrong += 0 if same_trials(read_trials(folder), expected[name]) else 1
        shutil.rmtree(folder, ignore_errors=True)  # an orphaned worker may still write
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"kills {kills} ({with_workers} of them with one or two workers), studies continued to "
        f"the end {continued}, flushed trials lost {lost}, studies that differ {wrong}, slowest "
        f"resume {slowest:.2f} s",
        flush=True,
    )
    cuts, flips, silent = _cuts_and_flips(options.records, options.flips, rng)
    print(
        f"cuts {cuts} (every byte of the last {options.records} records), bit flips {flips}, "
        f"silent wrong rows {silent}"
    )
    return 1 if lost or wrong or silent else 0


if __name__ == "__main__":
    sys.exit(main())
