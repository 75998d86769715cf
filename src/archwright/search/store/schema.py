"""The columns of a trial table, and batches of rows in Arrow."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from archwright.errors import StoreError

__all__ = ["STATES", "TableSchema", "checksum"]

STATES = ("complete", "infeasible", "repeat", "failed", "known")
"""``complete``: measured; ``infeasible``: by the environment or a limit; ``repeat``: copied;
``failed``: raised, died or took too long; ``known``: given with its results, not measured here."""

_ARROW = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "str": pa.string(),
    "json": pa.string(),
}


@dataclass(frozen=True)
class TableSchema:
    """Names and types of the columns of one study.

    Attributes:
        parameters: name to type (``int``, ``float``, ``bool``, ``str``, ``json``).
        metrics: names of metrics.
        losses: names of losses.
        constraints: names of constraints.
        artifacts: names of the files a trial may leave; a column holds their digests.
        fidelities: names of the fidelities where there are several, the truest last.
        told: whether a column says at which place each trial was told.
    """

    parameters: Mapping[str, str]
    metrics: Sequence[str]
    losses: Sequence[str]
    constraints: Sequence[str]
    artifacts: Sequence[str] = ()
    fidelities: Sequence[str] = ()
    told: bool = False

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema, in the order of the columns."""
        fields = [
            pa.field("trial", pa.int64(), nullable=False),
            pa.field("replicate", pa.int32(), nullable=False),
            pa.field("parent", pa.int64()),
            pa.field("state", pa.string(), nullable=False),
            pa.field("fidelity", pa.string(), nullable=False),
            pa.field("seed", pa.uint64(), nullable=False),
        ]
        if self.told:
            fields.append(pa.field("told", pa.int64(), nullable=False))
        fields += [pa.field(f"param.{n}", _ARROW[t]) for n, t in self.parameters.items()]
        for name in self.metrics:
            for suffix in ("", ".low", ".high"):
                fields.append(pa.field(f"metric.{name}{suffix}", pa.float64()))
        fields += [pa.field(f"loss.{n}", pa.float64()) for n in self.losses]
        fields += [pa.field(f"constraint.{n}", pa.float64()) for n in self.constraints]
        fields += [pa.field(f"artifact.{n}", pa.string()) for n in self.artifacts]
        fields += [
            pa.field("feasible", pa.bool_(), nullable=False),
            pa.field("reason", pa.string()),
            pa.field("seconds", pa.float64()),
        ]
        return pa.schema(fields)

    def batch(self, columns: Mapping[str, Any]) -> pa.RecordBatch:
        """Return a record batch from numpy arrays and lists, one a column.

        A masked array or None gives null; NaN stays NaN. Columns of intervals may be absent.
        """
        n = len(columns["trial"])
        arrays = []
        for field in self.arrow:
            values = columns.get(field.name)
            if values is None:
                arrays.append(_nulls(field.type, n))
            elif isinstance(values, pa.Array):
                arrays.append(values)
            elif isinstance(values, np.ma.MaskedArray):
                mask = np.ma.getmaskarray(values)
                data = self._plain(field.name, values.data)
                arrays.append(pa.array(data, type=field.type, mask=mask))
            else:
                arrays.append(pa.array(self._plain(field.name, values), type=field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.arrow)

    def parameter_columns(self, table: pa.Table) -> dict[str, Any]:
        """Return the parameters of stored rows as plain columns."""
        columns: dict[str, Any] = {}
        for name, kind in self.parameters.items():
            column = table[f"param.{name}"]
            if kind in ("int", "float") and not column.null_count:
                columns[name] = column.to_numpy()
                continue
            values = column.to_pylist()
            if kind == "json":
                values = [None if v is None else _tuples(json.loads(v)) for v in values]
            columns[name] = values
        return columns

    def _plain(self, column: str, values: Any) -> Any:
        if column.startswith("param.") and self.parameters[column[6:]] == "json":
            return [None if v is None else json.dumps(v) for v in values]
        return values


def checksum(batch: pa.RecordBatch) -> int:
    """Return a CRC-32 of the content of a batch, independent of padding and metadata."""
    n = batch.num_rows
    parts: list[Any] = [b"%d" % n]
    for column in batch.columns:
        nulls = column.null_count
        if nulls == n:
            parts.append(b"-")
            continue
        kind = column.type
        buffers = column.buffers()
        if nulls:
            parts.append(_bits(buffers[0], n))
        if pa.types.is_string(kind):
            offsets = buffers[1].slice(0, (n + 1) * 4)
            parts.append(offsets)
            end = int.from_bytes(offsets[n * 4 :], "little")
            if end:
                parts.append(buffers[2].slice(0, end))
        elif pa.types.is_boolean(kind):
            parts.append(_bits(buffers[1], n))
        else:
            parts.append(buffers[1].slice(0, n * kind.bit_width // 8))
    return zlib.crc32(b"".join(parts))


def _bits(buffer: pa.Buffer, n: int) -> bytes:
    """Return the n bits of a bitmap; those behind them are padding."""
    whole, rest = divmod(n, 8)
    data: bytes = buffer.slice(0, whole).to_pybytes()
    return data + bytes([buffer[whole] & ((1 << rest) - 1)]) if rest else data


_NULLS: dict[tuple[str, int], pa.Array] = {}


def _nulls(kind: pa.DataType, n: int) -> pa.Array:
    key = (str(kind), n)
    if key not in _NULLS:
        if len(_NULLS) > 256:
            _NULLS.clear()
        _NULLS[key] = pa.nulls(n, kind)
    return _NULLS[key]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def require_schema(found: pa.Schema, expected: pa.Schema, where: str) -> None:
    """Refuse columns that are not those of the study."""
    if not found.equals(expected):
        raise StoreError(
            f"{where}: the columns are not those of this study; the file is damaged or foreign"
        )
