"""The fault harness: a file layer that fails on purpose, or forgets what was not synced.

Every durable operation of the store goes through :class:`~archwright.search.store.Disk`, and so do
named points of the program: ``seal``, ``snapshot`` and ``tell``. These layers stand in for it,
count operations and points, and at the n-th of a kind kill, fail, or cut it short. After a kill
the layer is dead, so nothing that follows reaches the disk, as after SIGKILL.
:meth:`PowerLoss.crash` then turns the folder into one that a power cut may leave.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from archwright.search.store import Disk

__all__ = ["FAULTS", "KINDS", "Fault", "FaultyDisk", "PowerLoss"]

KINDS = (
    *("write", "sync", "publish", "rename", "unlink", "truncate"),
    *("seal", "snapshot", "tell"),
)
"""What goes wrong: operations of the file layer, and points of the program."""

Fault = Literal["kill before", "kill after", "kill within", "no space", "io error"]
FAULTS: tuple[Fault, ...] = ("kill before", "kill after", "kill within", "no space", "io error")


class FaultyDisk(Disk):
    """A disk whose n-th operation goes wrong.

    Args:
        at: number of the operation, from 0; None counts only.
        fault: what happens there. ``kill within`` writes a part of the data first; ``no space``
            does so too and raises ENOSPC; ``io error`` raises EIO. After a kill every later
            operation fails; after an error they work again.
        kinds: which operations and points are counted; all of :data:`KINDS` by default.

    Attributes:
        count: operations seen so far.
        log: their kinds, in order.
    """

    def __init__(
        self,
        at: int | None = None,
        fault: Fault = "kill before",
        *,
        kinds: Sequence[str] = KINDS,
    ) -> None:
        self._at = at
        self._fault = fault
        self._kinds = tuple(kinds)
        self.count = 0
        self.log: list[str] = []
        self.tripped = False
        self._dead = False

    def reach(self, point: str) -> None:
        if self._due(point):
            self._trip()

    def write(self, handle: int, data: bytes) -> None:
        if self._due("write"):
            if self._fault in ("kill within", "no space"):
                super().write(handle, data[: len(data) // 2])
            elif self._fault == "kill after":
                super().write(handle, data)
            self._trip()
        super().write(handle, data)

    def sync(self, handle: int) -> None:
        self._step("sync", lambda: super(FaultyDisk, self).sync(handle))

    def publish(self, temporary: Path, path: Path) -> None:
        self._step("publish", lambda: super(FaultyDisk, self).publish(temporary, path))

    def rename(self, path: Path, new: Path) -> None:
        self._step("rename", lambda: super(FaultyDisk, self).rename(path, new))

    def unlink(self, path: Path) -> None:
        self._step("unlink", lambda: super(FaultyDisk, self).unlink(path))

    def truncate(self, path: Path, length: int) -> None:
        self._step("truncate", lambda: super(FaultyDisk, self).truncate(path, length))

    def _step(self, kind: str, operation: Callable[[], None]) -> None:
        if self._due(kind):
            if self._fault == "kill after":
                operation()
            self._trip()
        operation()

    def _due(self, kind: str) -> bool:
        """Count an operation; say whether it is the one that goes wrong."""
        if self._dead:
            raise OSError(errno.EIO, "the disk is gone")
        if kind not in self._kinds:
            return False
        self.log.append(kind)
        self.count += 1
        return self.count - 1 == self._at

    def _trip(self) -> None:
        self.tripped = True
        if self._fault.startswith("kill"):
            self._dead = True
            raise OSError(errno.EIO, "killed")
        code = errno.ENOSPC if self._fault == "no space" else errno.EIO
        raise OSError(code, os.strerror(code))


class PowerLoss(FaultyDisk):
    """A disk that is killed at an operation and then loses what was not synced.

    It follows which writes of which file were synced, and which names were made durable by a sync
    of their folder. :meth:`crash` drops unsynced writes, each by chance and in any order: one that
    is lost before one that is kept leaves zeros, one at the end is cut, somewhere within. Names
    whose folder was not synced are taken back by chance.
    """

    def __init__(self, at: int | None = None, *, seed: int = 0) -> None:
        super().__init__(at, "kill after")
        self._rng = np.random.default_rng(seed)
        self._paths: dict[int, Path] = {}  # open handles
        self._unsynced: dict[Path, list[tuple[int, int]]] = {}  # start and end of each write
        self._names: dict[Path, bytes | None] = {}  # new names: what stood there before

    def open_append(self, path: Path) -> int:
        fresh = not path.exists()
        handle = super().open_append(path)
        self._paths[handle] = path
        if fresh:
            self._names.setdefault(path, None)
        return handle

    def open_new(self, path: Path) -> int:
        handle = super().open_new(path)
        self._paths[handle] = path
        return handle

    def write(self, handle: int, data: bytes) -> None:
        start = os.fstat(handle).st_size
        try:
            super().write(handle, data)
        finally:
            end = os.fstat(handle).st_size
            if end > start and handle in self._paths:
                self._unsynced.setdefault(self._paths[handle], []).append((start, end))

    def sync(self, handle: int) -> None:
        super().sync(handle)
        self._unsynced.pop(self._paths.get(handle, Path()), None)

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self._names = {path: old for path, old in self._names.items() if path.parent != folder}

    def close(self, handle: int) -> None:
        self._paths.pop(handle, None)
        super().close(handle)

    def publish(self, temporary: Path, path: Path) -> None:
        self._names.setdefault(path, None)
        self._move(temporary, path)
        super().publish(temporary, path)

    def rename(self, path: Path, new: Path) -> None:
        self._names.setdefault(new, new.read_bytes() if new.exists() else None)
        self._move(path, new)
        super().rename(path, new)

    def crash(self) -> None:
        """Leave the files as a power cut may leave them."""
        for path, old in self._names.items():
            if path.exists() and self._rng.random() < 0.5:
                self._unsynced.pop(path, None)
                if old is None:
                    path.unlink()
                else:
                    path.write_bytes(old)
        for path, writes in self._unsynced.items():
            if path.exists():
                self._drop(path, writes)

    def _drop(self, path: Path, writes: list[tuple[int, int]]) -> None:
        data = bytearray(path.read_bytes())
        length = writes[0][0]
        for start, end in writes:
            if self._rng.random() < 0.5:  # kept, the last perhaps in part
                length = int(self._rng.integers(start, end + 1)) if end == len(data) else end
            else:
                data[start:end] = bytes(end - start)
        path.write_bytes(data[:length])

    def _move(self, path: Path, new: Path) -> None:
        self._unsynced.pop(new, None)
        if path in self._unsynced:
            self._unsynced[new] = self._unsynced.pop(path)
