"""Request traces: arrival times and token counts, read from the common public layouts."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archwright.errors import TraceError, nearest

__all__ = ["Trace", "read_trace"]

_PREFIX_BLOCK_TOKENS = 512
"""Tokens that one entry of Mooncake's hash_ids stands for."""
_RATE_LIMIT_PER_S = 200.0
"""A Mooncake trace above this mean rate is likelier in seconds than in milliseconds."""
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}

_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_BURST = ("Timestamp", "Model", "Request tokens", "Response tokens", "Total tokens", "Log Type")
_BURST_OPTIONAL = ("Session ID", "Elapsed time")
_PLAIN = ("time_s", "input_tokens", "output_tokens")
_MOONCAKE = ("timestamp", "input_length", "output_length", "hash_ids")

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Requests in order of arrival.

    Attributes:
        time_s: arrival in seconds from the first request, ascending, shape (n,).
        input_tokens: prompt tokens, shape (n,).
        output_tokens: generated tokens, shape (n,).
        source: file or generator it comes from.
        notes: what was dropped or reordered in reading.
    """

    time_s: Floats
    input_tokens: Integers
    output_tokens: Integers
    source: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def duration_s(self) -> float:
        """Seconds from the first arrival to the last."""
        return float(self.time_s[-1] - self.time_s[0])


@dataclass(frozen=True)
class _Columns:
    """Columns as read: numbers where they are numbers, dates as datetime64."""

    lines: Sequence[int]
    time: NDArray[Any]
    inputs: Integers
    outputs: Integers
    names: tuple[str, str, str]


def read_trace(path: str | Path, *, time_unit: str | None = None) -> Trace:
    """Read a request trace; the layout is recognized by its columns.

    Known layouts: Azure CSV (``TIMESTAMP,ContextTokens,GeneratedTokens``), Mooncake JSON lines
    (``timestamp`` in ms, ``input_length``, ``output_length``, ``hash_ids``), BurstGPT CSV, and
    a CSV with the columns ``time_s,input_tokens,output_tokens`` (others are ignored).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "mine.csv")
    ...     _ = path.write_text("time_s,input_tokens,output_tokens\\n5.0,120,30\\n5.5,80,12\\n")
    ...     read_trace(path).time_s.tolist()
    [0.0, 0.5]

    Args:
        path: the file.
        time_unit: ``s``, ``ms`` or ``us``; by default ms for Mooncake and s for the others.
            Azure's times are dates and take none.

    Raises:
        TraceError: naming file, line, column, value and what was expected.
    """
    path = Path(path)
    if time_unit is not None and time_unit not in _UNITS:
        known = ", ".join(_UNITS)
        raise TraceError(
            f"time_unit {time_unit!r}, expected one of {known}{nearest(time_unit, _UNITS)}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TraceError(f"{path}: is not UTF-8 text, expected a CSV or JSON lines") from None
    if not text.strip():
        raise TraceError(f"{path}: is empty, expected requests")
    if text.lstrip().startswith("{"):
        columns = _read_mooncake(path, text)
        notes: list[str] = []
        scale = _mooncake_scale(path, columns, time_unit)
    else:
        columns, notes = _read_csv(path, text)
        scale = _UNITS[time_unit or "s"]
    return _trace(path, columns, scale, time_unit, notes)


def _trace(
    path: Path, columns: _Columns, scale: float, time_unit: str | None, notes: list[str]
) -> Trace:
    if not len(columns.time):
        why = f" ({'; '.join(notes)})" if notes else ""
        raise TraceError(f"{path}: no requests{why}, expected at least one")
    for name, values in zip(columns.names[1:], (columns.inputs, columns.outputs), strict=True):
        _refuse(path, columns, name, values, values < 0, "a token count from 0 up")
    time = columns.time
    if np.issubdtype(time.dtype, np.datetime64):
        if time_unit is not None:
            raise TraceError(f"{path}: time_unit {time_unit!r} with dates, expected none")
        _refuse(path, columns, columns.names[0], time, np.isnat(time), "a date and time")
        seconds = (time - time.min()).astype(np.int64) * 1e-9
    else:
        _refuse(path, columns, columns.names[0], time, ~np.isfinite(time), "a finite time")
        seconds = (time - time.min()) * scale
    order = np.argsort(seconds, kind="stable")
    late = int(np.count_nonzero(np.diff(seconds) < 0))
    if late:
        notes.append(f"{late} of {len(seconds)} rows came before the row above and were sorted")
    return Trace(
        time_s=seconds[order],
        input_tokens=columns.inputs[order],
        output_tokens=columns.outputs[order],
        source=path.name,
        notes=tuple(notes),
    )


def _refuse(
    path: Path,
    columns: _Columns,
    name: str,
    values: NDArray[Any],
    wrong: NDArray[np.bool_],
    expected: str,
) -> None:
    if wrong.any():
        at = int(np.argmax(wrong))
        raise TraceError(f"{path}:{columns.lines[at]}: {name}: {values[at]}, expected {expected}")


def _read_csv(path: Path, text: str) -> tuple[_Columns, list[str]]:
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    rows = list(csv.reader(lines))
    header = [name.strip() for name in rows[0]]
    names = _layout(path, header)
    at = [header.index(name) for name in names]
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            what = f"{len(row)} fields" if row else "an empty row"
            raise TraceError(f"{path}:{line}: {what}, expected {len(header)} fields")
    body, numbers, notes = rows[1:], list(range(2, len(rows) + 1)), []
    if names[0] == "Timestamp":
        kept = [i for i, row in enumerate(body) if row[at[2]].strip() not in ("0", "0.0")]
        if len(kept) < len(body):
            notes.append(f"{len(body) - len(kept)} failed requests without response were dropped")
        body, numbers = [body[i] for i in kept], [numbers[i] for i in kept]
    fields = [[row[i] for row in body] for i in at]
    parse_time = _dates if names[0] == "TIMESTAMP" else _floats
    wanted = "a date and time" if parse_time is _dates else "a number of seconds"
    return (
        _Columns(
            lines=numbers,
            time=_parse(path, numbers, names[0], fields[0], parse_time, wanted),
            inputs=_parse(path, numbers, names[1], fields[1], _integers, "a whole number"),
            outputs=_parse(path, numbers, names[2], fields[2], _integers, "a whole number"),
            names=names,
        ),
        notes,
    )


def _layout(path: Path, header: list[str]) -> tuple[str, str, str]:
    """Return the names of the time, input and output columns."""
    layouts = {
        "Azure": (_AZURE, (), (_AZURE[0], _AZURE[1], _AZURE[2])),
        "BurstGPT": (_BURST, _BURST_OPTIONAL, (_BURST[0], _BURST[2], _BURST[3])),
        "plain": (_PLAIN, None, (_PLAIN[0], _PLAIN[1], _PLAIN[2])),
    }
    best = max(layouts, key=lambda name: len(set(layouts[name][0]) & set(header)))
    required, optional, names = layouts[best]
    if not set(required) & set(header):
        known = "; ".join(f"{name}: {','.join(row[0])}" for name, row in layouts.items())
        close = nearest(header[0], [*_AZURE, *_BURST, *_PLAIN])
        raise TraceError(
            f"{path}:1: unknown columns {','.join(header)}{close}, expected one of {known}"
        )
    extra = [name for name in header if name not in required]
    for name in required:
        if name not in header:
            close = nearest(name, extra)
            raise TraceError(
                f"{path}:1: missing column {name!r}{close}, expected {','.join(required)}"
            )
    if optional is not None:
        for name in extra:
            if name not in optional:
                close = nearest(name, [*required, *optional])
                raise TraceError(
                    f"{path}:1: unknown column {name!r}{close}, expected {','.join(required)}"
                )
    return names


def _parse(
    path: Path,
    lines: Sequence[int],
    name: str,
    values: list[str],
    parse: Callable[[list[str]], NDArray[Any]],
    expected: str,
) -> NDArray[Any]:
    """Parse a column at once; only when that fails, look for the value that is wrong."""
    try:
        return parse(values)
    except (ValueError, OverflowError):
        for line, value in zip(lines, values, strict=True):
            try:
                parse([value])
            except (ValueError, OverflowError):
                raise TraceError(
                    f"{path}:{line}: {name}: {value!r}, expected {expected}"
                ) from None
        raise


def _floats(values: list[str]) -> NDArray[Any]:
    return np.array(list(map(float, values)), dtype=np.float64)


def _integers(values: list[str]) -> NDArray[Any]:
    return np.array(list(map(int, values)), dtype=np.int64)


def _dates(values: list[str]) -> NDArray[Any]:
    # NumPy reads no time zones; every date of the public traces is in UTC.
    plain = [value.strip().removesuffix("+00:00").removesuffix("Z") for value in values]
    return np.array(plain, dtype="datetime64[ns]")


def _read_mooncake(path: Path, text: str) -> _Columns:
    lines: list[int] = []
    time: list[float] = []
    inputs: list[int] = []
    outputs: list[int] = []
    for line, row in _json_rows(path, text):
        values = []
        for name in _MOONCAKE:
            if name not in row:
                raise TraceError(
                    f"{path}:{line}: missing key {name!r}{nearest(name, row)}, "
                    f"expected {', '.join(_MOONCAKE)}"
                )
            values.append(row[name])
        when, tokens_in, tokens_out, hashes = values
        if isinstance(when, bool) or not isinstance(when, (int, float)):
            raise TraceError(f"{path}:{line}: timestamp: {when!r}, expected a number of ms")
        for name, value in zip(_MOONCAKE[1:3], (tokens_in, tokens_out), strict=True):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TraceError(f"{path}:{line}: {name}: {value!r}, expected a whole number")
        if not isinstance(hashes, list):
            raise TraceError(f"{path}:{line}: hash_ids: {hashes!r}, expected a list")
        blocks = math.ceil(tokens_in / _PREFIX_BLOCK_TOKENS)
        if tokens_in >= 0 and len(hashes) != blocks:
            raise TraceError(
                f"{path}:{line}: hash_ids: {len(hashes)} ids, expected {blocks} "
                f"for input_length {tokens_in} (one for {_PREFIX_BLOCK_TOKENS} tokens)"
            )
        lines.append(line)
        time.append(when)
        inputs.append(tokens_in)
        outputs.append(tokens_out)
    try:
        return _Columns(
            lines=lines,
            time=np.array(time, dtype=np.float64),
            inputs=np.array(inputs, dtype=np.int64),
            outputs=np.array(outputs, dtype=np.int64),
            names=("timestamp", "input_length", "output_length"),
        )
    except OverflowError:
        raise TraceError(f"{path}: a number does not fit 64 bits") from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    for line, raw in enumerate(lines, start=1):
        try:
            row = json.loads(raw)
        except json.JSONDecodeError as error:
            shown = raw if len(raw) <= 40 else f"{raw[:40]}…"
            raise TraceError(
                f"{path}:{line}: {shown!r}, expected one JSON object a line ({error.msg})"
            ) from None
        if not isinstance(row, dict):
            raise TraceError(f"{path}:{line}: {raw[:40]!r}, expected a JSON object")
        yield line, row


def _mooncake_scale(path: Path, columns: _Columns, time_unit: str | None) -> float:
    """Return seconds a unit of time; refuse to guess where ms cannot be right."""
    if time_unit is not None:
        return _UNITS[time_unit]
    time = columns.time[np.isfinite(columns.time)]
    fractional = np.flatnonzero(columns.time % 1.0 > 0)
    if len(fractional):
        at = int(fractional[0])
        raise TraceError(
            f"{path}:{columns.lines[at]}: timestamp: {columns.time[at]}, expected whole "
            "milliseconds; pass time_unit='s' if these are seconds, 'ms' to keep them"
        )
    span_s = float(np.ptp(time)) * 1e-3 if len(time) else 0.0
    if span_s > 0 and (len(time) - 1) / span_s > _RATE_LIMIT_PER_S:
        rate = (len(time) - 1) / span_s
        raise TraceError(
            f"{path}: timestamp: {len(time)} requests in {span_s:g} s are {rate:.0f} a second, "
            f"expected at most {_RATE_LIMIT_PER_S:g} if these are milliseconds; pass "
            "time_unit='s' if they are seconds, 'ms' to keep them"
        )
    if span_s > 366 * 86400:
        raise TraceError(
            f"{path}: timestamp: the trace spans {span_s / 86400:.0f} days if these are "
            "milliseconds, expected at most 366; pass time_unit='us' if they are microseconds, "
            "'ms' to keep them"
        )
    return _UNITS["ms"]
