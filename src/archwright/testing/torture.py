"""Kill studies at random moments, continue them, and compare with runs that nobody disturbed.

    python -m archwright.testing.torture --kills 1000

Children are forked from a warmed process and end by SIGKILL. Printed: kills, studies continued,
trials lost, rows that differ, the slowest continuation. Exit code 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from archwright.search import NSGA2, Budget, Exhaustive, Goal, ParameterSpace, RandomSearch, Study
from archwright.search.parameters import Integer, Ordinal
from archwright.search.store import read_trials
from archwright.testing.compare import same_trials
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


def _study(searcher: object, folder: Path | None, **options: object) -> Study:
    return Study(
        toy_environment(**options),
        Goal(minimize=["cost", "time"]),
        searcher,  # type: ignore[arg-type]
        budget=Budget(evaluations=_TRIALS),
        folder=folder,
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


def main() -> int:
    """Run the torture; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    options = parser.parse_args()
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
    while kills < options.kills:
        name = rng.choice(list(_STUDIES))
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
    return 1 if lost or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
