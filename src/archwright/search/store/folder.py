"""A study's folder: sealed Parquet parts, their commit log, the tail, snapshots and the lock.

Commit order: a flush appends one batch to the tail (one write). A seal writes the rows of the
tail as a part under a temporary name, syncs it, publishes it without overwriting, syncs the
folder, appends a commit record (with the digest of the part and of the record before) and syncs
that; only then the tail starts anew. On opening, under the lock, a torn tail is cut and an
orphan part set aside before anything is appended.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from archwright.errors import StoreError
from archwright.search.store.artifacts import collect_artifacts
from archwright.search.store.disk import Disk, set_aside_name, unwritable
from archwright.search.store.durability import durability
from archwright.search.store.lock import Lock
from archwright.search.store.reading import (
    FORMAT,
    check_order,
    digest,
    join_tables,
    read_ahead,
    read_commits,
    read_part,
    read_snapshot,
    read_study,
    trials_after,
)
from archwright.search.store.schema import TableSchema
from archwright.search.store.tail import Tail, TailContent, read_tail

__all__ = ["SEAL_ROWS", "SEAL_SECONDS", "Store"]

SEAL_ROWS = 8192
SEAL_SECONDS = 60.0
SYNC_SECONDS = 1.0


@dataclass
class Store:
    """The writer of a study's folder. Open it with :meth:`open`.

    Attributes:
        folder: the folder.
        schema: columns of the trials.
        recorded: the trials found on opening, in order.
        ahead: trials found that were measured ahead of others.
        notes: what was healed on opening, one sentence each.
    """

    folder: Path
    schema: TableSchema
    disk: Disk
    lock: Lock
    recorded: pa.Table
    ahead: pa.Table
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        folder: Path,
        study: Mapping[str, Any],
        schema: TableSchema,
        *,
        files: Mapping[str, str] | None = None,
        disk: Disk | None = None,
        canonical: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> Store:
        """Create the folder, or open it to continue the same study.

        Args:
            folder: where the study is kept.
            study: plain data that says what the study is; it must be equal on continuing.
            schema: columns of the trials.
            files: further files to write on creation, such as ``study.toml``.
            disk: the file layer.
            canonical: gives the part of ``study`` that must be equal.

        Raises:
            StoreError: the folder is foreign, locked, damaged or of a newer format, or holds a
                different study; the message lists the differences.
        """
        disk = disk or Disk()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: cannot be made: {error.strerror}") from error
        known = {"lock", "store.json"}
        marker = folder / "store.json"
        if not marker.exists():
            strangers = sorted(p.name for p in folder.iterdir() if not _is_own(p.name, known))
            if strangers:
                raise StoreError(
                    f"{folder}: is no study folder (it holds {strangers[0]!r}); name a new one"
                )
        try:
            lock = lock_of(folder)
        except OSError as error:
            raise StoreError(f"{folder}: cannot be written: {error.strerror}") from error
        try:
            if not marker.exists():
                _create(folder, study, schema, files or {}, disk)
            else:
                _check_same(folder, canonical, study)
            return cls._continue(folder, schema, disk, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _continue(cls, folder: Path, schema: TableSchema, disk: Disk, lock: Lock) -> Store:
        notes: list[str] = []
        origin = read_study(folder)["study_hash"]
        commits, length, problem = read_commits(folder, origin)
        if problem:
            raise StoreError(f"{problem}; nothing was changed, see 'archwright verify'")
        log = folder / "commits.jsonl"
        if log.exists() and log.stat().st_size > length:
            notes.append(f"cut {log.stat().st_size - length} bytes of a torn commit record")
            disk.truncate(log, length)
        _set_aside_orphans(folder, commits, disk, notes)
        sealed = [read_part(folder, commit, schema) for commit in commits]
        path = folder / "tail.arrows"
        content = read_tail(path, schema.arrow) if path.exists() else TailContent([], 0, 0)
        if content.torn:
            notes.append(f"cut {content.torn} bytes of a torn batch")
            if content.length:
                disk.truncate(path, content.length)
            else:
                disk.unlink(path)
        fresh = trials_after(content.batches, commits[-1]["last"] if commits else -1)
        table = join_tables(schema, sealed, fresh)
        check_order(table, folder)
        _cut_ahead(folder, schema, disk, notes)
        ahead = read_ahead(folder, schema, table)
        store = cls(folder, schema, disk, lock, table, ahead, notes)
        store._commits = commits
        store._origin = origin
        collected = store.collect(pa.concat_tables([store.recorded, ahead]))
        if collected:
            notes.append(f"removed {collected} artifacts that no trial names")
        store._tail = Tail(path, schema.arrow, disk, sequence=len(content.batches))
        store._ahead = None
        store._pending = fresh
        store._rows = sum(batch.num_rows for batch in fresh)
        if len(fresh) < len(content.batches):  # killed between a seal and its new tail
            store._tail.restart()
            for batch in fresh:
                store._tail.append(batch)
        store._sealed_at = time.monotonic()
        store._error = None
        store._mutex = threading.Lock()
        store._stop = threading.Event()
        store._heart = threading.Thread(target=store._beat, daemon=True, name="archwright-heart")
        store._heart.start()
        return store

    def append(self, columns: Mapping[str, Any]) -> None:
        """Flush rows: one batch, one write.

        Raises:
            StoreError: the disk refuses; what was flushed before stays.
        """
        batch = self.schema.batch(columns)
        with self._mutex:
            self._ready()
            try:
                self._tail.append(batch)
            except OSError as error:
                raise unwritable(self.folder, error) from error
            self._pending.append(batch)
            self._rows += batch.num_rows
        if self._rows >= SEAL_ROWS or time.monotonic() - self._sealed_at > SEAL_SECONDS:
            self.seal()

    def append_ahead(self, columns: Mapping[str, Any]) -> None:
        """Flush rows of trials before which others are still out; their place is the table.

        Raises:
            StoreError: the disk refuses; what was flushed before stays.
        """
        batch = self.schema.batch(columns)
        with self._mutex:
            self._ready()
            try:
                if self._ahead is None:
                    path = self.folder / "ahead.arrows"
                    known = read_tail(path, self.schema.arrow).batches if path.exists() else []
                    self._ahead = Tail(path, self.schema.arrow, self.disk, sequence=len(known))
                self._ahead.append(batch)
            except OSError as error:
                raise unwritable(self.folder, error) from error

    def forget_ahead(self) -> None:
        """Begin the file of trials ahead anew: the table has all of them."""
        with self._mutex:
            self._ready()
            try:
                if self._ahead is not None:
                    self._ahead.restart()
                elif (self.folder / "ahead.arrows").exists():
                    self.disk.unlink(self.folder / "ahead.arrows")
            except OSError as error:
                raise unwritable(self.folder, error) from error

    def seal(self) -> None:
        """Turn the tail into a durable part."""
        with self._mutex:
            self._ready()
            self._sealed_at = time.monotonic()
            if not self._pending:
                return
            try:
                self._seal()
            except OSError as error:
                raise unwritable(self.folder, error) from error

    def snapshot(self, state: Mapping[str, Any]) -> None:
        """Keep the state of the loop, so that continuing replays little; the last two stay."""
        self.disk.reach("snapshot")
        folder = self.folder / "searcher"
        folder.mkdir(exist_ok=True)
        body = json.dumps(state)
        digest = hashlib.sha256(body.encode()).hexdigest()
        name = f"state-{state['told']:09d}.json"
        self.disk.replace(folder / name, f'{{"sha256": "{digest}",\n"state": {body}}}\n'.encode())
        for old in sorted(folder.glob("state-*.json"))[:-2]:
            self.disk.unlink(old)

    def snapshots(self) -> list[dict[str, Any]]:
        """Return the whole snapshots, newest first."""
        found = []
        for path in sorted((self.folder / "searcher").glob("state-*.json"), reverse=True):
            state = read_snapshot(path)
            if state is None:
                self.notes.append(f"passed over the damaged snapshot {path.name}")
            else:
                found.append(state)
        return found

    def event(self, kind: str, **details: Any) -> None:
        """Append a line to ``events.jsonl``."""
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": kind, **details})
        handle = self.disk.open_append(self.folder / "events.jsonl")
        try:
            self.disk.write(handle, line.encode() + b"\n")
        finally:
            self.disk.close(handle)

    def collect(self, table: pa.Table) -> int:
        """Remove the artifacts that no row of a table names; return how many."""
        if not self.schema.artifacts:
            return 0
        return collect_artifacts(self.folder / "artifacts", table, self.disk)

    def write(self, name: str, text: str) -> None:
        """Replace a derived file, such as ``summary.json``."""
        self.disk.replace(self.folder / name, text.encode())

    def close(self) -> None:
        """Seal and release the lock."""
        try:
            self.seal()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Release the lock without sealing; the tail keeps what was flushed."""
        if not self._stop.is_set():
            self._stop.set()
            self._heart.join()
            try:
                self._tail.close()
                if self._ahead is not None:
                    self._ahead.close()
            finally:
                self.lock.release()

    def _seal(self) -> None:
        self.disk.reach("seal")
        table = pa.Table.from_batches(self._pending, schema=self.schema.arrow)
        number = len(self._commits)
        name = f"part-{number:05d}.parquet"
        data = _parquet(table)
        self._tail.sync()
        folder = self.folder / "trials"
        folder.mkdir(exist_ok=True)
        self.disk.write_new(folder / name, data)
        before = self._commits[-1]["record"] if self._commits else self._origin
        commit = {
            "part": name,
            "first": table["trial"][0].as_py(),
            "last": table["trial"][-1].as_py(),
            "rows": table.num_rows,
            "sha256": hashlib.sha256(data).hexdigest(),
            "before": before,
        }
        commit["record"] = digest(commit)
        handle = self.disk.open_append(self.folder / "commits.jsonl")
        try:
            self.disk.write(handle, json.dumps(commit).encode() + b"\n")
            self.disk.sync(handle)
        finally:
            self.disk.close(handle)
        if number == 0:
            self.disk.sync_folder(self.folder)
        self._commits.append(commit)
        self._pending, self._rows = [], 0
        self._tail.restart()

    def _beat(self) -> None:
        """Keep the promises of time: a sync and a heartbeat at least every second."""
        while not self._stop.wait(SYNC_SECONDS):
            with self._mutex:
                try:
                    self._tail.sync()
                    if self._ahead is not None:
                        self._ahead.sync()
                    self.lock.beat()
                except OSError as error:
                    self._error = unwritable(self.folder, error)
                    return
                except StoreError as error:
                    self._error = error
                    return

    def _ready(self) -> None:
        """Refuse to write after a failed sync, or once another process owns the folder."""
        if self._error is not None:
            raise self._error
        self.lock.check()

    _commits: list[dict[str, Any]] = field(init=False, repr=False)
    _origin: str = field(init=False, repr=False)
    _tail: Tail = field(init=False, repr=False)
    _ahead: Tail | None = field(init=False, repr=False)
    _pending: list[pa.RecordBatch] = field(init=False, repr=False)
    _rows: int = field(init=False, repr=False)
    _sealed_at: float = field(init=False, repr=False)
    _error: StoreError | None = field(init=False, repr=False)
    _mutex: threading.Lock = field(init=False, repr=False)
    _stop: threading.Event = field(init=False, repr=False)
    _heart: threading.Thread = field(init=False, repr=False)


