"""What the conformance suites share: clauses, the error that lists the broken ones, processes."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from archwright.errors import ArchwrightError

__all__ = ["Checks", "ConformanceError", "elsewhere", "ensure", "global_randomness"]

T = TypeVar("T")


class ConformanceError(ArchwrightError):
    """A part breaks clauses of its contract.

    Attributes:
        clauses: the broken clauses, in the order of the suite.
    """

    def __init__(self, part: str, broken: list[tuple[str, str]]) -> None:
        self.clauses = tuple(clause for clause, _ in broken)
        lines = [f"\n  - {clause}: {detail}" for clause, detail in broken]
        count = "1 clause" if len(broken) == 1 else f"{len(broken)} clauses"
        super().__init__(f"{part} breaks {count} of its contract:{''.join(lines)}")


class _Broken(Exception):  # noqa: N818 - never leaves this package
    pass


def ensure(holds: object, detail: str) -> None:
    """End the current clause as broken unless something holds."""
    if not holds:
        raise _Broken(detail)


class Checks:
    """Collects the broken clauses of one part.

    Args:
        part: what is checked, for the message.
    """

    def __init__(self, part: str) -> None:
        self.part = part
        self.broken: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def clause(self, name: str, likely: str) -> Iterator[None]:
        """Run one clause; a failure, or a crash of the part, is kept and the suite goes on.

        Args:
            name: what must hold.
            likely: the likely mistake, for the reader of the message.
        """
        try:
            yield
        except _Broken as broken:
            self.broken.append((name, f"{broken} (likely: {likely})"))
        except Exception as error:  # noqa: BLE001 - whatever a stranger's part raises is a finding
            self.crashed(name, error)

    def crashed(self, name: str, error: Exception) -> None:
        """Keep a crash of the part, with the line that raised."""
        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        self.broken.append((name, f"crashed with {type(error).__name__}: {error}{where}"))

    def finish(self) -> None:
        """Raise if any clause was broken.

        Raises:
            ConformanceError: the message lists every broken clause.
        """
        if self.broken:
            raise ConformanceError(self.part, self.broken)


@contextlib.contextmanager
def global_randomness(seed: int) -> Iterator[Callable[[], bool]]:
    """Set the global random states; gives a function that says whether they are untouched since.

    The caller's own states are put back at the end.
    """
    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    mark, numpy_mark = random.getstate(), _numpy_state()
    try:
        yield lambda: random.getstate() == mark and _numpy_state() == numpy_mark
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002


def _numpy_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    inner = state["state"]
    return (inner["key"].tobytes(), inner["pos"], state["has_gauss"], state["gauss"])


_CHILD = """
import sys, cloudpickle
path, payload = cloudpickle.load(sys.stdin.buffer)
sys.path[:] = path
function, arguments = cloudpickle.loads(payload)
sys.stdout.buffer.write(cloudpickle.dumps(function(*arguments)))
"""


def elsewhere(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a new Python process with another hash seed, and return its result."""
    import cloudpickle

    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=cloudpickle.dumps((sys.path, cloudpickle.dumps((function, arguments)))),
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise _Broken(f"a second Python process failed with {last[-1]}")
    result: T = cloudpickle.loads(done.stdout)
    return result
