"""The one file layer of the store: every byte that is written or made durable goes through it."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import socket
from pathlib import Path

from archwright.errors import StoreError

__all__ = ["Disk", "set_aside_name", "unwritable"]


class Disk:
    """Durable operations on files. Tests replace it by one that fails on purpose."""

    def reach(self, point: str) -> None:
        """Pass a named point between operations: ``seal``, ``snapshot`` or ``tell``."""
        del point

    def open_append(self, path: Path) -> int:
        """Open a file for appending, creating it."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def open_new(self, path: Path) -> int:
        """Create a file that must not exist, for writing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.open(path, flags, 0o644)

    def write(self, handle: int, data: bytes) -> None:
        """Write all of the data, or raise."""
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]

    def sync(self, handle: int) -> None:
        """Make the data of a file durable. A failed sync is never tried again on that file."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """Close a file."""
        os.close(handle)

    def truncate(self, path: Path, length: int) -> None:
        """Cut a file and make that durable."""
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(handle, length)
            self.sync(handle)
        finally:
            os.close(handle)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(handle)
        finally:
            os.close(handle)

    def write_new(self, path: Path, data: bytes) -> None:
        """Create a file whole and durable; an existing name is never overwritten.

        Temporary file, sync, publish by hard link (a rename would overwrite), sync the folder.

        Raises:
            StoreError: the name exists.
        """
        temporary = self._write_temporary(path, data)
        try:
            self.publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        self.sync_folder(path.parent)

    def replace(self, path: Path, data: bytes) -> None:
        """Replace a file whole; for what can be rebuilt, such as the summary."""
        temporary = self._write_temporary(path, data)
        try:
            self.rename(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self.sync_folder(path.parent)

    def publish(self, temporary: Path, path: Path) -> None:
        """Give a finished file its name, without overwriting."""
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            raise StoreError(f"{path}: exists already; nothing is overwritten") from error
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            if path.exists():  # no hard links here: the lock keeps other writers away
                raise StoreError(f"{path}: exists already; nothing is overwritten") from error
            temporary.replace(path)

    def rename(self, path: Path, new: Path) -> None:
        """Give a file another name, in place of what may stand there."""
        path.replace(new)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        path.unlink()

    def _write_temporary(self, path: Path, data: bytes) -> Path:
        unique = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        temporary = path.with_name(f"{path.name}.{unique}.tmp")
        handle = self.open_new(temporary)
        try:
            self.write(handle, data)
            self.sync(handle)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            self.close(handle)
        return temporary


def set_aside_name(path: Path, why: str) -> Path:
    """Return the name under which a file is set aside: of its content, so none replaces another.

    Clocks play no part, for they jump.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return path.with_name(f"{path.name}.{why}-{digest}")


def unwritable(folder: Path, error: OSError) -> StoreError:
    """Return the one line that ends a study whose folder cannot be written."""
    return StoreError(
        f"{folder}: cannot be written ({error.strerror}); the trials flushed so far are safe, "
        "and the same command continues"
    )
