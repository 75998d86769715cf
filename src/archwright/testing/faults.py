"""The fault harness: a file layer that fails on purpose, or forgets what was not synced.

Every durable operation of the store goes through :class:`~archwright.search.store.Disk`. These
layers stand in for it, count its operations, and at the n-th of a kind kill, fail, or cut it
short. After a kill the layer is dead, so nothing that follows reaches the disk, as after SIGKILL;
:meth:`PowerLoss.crash` then turns the folder into one that a power cut may leave.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from archwright.search.store import Disk

__all__ = ["FAULTS", "Fault", "FaultyDisk", "PowerLoss"]

Fault = Literal["kill before", "kill after", "kill within", "no space", "io error"]
FAULTS: tuple[Fault, ...] = ("kill before", "kill after", "kill within", "no space", "io error")


class FaultyDisk(Disk):
    """A disk whose n-th operation goes wrong.

    Args:
        at: number of the operation, from 0; None counts only.
        fault: what happens there. ``kill within`` writes a part of the data first; ``no space``
            does so too and raises ENOSPC; ``io error`` raises EIO. After a kill every later
            operation fails; after an error they work again.
        kinds: which operations are counted: ``write``, ``sync``, ``publish``, ``rename``,
            ``unlink``, ``truncate``.

    Attributes:
        count: operations seen so far.
        log: their kinds, in order.
    """

    def __init__(
        self,
        at: int | None = None,
        fault: Fault = "kill before",
        *,
        kinds: Sequence[str] = ("write", "sync", "publish", "rename", "unlink", "truncate"),
    ) -> None:
        self._at = at
        self._fault = fault
        self._kinds = tuple(kinds)
        self.count = 0
        self.log: list[str] = []
        self.tripped = False
        self._dead = False

    def write(self, handle: int, data: bytes) -> None:
        if self._due("write"):
            if self._fault in ("kill within", "no space"):
                super().write(handle, data[: len(data) // 2])
            elif self._fault == "kill after":
                super().write(handle, data)
            self._trip()
        super().write(handle, data)

    def sync(self, handle: int) -> None:
        if self._due("sync"):
            if self._fault == "kill after":
                super().sync(handle)
            self._trip()
        super().sync(handle)

    def publish(self, temporary: Path, path: Path) -> None:
        if self._due("publish"):
            if self._fault == "kill after":
                super().publish(temporary, path)
            self._trip()
        super().publish(temporary, path)

    def rename(self, path: Path, new: Path) -> None:
        if self._due("rename"):
            if self._fault == "kill after":
                super().rename(path, new)
            self._trip()
        super().rename(path, new)

    def unlink(self, path: Path) -> None:
        if self._due("unlink"):
            if self._fault == "kill after":
                super().unlink(path)
            self._trip()
        super().unlink(path)

    def truncate(self, path: Path, length: int) -> None:
        if self._due("truncate"):
            if self._fault == "kill after":
                super().truncate(path, length)
            self._trip()
        super().truncate(path, length)

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

    It follows which bytes of which file were synced, and which names were made durable by a sync
    of their folder. :meth:`crash` cuts files back to a random point behind their synced bytes, and
    takes back names whose folder was not synced, each by chance.
    """

    def __init__(self, at: int | None = None, *, seed: int = 0) -> None:
        super().__init__(at, "kill after")
        self._rng = np.random.default_rng(seed)
        self._paths: dict[int, Path] = {}  # open handles
        self._synced: dict[Path, int] = {}  # bytes known durable
        self._names: dict[Path, bytes | None] = {}  # new names: what stood there before

    def open_append(self, path: Path) -> int:
        fresh = not path.exists()
        handle = super().open_append(path)
        self._paths[handle] = path
        if fresh:
            self._synced[path] = 0
            self._names.setdefault(path, None)
        else:
            self._synced.setdefault(path, path.stat().st_size)
        return handle

    def open_new(self, path: Path) -> int:
        handle = super().open_new(path)
        self._paths[handle] = path
        self._synced[path] = 0
        return handle

    def sync(self, handle: int) -> None:
        path = self._paths.get(handle)
        super().sync(handle)
        if path is not None and path.exists():
            self._synced[path] = path.stat().st_size

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self._names = {path: old for path, old in self._names.items() if path.parent != folder}

    def publish(self, temporary: Path, path: Path) -> None:
        self._names.setdefault(path, None)
        self._synced[path] = self._synced.pop(temporary, 0)
        super().publish(temporary, path)

    def rename(self, path: Path, new: Path) -> None:
        self._names.setdefault(new, new.read_bytes() if new.exists() else None)
        self._synced[new] = self._synced.pop(path, path.stat().st_size)
        super().rename(path, new)

    def crash(self) -> None:
        """Leave the files as a power cut may leave them."""
        for path, old in self._names.items():
            if path.exists() and self._rng.random() < 0.5:
                if old is None:
                    path.unlink()
                else:
                    path.write_bytes(old)
                    self._synced[path] = len(old)
        for path, safe in self._synced.items():
            if path.exists() and path.stat().st_size > safe:
                os.truncate(path, int(self._rng.integers(safe, path.stat().st_size + 1)))
