"""The lock of a study folder: one writer, known by host, process and heartbeat."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from archwright.errors import StoreError

__all__ = ["Lock"]


class Lock:
    """A kernel lock, which dies with its owner; the file says who holds it.

    Args:
        path: the lock file.

    Raises:
        StoreError: another live process holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = self._owner()
            os.close(self._handle)
            who = (
                f"process {owner['process']} on {owner['host']}, last seen {owner['heartbeat']}"
                if owner
                else "another process"
            )
            raise StoreError(
                f"{path.parent}: the study is being run by {who}; wait for it, or end it"
            ) from error
        self.beat()

    def beat(self) -> None:
        """Say that the owner is alive."""
        text = json.dumps(
            {
                "host": socket.gethostname(),
                "process": os.getpid(),
                "heartbeat": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            }
        )
        os.pwrite(self._handle, text.ljust(160).encode() + b"\n", 0)

    def release(self) -> None:
        """Give the lock up."""
        os.ftruncate(self._handle, 0)
        os.close(self._handle)

    def _owner(self) -> dict[str, Any] | None:
        try:
            owner = json.loads(os.pread(self._handle, 4096, 0))
        except ValueError:
            return None
        complete = isinstance(owner, dict) and {"host", "process", "heartbeat"} <= set(owner)
        return owner if complete else None
