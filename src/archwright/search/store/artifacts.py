"""Artifacts: files that trials leave and others inherit, such as weights, named by content.

A file is written, synced and published before the row that names it is flushed, so a row never
names what is not there. Its name is the SHA-256 of its content: equal contents are one file, a
damaged file is seen on reading, and workers may write at the same time without a lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from archwright.errors import EnvironmentFault, StoreError, unknown
from archwright.search.store.disk import Disk, unwritable

__all__ = ["Artifacts", "collect_artifacts", "named_artifacts", "read_artifact", "write_artifact"]

Digests = Mapping[str, Sequence[str | None]]


class Artifacts:
    """What the designs of one batch inherit, and what they leave; given to ``evaluate``.

    Args:
        folder: where the files are.
        names: artifacts that the environment declares.
        inherited: name to one digest a design, None where it has no parent.
        n: number of designs.
        disk: the file layer.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], inherited: Digests, n: int, disk: Disk
    ) -> None:
        self._folder = folder
        self._inherited = inherited
        self._disk = disk
        self.written: dict[str, list[str | None]] = {name: [None] * n for name in names}
        """Name to one digest a design, None where nothing was written."""

    def read(self, row: int, name: str) -> bytes | None:
        """Return an artifact of the parent of a design, or None where there is none.

        Raises:
            EnvironmentFault: the environment does not declare the artifact.
            StoreError: the file is missing or damaged.
        """
        self._check(name)
        digest = self._inherited[name][row] if name in self._inherited else None
        return None if digest is None else read_artifact(self._folder, digest)

    def write(self, row: int, name: str, data: bytes) -> None:
        """Leave an artifact of a design; it is durable on return.

        Raises:
            EnvironmentFault: the environment does not declare the artifact.
            StoreError: the disk refuses.
        """
        self._check(name)
        try:
            self.written[name][row] = write_artifact(self._folder, data, self._disk)
        except OSError as error:  # of our disk, not of the environment that called
            raise unwritable(self._folder.parent, error) from error

    def _check(self, name: str) -> None:
        if name not in self.written:
            raise EnvironmentFault(f"the environment uses the {_unknown(name, self.written)}")


def write_artifact(folder: Path, data: bytes, disk: Disk) -> str:
    """Write content under its digest, unless it stands there already; return the digest."""
    digest = hashlib.sha256(data).hexdigest()
    path = folder / digest
    if path.exists():
        disk.sync_folder(folder)  # a kill may have come between its name and this sync
        return digest
    if not folder.exists():
        folder.mkdir(exist_ok=True)
        disk.sync_folder(folder.parent)
    try:
        disk.write_new(path, data)
    except StoreError:
        if not path.exists():  # else another worker was quicker
            raise
    return digest


def read_artifact(folder: Path, digest: str) -> bytes:
    """Return the content behind a digest.

    Raises:
        StoreError: missing or damaged.
    """
    path = folder / digest
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreError(f"{path}: is missing, though a trial names it") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise StoreError(f"{path}: is damaged (its content does not match its name)")
    return data


def named_artifacts(table: pa.Table) -> set[str]:
    """Return the digests that the rows of a table name."""
    columns = [name for name in table.column_names if name.startswith("artifact.")]
    named = {digest for name in columns for digest in table[name].unique().to_pylist()}
    return named - {None}


def collect_artifacts(folder: Path, table: pa.Table, disk: Disk) -> int:
    """Remove the files that no row names, as trials in flight at a kill leave; return how many."""
    if not folder.exists():
        return 0
    named = named_artifacts(table)
    unnamed = [path for path in sorted(folder.iterdir()) if path.name not in named]
    unnamed = [path for path in unnamed if ".damaged-" not in path.name]
    for path in unnamed:
        disk.unlink(path)
    return len(unnamed)


def _unknown(name: str, known: Mapping[str, object]) -> str:
    return unknown("artifact", name, known) if known else f"artifact {name!r}, but declares none"
