"""Reading a study's folder: what it is, its commits, parts and trials. Nothing here writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from archwright.errors import StoreError
from archwright.search.store.schema import TableSchema, require_schema
from archwright.search.store.tail import read_tail

__all__ = [
    "FORMAT",
    "check_order",
    "digest",
    "join_tables",
    "read_ahead",
    "read_commits",
    "read_part",
    "read_snapshot",
    "read_study",
    "read_trials",
    "stored_schema",
    "trials_after",
]

FORMAT = 1


def read_study(folder: Path) -> dict[str, Any]:
    """Return the content of ``store.json``: format, versions, the study and its columns.

    Raises:
        StoreError: no study folder, damaged, or of a newer format.
    """
    path = folder / "store.json"
    if not path.exists():
        raise StoreError(f"{folder}: is no study folder (it has no store.json)")
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        version = record["format"]
        body = {key: value for key, value in record.items() if key != "sha256"}
        whole = version > FORMAT or digest(body) == record["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: is damaged: {error}") from error
    if version > FORMAT:
        raise StoreError(
            f"{folder}: the study has format {version}, this version reads up to {FORMAT}; "
            "upgrade archwright"
        )
    if not whole:
        raise StoreError(f"{path}: is damaged (its digest does not match)")
    return record


def read_trials(folder: Path) -> pa.Table:
    """Return all flushed trials of a running or finished study, without locking it.

    Raises:
        StoreError: no study folder, or damage.
    """
    record = read_study(folder)
    schema = stored_schema(record)
    for attempt in range(5):
        commits, _, problem = read_commits(folder, record["study_hash"])
        if problem:
            raise StoreError(problem)
        path = folder / "tail.arrows"
        batches = read_tail(path, schema.arrow).batches if path.exists() else []
        fresh = trials_after(batches, commits[-1]["last"] if commits else -1)
        first = fresh[0]["trial"][0].as_py() if fresh else None
        if first is None or first == (commits[-1]["last"] + 1 if commits else 0) or attempt == 4:
            break  # else a seal came between the two reads: look again
    table = join_tables(schema, [read_part(folder, c, schema) for c in commits], fresh)
    check_order(table, folder)
    ahead = read_ahead(folder, schema, table)
    return pa.concat_tables([table, ahead]).combine_chunks() if len(ahead) else table


def read_ahead(folder: Path, schema: TableSchema, table: pa.Table) -> pa.Table:
    """Return the trials that were measured ahead of others, which a table does not have yet.

    They are in order; each trial stands there once, with all its replicates.
    """
    path = folder / "ahead.arrows"
    batches = read_tail(path, schema.arrow).batches if path.exists() else []
    found = pa.Table.from_batches(batches, schema=schema.arrow)
    if not len(found):
        return found
    last = table["trial"][-1].as_py() if len(table) else -1
    trials, replicates = found["trial"].to_pylist(), found["replicate"].to_pylist()
    places = {
        key: row for row, key in enumerate(zip(trials, replicates, strict=True)) if key[0] > last
    }
    return found.take(pa.array([places[key] for key in sorted(places)], type=pa.int64()))


def stored_schema(record: Mapping[str, Any]) -> TableSchema:
    """Return the columns that ``store.json`` states."""
    columns = record["columns"]
    return TableSchema(
        columns["parameters"],
        columns["metrics"],
        columns["losses"],
        columns["constraints"],
        columns.get("artifacts", ()),
        columns.get("fidelities", ()),
        columns.get("told", False),
    )


def read_commits(folder: Path, origin: str) -> tuple[list[dict[str, Any]], int, str]:
    """Return the whole commit records, the bytes they take, and what is wrong behind them.

    A torn last record, as a kill leaves it, is left out and is nothing wrong. ``origin`` is the
    hash of the study, which the first record names.
    """
    path = folder / "commits.jsonl"
    if not path.exists():
        return [], 0, ""
    commits: list[dict[str, Any]] = []
    length = 0
    lines = path.read_bytes().splitlines(keepends=True)
    before = origin
    for i, line in enumerate(lines):
        try:
            record = json.loads(line)
            body = {key: value for key, value in record.items() if key != "record"}
            good = line.endswith(b"\n") and record["record"] == digest(body)
            good = good and record["before"] == before
        except (ValueError, KeyError, TypeError, AttributeError):
            good = False
        if not good:
            if i == len(lines) - 1 and not line.endswith(b"\n"):
                break
            return commits, length, f"{path}: record {i + 1} is damaged or of another study"
        commits.append(record)
        before = record["record"]
        length += len(line)
    return commits, length, ""


def read_part(folder: Path, commit: Mapping[str, Any], schema: TableSchema) -> pa.Table:
    """Return the rows of a sealed part, its digest checked.

    Raises:
        StoreError: missing, damaged or foreign.
    """
    path = folder / "trials" / commit["part"]
    if not path.exists():
        raise StoreError(f"{path}: is missing, though its commit record stands")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != commit["sha256"]:
        raise StoreError(f"{path}: is damaged (its digest does not match the commit record)")
    table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    require_schema(table.schema, schema.arrow, str(path))
    return table


def read_snapshot(path: Path) -> dict[str, Any] | None:
    """Return a snapshot of the loop, or None where it is damaged."""
    try:
        record = json.loads(path.read_text())
        state: dict[str, Any] = record["state"]
        whole = hashlib.sha256(json.dumps(state).encode()).hexdigest() == record["sha256"]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        return None
    return state if whole else None


def trials_after(batches: list[pa.RecordBatch], last: int) -> list[pa.RecordBatch]:
    """Return the batches of trials behind the last one sealed."""
    return [b for b in batches if b.num_rows and b["trial"][0].as_py() > last]


def join_tables(
    schema: TableSchema, tables: list[pa.Table], batches: list[pa.RecordBatch]
) -> pa.Table:
    """Return sealed and flushed rows as one table."""
    tail = pa.Table.from_batches(batches, schema=schema.arrow)
    return pa.concat_tables([*tables, tail]).combine_chunks()


def check_order(table: pa.Table, folder: Path, *, first: int = 0) -> None:
    """Refuse trials that are missing or out of order.

    Raises:
        StoreError: the message names the trial before the gap.
    """
    trials = table["trial"].to_numpy()
    steps = np.diff(trials)
    wrong = (steps != 0) & (steps != 1)
    if len(trials) and (trials[0] != first or wrong.any()):
        at = first - 1 if trials[0] != first else int(trials[:-1][wrong][0])
        raise StoreError(f"{folder}: trials are missing or out of order after trial {at}")


def digest(value: Any) -> str:
    """Return the SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
