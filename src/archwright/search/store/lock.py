"""The lock of a study folder: one writer, known by host, process, fence and heartbeat.

On a local disk the kernel's lock decides; it dies with its owner. Over a network it may not reach
other machines, so there the heartbeat counts too: who wants the lock watches it for some seconds,
by the beat's number and not by any clock, and takes over with a higher fence when it stands still.
An owner that was only asleep sees the higher fence before it writes again, and stops.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
import weakref
from pathlib import Path
from typing import Any

from archwright.errors import StoreError

__all__ = ["Lock"]

_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """A lock on a folder.

    Args:
        path: the lock file.
        network: other machines may reach the folder without the kernel's lock reaching them.
        patience_s: over a network: how long a heartbeat must stand still before it is dead.

    Raises:
        StoreError: another live process holds it.
    """

    def __init__(self, path: Path, *, network: bool = False, patience_s: float = 10.0) -> None:
        self.path = path
        self._network = network
        self._beats = 0
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            owner = self._read()
            if network and owner and self._is_alive(owner, patience_s):
                raise BlockingIOError
        except OSError as error:
            owner = self._read()
            os.close(self._handle)
            who = (
                f"process {owner['process']} on {owner['host']}, last seen {owner['heartbeat']}"
                if owner
                else "another process"
            )
            raise StoreError(
                f"{path.parent}: the study is being run by {who}; wait for it, or end it"
            ) from error
        self.fence: int = 1 + (owner["fence"] if owner else 0)
        """Grows with each owner."""
        try:
            self._write()
        except BaseException:  # a full disk: give back what was just taken
            os.close(self._handle)
            raise
        _held.add(self)

    def beat(self) -> None:
        """Say that the owner is alive.

        Raises:
            StoreError: another process has taken over.
        """
        self.check()
        self._beats += 1
        self._write()

    def check(self) -> None:
        """Make sure, over a network, that the lock is still ours; on a local disk it is.

        Raises:
            StoreError: another process has taken over.
        """
        if not self._network:
            return
        owner = self._read()
        if owner is None or owner["fence"] != self.fence or owner["host"] != socket.gethostname():
            who = f"process {owner['process']} on {owner['host']}" if owner else "another process"
            raise StoreError(
                f"{self.path.parent}: {who} has taken the study over while this process stood "
                "still; nothing was written since"
            )

    def release(self) -> None:
        """Give the lock up; what another process has taken over stays its own."""
        _held.discard(self)
        with contextlib.suppress(StoreError, OSError):
            self.check()
            os.ftruncate(self._handle, 0)
        fcntl.flock(self._handle, fcntl.LOCK_UN)  # a forked child may not have closed its copy yet
        os.close(self._handle)

    def _is_alive(self, owner: dict[str, Any], patience_s: float) -> bool:
        """Watch a heartbeat: alive when it moves."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            time.sleep(min(0.2, patience_s / 10))
            now = self._read()
            if now is None:
                return False
            if (now["fence"], now["beats"]) != (owner["fence"], owner["beats"]):
                return True
        return False

    def _write(self) -> None:
        text = json.dumps(
            {
                "host": socket.gethostname(),
                "process": os.getpid(),
                "fence": self.fence,
                "beats": self._beats,
                "heartbeat": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            }
        )
        os.pwrite(self._handle, text.ljust(255).encode() + b"\n", 0)
        if self._network:
            os.fsync(self._handle)

    def _read(self) -> dict[str, Any] | None:
        """Return who holds the lock; None where nobody does, or the file says nothing."""
        try:
            # opened anew, because a network file system shows others' writes on opening
            owner = json.loads(self.path.read_bytes())
        except (ValueError, OSError):
            return None
        complete = isinstance(owner, dict) and {
            "host", "process", "fence", "beats", "heartbeat"
        } <= set(owner)  # fmt: skip
        return owner if complete else None


def _forget_in_child() -> None:
    """Close inherited locks after a fork, so that a child cannot outlive its parent with one."""
    for lock in list(_held):
        os.close(lock._handle)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)