def lock_of(folder: Path) -> Lock:
    """Lock a study folder, as its file system needs it.

    Raises:
        StoreError: another live process holds it.
    """
    return Lock(folder / "lock", network=durability(folder).startswith("network"))


def _create(
    folder: Path,
    study: Mapping[str, Any],
    schema: TableSchema,
    files: Mapping[str, str],
    disk: Disk,
) -> None:
    from archwright import __version__

    for name, text in files.items():
        disk.replace(folder / name, text.encode())
    record: dict[str, Any] = {
        "format": FORMAT,
        "versions": {"archwright": __version__, "pyarrow": pa.__version__},
        "study_hash": digest(study),
        "study": study,
        "columns": {
            "parameters": dict(schema.parameters),
            "metrics": list(schema.metrics),
            "losses": list(schema.losses),
            "constraints": list(schema.constraints),
            **({"artifacts": list(schema.artifacts)} if schema.artifacts else {}),
            **({"fidelities": list(schema.fidelities)} if schema.fidelities else {}),
            **({"told": True} if schema.told else {}),
        },
    }
    record["sha256"] = digest(record)
    disk.write_new(folder / "store.json", json.dumps(record, indent=1).encode() + b"\n")
    for parent in list(folder.parents)[:1]:
        disk.sync_folder(parent)


