"""Check a study's folder to the last digest, and set aside what is damaged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from archwright.errors import StoreError
from archwright.search.store.artifacts import named_artifacts, read_artifact
from archwright.search.store.disk import Disk, set_aside_name
from archwright.search.store.folder import lock_of
from archwright.search.store.reading import (
    check_order,
    read_commits,
    read_part,
    read_snapshot,
    read_study,
    stored_schema,
    trials_after,
)
from archwright.search.store.schema import TableSchema
from archwright.search.store.tail import read_tail

__all__ = ["Verification", "verify"]


@dataclass
class Verification:
    """What a folder holds, and what is wrong with it.

    Attributes:
        parts: sealed parts that are whole.
        sealed: rows in them.
        tail: rows in the tail that are whole.
        artifacts: files that rows name and that are whole.
        snapshots: snapshots that are whole.
        trials: trials that are whole and in order from the first; the rest runs again.
        damage: one sentence a fault.
        set_aside: files that a repair renamed.
    """

    parts: int = 0
    sealed: int = 0
    tail: int = 0
    artifacts: int = 0
    snapshots: int = 0
    trials: int = 0
    damage: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)


def verify(folder: Path, *, repair: bool = False, disk: Disk | None = None) -> Verification:
    """Check every digest and the order of the trials of a folder.

    A torn last write, as a kill leaves it, is no damage: opening the study heals it. With
    ``repair`` the damaged file and everything that follows it is renamed, never deleted; the
    trials in it run again when the study is continued.

    Raises:
        StoreError: no study folder, its ``store.json`` is damaged, or (to repair) it is locked.
    """
    schema = stored_schema(read_study(folder))
    if not repair:
        return _check(folder, schema, None)
    lock = lock_of(folder)
    try:
        return _check(folder, schema, disk or Disk())
    finally:
        lock.release()


def _check(folder: Path, schema: TableSchema, disk: Disk | None) -> Verification:
    found = Verification()
    commits = _whole_commits(folder, found, disk)
    whole: set[str] = set()
    last = -1
    kept = 0
    for commit in commits:
        try:
            table = read_part(folder, commit, schema)
            if commit["first"] != last + 1 or commit["rows"] != table.num_rows:
                raise StoreError(f"{folder / 'trials' / commit['part']}: is out of order")
            check_order(table, folder, first=commit["first"])
            _check_artifacts(folder, table, found, whole, disk)
        except StoreError as error:
            found.damage.append(str(error))
            break
        kept += 1
        found.parts += 1
        found.sealed += table.num_rows
        last = commit["last"]
    broken = kept < len(commits)
    if broken and disk is not None:
        for commit in commits[kept:]:
            _set_aside(folder / "trials" / commit["part"], found, disk)
        _keep_commits(folder, commits[:kept], found, disk)
    last = _check_tail(folder, schema, last, found, disk, whole, follows=broken)
    found.artifacts = len(whole)
    found.trials = last + 1
    for path in sorted((folder / "searcher").glob("state-*.json")):
        snapshot = read_snapshot(path)
        if snapshot is None:
            found.damage.append(f"{path}: is damaged (its digest does not match)")
        elif snapshot["told"] > found.trials:
            found.damage.append(f"{path}: is ahead of the trials that are whole")
        else:
            found.snapshots += 1
            continue
        if disk is not None:
            _set_aside(path, found, disk)
    return found


def _whole_commits(folder: Path, found: Verification, disk: Disk | None) -> list[dict[str, Any]]:
    commits, _, problem = read_commits(folder, read_study(folder)["study_hash"])
    if problem:
        found.damage.append(problem)
        if disk is not None:
            named = {commit["part"] for commit in commits}
            for path in sorted((folder / "trials").glob("part-*.parquet")):
                if path.name not in named:
                    _set_aside(path, found, disk)
            _keep_commits(folder, commits, found, disk)
            tail = folder / "tail.arrows"
            if tail.exists():
                _set_aside(tail, found, disk)
    return commits


def _check_tail(
    folder: Path,
    schema: TableSchema,
    last: int,
    found: Verification,
    disk: Disk | None,
    whole: set[str],
    *,
    follows: bool,
) -> int:
    """Return the last whole trial, the tail included."""
    path = folder / "tail.arrows"
    if not path.exists():
        return last
    try:
        batches = trials_after(read_tail(path, schema.arrow).batches, last)
        table = pa.Table.from_batches(batches, schema=schema.arrow)
        if table.num_rows:
            if table["trial"][0].as_py() != last + 1:
                raise StoreError(f"{path}: its trials do not follow those sealed")
            check_order(table, folder, first=last + 1)
            _check_artifacts(folder, table, found, whole, disk)
            found.tail = table.num_rows
            return int(table["trial"][-1].as_py())
    except StoreError as error:
        if not follows:  # else it only follows what was damaged before it
            found.damage.append(str(error))
        if disk is not None:
            _set_aside(path, found, disk)
    return last


def _check_artifacts(
    folder: Path, table: pa.Table, found: Verification, whole: set[str], disk: Disk | None
) -> None:
    """Check the files that rows name; with a disk, set a damaged one aside.

    Raises:
        StoreError: one is missing or damaged: the rows that name it are not whole.
    """
    for digest in sorted(named_artifacts(table) - whole):
        try:
            read_artifact(folder / "artifacts", digest)
        except StoreError:
            if disk is not None:
                _set_aside(folder / "artifacts" / digest, found, disk)
            raise
        whole.add(digest)


def _keep_commits(
    folder: Path, commits: list[dict[str, Any]], found: Verification, disk: Disk
) -> None:
    log = folder / "commits.jsonl"
    _set_aside(log, found, disk)
    text = "".join(json.dumps(commit) + "\n" for commit in commits)
    disk.replace(log, text.encode())


def _set_aside(path: Path, found: Verification, disk: Disk) -> None:
    if path.exists():
        aside = set_aside_name(path, "damaged")
        disk.rename(path, aside)
        disk.sync_folder(path.parent)
        found.set_aside.append(str(aside.relative_to(path.parent.parent)))
