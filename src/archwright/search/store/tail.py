"""The tail: rows since the last sealed part, one Arrow IPC batch a flush."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from archwright.errors import StoreError
from archwright.search.store.disk import Disk
from archwright.search.store.schema import checksum

__all__ = ["Tail", "TailContent", "read_tail"]


@dataclass(frozen=True)
class TailContent:
    """What a tail file holds.

    Attributes:
        batches: whole, checked batches.
        length: bytes up to the end of the last whole batch.
        torn: bytes after that.
    """

    batches: list[pa.RecordBatch]
    length: int
    torn: int


class Tail:
    """Appends batches to a tail file; a flush is one write, which survives a kill.

    Args:
        path: the file; created with its schema where it does not exist.
        schema: columns.
        disk: the file layer.
        sequence: number of the next batch.
    """

    def __init__(self, path: Path, schema: pa.Schema, disk: Disk, *, sequence: int = 0) -> None:
        self.path = path
        self._schema = schema
        self._disk = disk
        self._sequence = sequence
        self._head = _stream_head(schema)
        self.dirty = False
        if not path.exists():
            disk.replace(path, self._head)
        self._handle = disk.open_append(path)

    def append(self, batch: pa.RecordBatch) -> None:
        """Write one batch."""
        metadata = {
            "rows": str(batch.num_rows),
            "sequence": str(self._sequence),
            "crc32": str(checksum(batch)),
        }
        sink = io.BytesIO()
        with pa.PythonFile(sink, mode="w") as file:
            writer = pa.ipc.new_stream(file, self._schema)
            writer.write_batch(batch, custom_metadata=metadata)
            data = sink.getvalue()[len(self._head) :]
        self._disk.write(self._handle, data)
        self._sequence += 1
        self.dirty = True

    def sync(self) -> None:
        """Make all that was appended durable."""
        if self.dirty:
            self.dirty = False
            self._disk.sync(self._handle)

    def restart(self) -> None:
        """Begin an empty tail in place of this one, whose rows have been sealed."""
        self._disk.replace(self.path, self._head)
        handle = self._disk.open_append(self.path)
        self._disk.close(self._handle)
        self._handle = handle
        self._sequence = 0
        self.dirty = False

    def close(self) -> None:
        """Close the file."""
        self._disk.close(self._handle)


def read_tail(path: Path, schema: pa.Schema) -> TailContent:
    """Read the whole batches of a tail; a torn last batch is reported, not read.

    Raises:
        StoreError: a batch before the last is damaged, or the columns are foreign.
    """
    data = path.read_bytes()
    head = _stream_head(schema)
    if data[: len(head)] != head:
        if head.startswith(data):  # killed while the file was new
            return TailContent([], 0, len(data))
        raise StoreError(
            f"{path}: the columns are not those of this study; the file is damaged or foreign"
        )
    buffer = pa.BufferReader(data)
    batches: list[pa.RecordBatch] = []
    length = len(head)
    problem = ""
    try:
        reader = pa.ipc.open_stream(buffer)
        while True:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
            problem = _problem(batch, metadata, len(batches))
            if problem:
                break
            batches.append(batch)
            length = buffer.tell()
    except StopIteration:
        pass
    except (pa.ArrowInvalid, OSError) as error:
        problem = str(error)
    torn = len(data) - length
    if problem and _holds_more(data, length):
        raise StoreError(
            f"{path}: batch {len(batches)} at byte {length} is damaged ({problem}) and others "
            "follow it; nothing was changed"
        )
    return TailContent(batches, length, torn)


def _problem(batch: pa.RecordBatch, metadata: pa.KeyValueMetadata | None, sequence: int) -> str:
    try:
        notes = {k.decode(): v.decode() for k, v in (metadata or {}).items()}
        batch.validate(full=True)
        expected = {
            "rows": str(batch.num_rows),
            "sequence": str(sequence),
            "crc32": str(checksum(batch)),
        }
    except (pa.ArrowInvalid, ValueError) as error:
        return str(error)
    wrong = [key for key, value in expected.items() if notes.get(key) != value]
    return f"{wrong[0]} does not match" if wrong else ""


def _holds_more(data: bytes, start: int) -> bool:
    """Say whether a whole later batch stands behind a bad one: damage, not a torn write."""
    at = data.find(b"\xff\xff\xff\xff", start + 1)
    while at >= 0:
        try:
            pa.ipc.read_message(pa.BufferReader(data[at:]))
        except (pa.ArrowInvalid, OSError, EOFError):
            at = data.find(b"\xff\xff\xff\xff", at + 1)
            continue
        return True
    return False


def _stream_head(schema: pa.Schema) -> bytes:
    head: bytes = schema.serialize().to_pybytes()
    return head