def _check_same(
    folder: Path,
    canonical: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    given: Mapping[str, Any],
) -> None:
    stored, study = canonical(read_study(folder)["study"]), canonical(given)
    if digest(stored) == digest(study):
        return
    lines = differences(stored, study)
    raise StoreError(
        f"{folder}: holds a different study: {'; '.join(lines)}. Undo the change, or name "
        "another --output-dir"
    )


def differences(stored: Any, given: Any, path: str = "") -> list[str]:
    """Return one sentence a difference between two plain tables."""
    if isinstance(stored, Mapping) and isinstance(given, Mapping):
        lines = []
        for key in [*stored, *(k for k in given if k not in stored)]:
            inner = f"{path}.{key}" if path else str(key)
            if key not in given:
                lines.append(f"{inner} was {stored[key]!r}, is gone")
            elif key not in stored:
                lines.append(f"{inner} is new: {given[key]!r}")
            else:
                lines += differences(stored[key], given[key], inner)
        return lines
    plain = json.loads(json.dumps(given))
    return [] if stored == plain else [f"{path} was {stored!r}, is {plain!r}"]


def _is_own(name: str, known: set[str]) -> bool:
    own = {*known, "study.toml", "origin.json", "start.json"}
    return name in own or name.endswith(".tmp")


def _set_aside_orphans(
    folder: Path, commits: list[dict[str, Any]], disk: Disk, notes: list[str]
) -> None:
    """Rename parts without a commit record: killed between the two, their rows are in the tail."""
    named = {commit["part"] for commit in commits}
    moved = False
    for path in sorted((folder / "trials").glob("*")):
        if path.name.endswith(".tmp"):
            disk.unlink(path)
        elif path.suffix == ".parquet" and path.name not in named:
            disk.rename(path, set_aside_name(path, "orphan"))
            notes.append(f"set aside the orphan part {path.name}")
            moved = True
    if moved:
        disk.sync_folder(folder / "trials")


def _cut_ahead(folder: Path, schema: TableSchema, disk: Disk, notes: list[str]) -> None:
    """Cut the torn end of the file of trials ahead, as a kill leaves it."""
    path = folder / "ahead.arrows"
    if not path.exists():
        return
    content = read_tail(path, schema.arrow)
    if content.torn:
        notes.append(f"cut {content.torn} bytes of a torn batch of {path.name}")
        if content.length:
            disk.truncate(path, content.length)
        else:
            disk.unlink(path)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    # no statistics: readers prune by them, and they leave NaN out, so "not isnan" would go wrong
    pq.write_table(
        table, sink, compression="zstd", write_page_checksum=True, write_statistics=False
    )
    return sink.getvalue()
