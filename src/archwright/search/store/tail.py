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

_MARK = b"\xff\xff\xff\xff"  # begins each message of an Arrow stream


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
        fresh = not path.exists()
        if fresh:
            disk.replace(path, self._head)
        self._handle = disk.open_append(path)
        if not fresh:
            disk.sync(self._handle)  # a killed owner may have left it to the page cache
        self._length = self._synced = path.stat().st_size

    def append(self, batch: pa.RecordBatch) -> None:
        """Write one batch."""
        metadata = {
            "rows": str(batch.num_rows),
            "sequence": str(self._sequence),
            "crc32": str(checksum(batch)),
            "synced": str(self._synced),
        }
        sink = io.BytesIO()
        with pa.PythonFile(sink, mode="w") as file:
            writer = pa.ipc.new_stream(file, self._schema)
            writer.write_batch(batch, custom_metadata=metadata)
            data = sink.getvalue()[len(self._head) :]
        self._disk.write(self._handle, data)
        self._length += len(data)
        self._sequence += 1
        self.dirty = True

    def sync(self) -> None:
        """Make all that was appended durable."""
        if self.dirty:
            self.dirty = False
            self._disk.sync(self._handle)
            self._synced = self._length

    def restart(self) -> None:
        """Begin an empty tail in place of this one, whose rows have been sealed."""
        self._disk.replace(self.path, self._head)
        handle = self._disk.open_append(self.path)
        self._disk.close(self._handle)
        self._handle = handle
        self._sequence = 0
        self._length = self._synced = len(self._head)
        self.dirty = False

    def close(self) -> None:
        """Close the file."""
        self._disk.close(self._handle)


def read_tail(path: Path, schema: pa.Schema) -> TailContent:
    """Read the whole batches of a tail; what a kill or a power cut tore is reported, not read.

    A power cut may lose a write and keep a later one. So a bad batch with others behind it is
    damage only where one of those says that the bytes of the bad one had been synced.

    Raises:
        StoreError: a synced batch is damaged, or the columns are foreign.
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
    if problem and _was_synced(data, length, head):
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


def _was_synced(data: bytes, start: int, head: bytes) -> bool:
    """Say whether a whole batch behind a bad one knows the bytes of the bad one to be synced."""
    at = data.find(_MARK, start + 1)
    while at >= 0:
        try:
            reader = pa.ipc.open_stream(pa.BufferReader(head + data[at:]))
            batch, metadata = reader.read_next_batch_with_custom_metadata()
            batch.validate(full=True)
            notes = {k.decode(): v.decode() for k, v in (metadata or {}).items()}
            whole = notes.get("crc32") == str(checksum(batch))
            # the first stores did not note what was synced; there it counts as synced
            if whole and int(notes.get("synced", len(data))) > start:
                return True
        except (pa.ArrowInvalid, OSError, EOFError, StopIteration, ValueError):
            pass
        at = data.find(_MARK, at + 1)
    return False


def _stream_head(schema: pa.Schema) -> bytes:
    head: bytes = schema.serialize().to_pybytes()
    return head
