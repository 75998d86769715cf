"""Kill studies at random moments, continue them, and compare with runs that nobody disturbed.

    python -m archwright.testing.torture --kills 1000

Children are forked from a warmed process and end by SIGKILL. Printed: kills, studies continued,
trials lost, rows that differ, the slowest continuation. Exit code 1 if anything was lost.
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
from pathlib import Path

import pyarrow as pa

from archwright.errors import StoreError
from archwright.search import NSGA2, Budget, Exhaustive, Goal, ParameterSpace, RandomSearch, Study
from archwright.search.parameters import Integer, Ordinal
from archwright.search.store import Disk, read_trials
from archwright.search.store import folder as store_folder
from archwright.search.store.tail import read_tail
from archwright.testing.compare import same_trials
from archwright.testing.faults import FaultyDisk
from archwright.testing.toys import toy_environment

__all__ = ["main"]

_TRIALS = 256
_GRID = ParameterSpace({"a": Integer(0, 31), "b": Ordinal([1, 2, 4, 8, 16, 32, 64, 128])})

_STUDIES: dict[str, Callable[[Path | None], Study]] = {
    "random, deterministic": lambda folder: _study(RandomSearch(), folder, noise=0.0),
    "random, stochastic": lambda folder: _study(RandomSearch(), folder, noise=0.1),
    "nsga2, stochastic": lambda folder: _study(NSGA2(population=24), folder, noise=0.1),
    "nsga2, with limits": lambda folder: _study(NSGA2(population=24), folder, limit=1.2),
    "exhaustive": lambda folder: _study(Exhaustive(), folder, space=_GRID),
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


def _run_forked(make: Callable[[Path | None], Study], folder: Path, kill_after_s: float) -> bool:
    """Run a study in a child, kill it after a while; return whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            make(folder).run()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + kill_after_s
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if status:
                raise SystemExit(f"a continued study failed with status {status} in {folder}")
            return False
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


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
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    rng = random.Random(seed)
    print(f"seed {seed}")
    expected, usual = {}, {}
    for name, make in _STUDIES.items():
        started = time.monotonic()
        expected[name] = make(None).run().table
        usual[name] = time.monotonic() - started
    kills = continued = lost = wrong = 0
    slowest = 0.0
    names = itertools.cycle(_STUDIES)
    while kills < options.kills:
        name = next(names)
        folder = Path(tempfile.mkdtemp(prefix="archwright-torture-"))
        flushed = 0
        while True:
            hurried = kills < options.kills and rng.random() < 0.8
            limit = rng.uniform(0.0, 1.5 * usual[name]) if hurried else 60.0
            started = time.monotonic()
            if not _run_forked(_STUDIES[name], folder, limit):
                slowest = max(slowest, time.monotonic() - started)
                break
            kills += 1
            if (folder / "store.json").exists():
                rows = len(read_trials(folder))
                lost += max(0, flushed - rows)
                flushed = rows
        continued += 1
        wrong += 0 if same_trials(read_trials(folder), expected[name]) else 1
        shutil.rmtree(folder)
    print(
        f"kills {kills}, studies continued to the end {continued}, flushed trials lost {lost}, "
        f"studies that differ {wrong}, slowest last run {slowest:.2f} s"
    )
    cuts, flips, silent = _cuts_and_flips(options.records, options.flips, rng)
    print(
        f"cuts {cuts} (every byte of the last {options.records} records), bit flips {flips}, "
        f"silent wrong rows {silent}"
    )
    return 1 if lost or wrong or silent else 0


if __name__ == "__main__":
    sys.exit(main())
